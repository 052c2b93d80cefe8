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
from typing import Any, Protocol

import common.aws
import common.clock
import common.ledger.ledger
from proof.simulation.aws.definitions import functions
from proof.simulation.aws.interpreter import Failure
from proof.simulation.aws.outages import Guarded, Killed, Patience, refusal, silence
from proof.simulation.world import World

_ROOT = Path(__file__).resolve().parents[3]
_NOW = common.clock.now
# What makes clients, by its name in common.aws, with the patience of what it makes.
_FACTORIES: dict[str, Any] = {
    name: vars(common.aws)[{"hasty_client": "_HASTY", "brisk_client": "_BRISK"}.get(name, "_PATIENT")]
    for name in vars(common.aws)
    if name.endswith("client")
}
# A function that is asked for by more than one name of ours has its module's name.
HANDLERS = ("preflight", "reserve", "teardown", "settle", "sweeper")
_MATERIAL = SimpleNamespace(
    words=1000, training=[], held_out=[], control=[], outside=[], outside_told="", prompts=[], warnings=()
)


class Account(Protocol):
    """The account that the functions are deployed in, as far as they see it."""

    world: World
    metrics: dict[str, Any]

    def clients(self) -> dict[str, Any]:
        """What plays each service, by its name."""


def invoke(account: Account, name: str, event: dict[str, Any], environment: dict[str, str]) -> Any:
    """Runs a handler as Lambda does. Raises Failure with the error that Step Functions would see."""
    patience = Patience(functions()[name][1])
    _targets()
    handler = importlib.import_module(f"{name}.handler")
    event = json.loads(json.dumps(event, default=str))
    try:
        with _deployed(account, patience, environment):
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
def _deployed(account: Account, patience: Patience, environment: dict[str, str]) -> Iterator[None]:
    """The surroundings of one invocation: clients, clock, environment and a log."""
    pause: Callable[[float], None] = lambda seconds: account.world.interleave("pause")  # noqa: E731
    clients, clocks = _targets()
    changes: list[tuple[Any, str, Any]] = [
        (module, name, _factory(account, patience, _FACTORIES[name])) for module, name in clients
    ]
    changes += [(module, "now", lambda: account.world.now) for module in clocks]
    changes += [*_left_out(), (time, "sleep", pause), (common.ledger.ledger.Ledger.__init__, "__defaults__", (pause,))]
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
        account.metrics |= metrics(log.getvalue())


def _factory(account: Account, patience: Patience, config: Any) -> Callable[..., Any]:
    """What a Lambda calls for a client, which then has so much patience."""

    def client(service: str, *_: Any, **__: Any) -> Any:
        return Guarded(account.clients()[service], lambda: reach(account, service, patience, config))

    return client


def reach(account: Account, service: str, patience: Patience, config: Any) -> None:
    """Raises what a caller sees of a service that is away, after the time that its client's own attempts take."""
    outage = account.world.outage(service)
    if outage is None:
        return
    attempts = int(config.retries["total_max_attempts"])
    if outage.hangs:
        patience.wait(attempts * float(config.read_timeout))
        raise silence(service)
    patience.wait(account.world.random.uniform(1, 5) * attempts)
    raise refusal(service)


@cache
def _targets() -> tuple[list[tuple[Any, str]], list[Any]]:
    """The modules of the Lambdas that make clients, each with the name of what it calls for it, and those that ask the time."""
    for name in HANDLERS:
        importlib.import_module(f"{name}.handler")
    folder = str(_ROOT / "lambdas")
    modules = [one for one in sys.modules.values() if str(getattr(one, "__file__", None) or "").startswith(folder)]
    clients = [
        (one, name) for one in modules for name in _FACTORIES if vars(one).get(name) is getattr(common.aws, name)
    ]
    return clients, [one for one in modules if vars(one).get("now") is _NOW]


def _left_out() -> list[tuple[Any, str, Any]]:
    """What does not happen here, by module and name."""
    checks, staging = sys.modules["preflight.checks"], sys.modules["preflight.staging"]
    found: list[tuple[Any, str, Any]] = [
        (checks, "_material", lambda *of: _MATERIAL),
        (checks, "_weights", lambda *of: None),
        (checks, "_images", lambda *of: None),
        (staging, "stage", lambda *of: None),
        (staging, "asset", lambda *of: {}),
    ]
    return [one for one in found if hasattr(one[0], one[1])]
