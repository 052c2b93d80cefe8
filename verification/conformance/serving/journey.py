"""A rehearsed run whose endpoint is the real vLLM, from the deployed definition to the last process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ask import questions
from common.contracts import run_folder
from common.errors import CaptuneError, ServiceUnreachable
from common.names import run_name
from verification.conformance.contract import Contract
from rehearsal.account.assembly import Assembly
from rehearsal.account.cloud import Cloud
from rehearsal.conductor.materials import upload
from rehearsal.conductor.options import Options
from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.programs import Vllm
from rehearsal.step_functions.executions import Execution

PROJECT = Path(__file__).resolve().parents[3]
DOMAIN, KEEP_MINUTES, PROMPTS = "medical", 60, 24
_PATIENCE_SECONDS = 900.0


@dataclass
class Site:
    """What the checks work on: the account, the run, its endpoint, and what was seen while the server was loading."""

    cloud: Cloud
    host: ModelHost
    execution: Execution
    say: Callable[[str], None]
    dtype: str | None = None  # of the real server, where it is not the deployed one
    while_loading: list[str] = field(default_factory=list)

    @property
    def run(self) -> str:
        """The run's name, which its endpoint bears."""
        return run_name(self.execution.name)

    @property
    def runtime(self) -> Any:
        """A client for InvokeEndpoint."""
        return self.cloud.client("sagemaker-runtime")

    def ask(self, model: str, prompt: str, endpoint: str = "") -> str:
        """One greedy answer by the Ask code. Raises what Ask raises."""
        settings = questions.Settings(endpoint or self.run, model, 0, 42, 1)
        one = {"id": "one", "kind": "question", "prompt": prompt}
        (answer,) = questions.ask_all(self.runtime, [one], [], settings, 60.0, lambda lines: None)
        return str(answer["greedy"])

    def lines(self, key: str) -> list[dict[str, Any]]:
        """The objects of one of the run's JSON Lines files."""
        assert self.cloud.deployment is not None
        found = self.cloud.client("s3").get_object(
            Bucket=self.cloud.deployment.bucket, Key=run_folder.key(self.run, key)
        )
        return [json.loads(line) for line in found["Body"].read().decode().split("\n") if line.strip()]


@contextmanager
def served(assembly: Path, folder: Path, weights: Path, python: Path, say: Callable[[str], None]) -> Iterator[Site]:
    """Deploys the assembly, makes one quick run with the real vLLM behind its endpoint, and keeps the endpoint for the checks."""
    server = Vllm.on_this_machine(python)
    if server.dtype:
        say(f"this processor is slow in bfloat16: the real server computes in {server.dtype}, all else is as deployed")
    host = ModelHost(server)
    with Cloud(folder, gated_weights=weights, hosting=host, time_scale=30) as cloud:
        cloud.deploy(Assembly(assembly))
        options = Options(project=PROJECT, quick=True)
        run_input = {**upload(cloud, options, DOMAIN), "keepEndpointMinutes": KEEP_MINUTES, "samplesPerPrompt": 0}
        assert cloud.deployment is not None
        prompts = (PROJECT / "data" / f"{DOMAIN}prompts.jsonl").read_text(encoding="utf-8").splitlines()[:PROMPTS]
        run_input["prompts"] = "corpora/conformance.jsonl"
        body = ("\n".join(prompts) + "\n").encode()
        cloud.client("s3").put_object(Bucket=cloud.deployment.bucket, Key=run_input["prompts"], Body=body)
        say("a quick rehearsal trains an adapter, and the real vLLM serves it")
        site = Site(cloud, host, cloud.start(run_input, name="conformance"), say, server.dtype)
        watching = threading.Thread(target=_watch, args=(site,), daemon=True)
        watching.start()
        cloud.settle(site.execution, timeout=_PATIENCE_SECONDS)
        yield site


def _watch(site: Site) -> None:
    """Invokes the endpoint as soon as there is one that is still loading, as a person might, and notes the answer."""
    while not site.execution.is_over and not site.while_loading:
        endpoints = site.cloud.client("sagemaker").list_endpoints()["Endpoints"]
        if any(one["EndpointStatus"] == "Creating" for one in endpoints):
            try:
                site.runtime.invoke_endpoint(EndpointName=endpoints[0]["EndpointName"], Body=b"{}")
                site.while_loading.append("it was answered")
            except ClientError as error:
                site.while_loading.append(str(error.response["Error"]["Code"]))
        threading.Event().wait(0.2)


def deployed_run(site: Site, against: str) -> Contract:
    """Whether the deployed machine and the deployed Ask code came to the end, both models answering as themselves."""
    name = "the deployed run asks both models of the real server"
    execution = site.execution
    if execution.status != "SUCCEEDED":
        return Contract(name, 1, against, (f"it ended as {execution.status} {execution.error}: {execution.cause}",))
    base, tuned = site.lines(run_folder.BASE_ANSWERS), site.lines(run_folder.TUNED_ANSWERS)
    differing = sum(one["greedy"] != other["greedy"] for one, other in zip(base, tuned, strict=True))
    problems = [] if differing * 2 > len(base) else [f"only {differing} of {len(base)} greedy answers differ"]
    if site.while_loading != ["ValidationError"]:
        problems.append(f"while the server was loading, InvokeEndpoint answered {site.while_loading}")
    figures = f"{differing} of {len(base)} greedy answers of the tuned model differ from the base model's"
    figures += f"; in {site.dtype}, as this processor is slow in the deployed format" if site.dtype else ""
    return Contract(name, len(base) + len(tuned), against, tuple(problems), figures)


def dies(site: Site, against: str) -> Contract:
    """Whether a server that dies is told apart: asking again is right, and the endpoint becomes Failed."""
    name = "a server that dies in between"
    process = site.host.pid_of(site.run)
    if process is None:
        return Contract(name, 0, against, ("the server is gone already",))
    os.kill(process, 9)
    problems = []
    try:
        site.ask("base", "A gene")
        problems.append("it was still answered")
    except ServiceUnreachable:
        pass
    except CaptuneError as error:
        problems.append(f"Ask calls it {type(error).__name__}, which is not tried again")
    described = _until_failed(site)
    if described["EndpointStatus"] != "Failed" or "signal 9" not in described.get("FailureReason", ""):
        problems.append(f"the endpoint is {described['EndpointStatus']}: {described.get('FailureReason')}")
    return Contract(name, 2, against, tuple(problems))


def _until_failed(site: Site) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for _ in range(100):
        described = site.cloud.client("sagemaker").describe_endpoint(EndpointName=site.run)
        if described["EndpointStatus"] == "Failed":
            break
        threading.Event().wait(0.2)
    return described


def removed(site: Site, against: str) -> Contract:
    """Whether the end of the kept minutes removes the endpoint and every process of the server."""
    moment = site.cloud.events.next_moment()
    name = "the tear-down ends the server"
    if moment is None:
        return Contract(name, 0, against, ("no schedule is left that would end it",))
    site.cloud.clock.advance(seconds=max(0.0, (moment - site.cloud.clock()).total_seconds()) + 1)
    site.cloud.settle(timeout=120)
    left = {kind: names for kind, names in site.cloud.leftovers().items() if names}
    problems = [f"left: {kind} {names}" for kind, names in left.items()]
    if site.host.pid_of(site.run) is not None:
        problems.append("its process still runs")
    return Contract(name, 2, against, tuple(problems))
