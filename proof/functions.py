"""The Lambdas of the simulated account: their whole handlers, over clients of this world and with its clock.

What is left out is what a simulation of money has no use for: Preflight does not read the corpus, the images and the weights,
Ask asks nobody, and reports are not rendered.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import common.aws
import common.clock
import common.ledger
from proof.definitions import functions
from proof.interpreter import Failure
from proof.outages import Guarded, Killed, Patience, refusal, silence

if TYPE_CHECKING:
    from proof.cloud import Cloud

_ROOT = Path(__file__).resolve().parents[1]
_ORIGINAL_CLIENT, _ORIGINAL_NOW = common.aws.client, common.clock.now
# A function that is asked for by more than one name of ours has its module's name.
HANDLERS = ("preflight", "reserve", "teardown", "settle", "sweeper")
_MATERIAL = SimpleNamespace(words=1000, training=[], held_out=[], control=[], prompts=[], warnings=())


def invoke(cloud: Cloud, name: str, event: dict[str, Any], environment: dict[str, str]) -> Any:
    """Runs a handler as Lambda does. Raises Failure with the error that Step Functions would see."""
    patience = Patience(functions()[name][1])
    _targets()
    handler = importlib.import_module(f"{name}.handler")
    event = json.loads(json.dumps(event, default=str))
    try:
        with _deployed(cloud, patience, environment):
            answer = handler.handle(event, SimpleNamespace(aws_request_id="simulated", function_name=name))
    except Killed:
        raise Failure("Sandbox.Timedout", "the function's time was over", patience.used) from None
    except Exception as error:
        cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
        raise Failure(type(error).__name__, cause, patience.used) from error
    return json.loads(json.dumps(answer))


def metrics(text: str) -> dict[str, Any]:
    """What a function published through its log."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if '"_aws"' in line:
            read = json.loads(line)
            found |= {name: value for name, value in read.items() if name != "_aws"}
    return found


@contextlib.contextmanager
def _deployed(cloud: Cloud, patience: Patience, environment: dict[str, str]) -> Iterator[None]:
    """The surroundings of one invocation: clients, clock, environment and a log."""
    made: dict[str, Any] = {}

    def client(service: str, *_: Any, **__: Any) -> Any:
        if service not in made:
            made[service] = Guarded(cloud.clients()[service], lambda: reach(cloud, service, patience))
        return made[service]

    pause: Callable[[float], None] = lambda seconds: cloud.world.interleave("pause")  # noqa: E731
    clients, clocks = _targets()
    changes: list[tuple[Any, str, Any]] = [(module, "client", client) for module in clients]
    changes += [(module, "now", lambda: cloud.world.now) for module in clocks]
    changes += [*_left_out(), (time, "sleep", pause), (common.ledger.Ledger.__init__, "__defaults__", (pause,))]
    before = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in changes]
    variables = {name: os.environ.get(name) for name in environment}
    log = io.StringIO()
    try:
        for owner, attribute, value in changes:
            setattr(owner, attribute, value)
        os.environ.update(environment)
        with contextlib.redirect_stdout(log):
            yield
    finally:
        for owner, attribute, value in before:
            setattr(owner, attribute, value)
        for name, text in variables.items():
            if text is None:
                del os.environ[name]
            else:
                os.environ[name] = text
        cloud.metrics |= metrics(log.getvalue())


def reach(cloud: Cloud, service: str, patience: Patience) -> None:
    """Raises what a caller sees of a service that is away, after the time that its client's own attempts take."""
    outage = cloud.world.outage(service)
    if outage is None:
        return
    config = common.aws._PATIENT
    attempts = int(config.retries["total_max_attempts"])
    if outage.hangs:
        patience.wait(attempts * float(config.read_timeout))
        raise silence(service)
    patience.wait(cloud.world.random.uniform(1, 5) * attempts)
    raise refusal(service)


@cache
def _targets() -> tuple[list[Any], list[Any]]:
    """The modules of the Lambdas that make a client, and those that ask the time."""
    for name in HANDLERS:
        importlib.import_module(f"{name}.handler")
    folder = str(_ROOT / "lambdas")
    modules = [one for one in sys.modules.values() if str(getattr(one, "__file__", None) or "").startswith(folder)]
    clients = [one for one in modules if vars(one).get("client") is _ORIGINAL_CLIENT]
    return clients, [one for one in modules if vars(one).get("now") is _ORIGINAL_NOW]


def _left_out() -> list[tuple[Any, str, Any]]:
    """What does not happen here, by module and name."""
    checks, staging = sys.modules["preflight.checks"], sys.modules["preflight.staging"]
    notice = sys.modules["settle.notice"]
    found = [
        (checks, "_material", lambda *of: _MATERIAL),
        (checks, "_weights", lambda *of: None),
        (checks, "_images", lambda *of: None),
        (staging, "stage", lambda *of: None),
        (staging, "asset", lambda *of: {}),
        (notice, "finish_report", _unrendered),
    ]
    return [one for one in found if hasattr(one[0], one[1])]


def _unrendered(storage: Any, run: str, execution_arn: str, execution: Any, money: dict[str, int]) -> dict[str, Any]:
    storage.write_json(f"runs/{run}/report/summary.json", {"run": run, "status": execution.status})
    return {"run": run, "status": execution.status, "verdict": "", "cost": money}
