"""Runs the real Lambda handlers: over clients of the simulated account, with its clock, and within their own time limits."""

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol
from unittest.mock import patch

from botocore.exceptions import ReadTimeoutError

import common.aws
from common.outside import Outside, outside, replaced
from preflight.texts.held_out import Overlap
from preflight.texts.text_file import Document
from preflight.texts.training import Material
from rehearsal.step_functions.integrations import complaints
from rehearsal.step_functions.interpreter import Failure
from verification.simulation.definitions import PROJECT, functions
from verification.simulation.faults import Fault, calls_of
from verification.simulation.services import client_error
from verification.simulation.world import World

HANDLERS = tuple(functions())
# What no simulation of money needs, and what takes most of the time: the texts, the weights, the images.
_MATERIAL = Material(
    training=[Document("one", "One", "A text.")], held_out=[], overlap=Overlap([]), words=1000, warnings=[]
)


# Beginnings of the operations by which a function changes something.
_CHANGES = ("put", "transact", "update", "delete", "stop", "create")
# What no error of this project and of AWS is: code that met what it did not foresee.
UNNAMED = (TypeError, KeyError, AttributeError, ValueError, IndexError, RecursionError, ArithmeticError)


class Account(Protocol):
    """What a function reaches of the account that invokes it."""

    world: World
    whole: bool

    @property
    def clients(self) -> Mapping[str, Any]:
        """Its services, by the names that boto3 gives them."""

    def failed_unnamed(self, function: str, error: Exception) -> None:
        """Hears of a function that ended with an error that no table of failures names."""


class Killed(BaseException):
    """The function's process ended in the middle of whatever it did: no handler of errors sees this."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(error)
        self.error, self.cause = error, cause


class NotImitated(BaseException):
    """The code calls what this account does not imitate: no finding of the proof, but a gap in it."""


@dataclass
class Patience:
    """How long one function has left; calls to what does not answer use it up."""

    seconds: float
    used: float = 0.0

    def wait(self, seconds: float) -> None:
        """Lets time pass. Raises Killed when it was the last."""
        self.used += seconds
        if self.used >= self.seconds:
            self.used = self.seconds
            raise Killed("Sandbox.Timedout", "the function's time was over")


@dataclass
class _Invocation:
    account: Account
    patience: Patience
    function: str
    environment: Mapping[str, str]


_UNDER_WAY: list[_Invocation] = []
_FACTORIES = (common.aws.client, common.aws.hasty_client, common.aws.brisk_client)


def invoke(account: Account, name: str, event: Any, environment: Mapping[str, str]) -> Any:
    """Runs a handler as Lambda does: its answer. Raises Failure as Step Functions sees it."""
    patience = Patience(functions()[name][1])
    handler = importlib.import_module(f"{name}.handler")
    event = json.loads(json.dumps(event, default=str))
    left = SimpleNamespace(
        aws_request_id="simulated",
        function_name=name,
        get_remaining_time_in_millis=lambda: int(1000 * (patience.seconds - patience.used)),
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _UNDER_WAY.append(_Invocation(account, patience, name, environment))
            try:
                answer = handler.handle(event, left)
            finally:
                _UNDER_WAY.pop()
    except Killed as death:
        raise Failure(death.error, death.cause, patience.used) from None
    except Exception as error:
        if isinstance(error, UNNAMED):
            account.failed_unnamed(name, error)
        cause = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
        raise Failure(type(error).__name__, cause, patience.used) from error
    return json.loads(json.dumps(answer))


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """For as long as this lasts the functions reach the account that invokes them and have its clock, and leave out what takes long."""
    if outside() is _OUTSIDE:
        yield
        return
    _forget_clients()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(replaced(_OUTSIDE))
            for owner, attribute, value in _left_out():
                stack.enter_context(patch.object(owner, attribute, value))
            yield
    finally:
        _forget_clients()


def _forget_clients() -> None:
    """No client of an account stays after it, and none of before is used in it."""
    for factory in _FACTORIES:
        factory.cache_clear()


def loaded() -> list[ModuleType]:
    """The modules of the Lambdas that are loaded."""
    folder = str(PROJECT / "lambdas")
    return [one for one in list(sys.modules.values()) if str(getattr(one, "__file__", None) or "").startswith(folder)]


@cache
def _left_out() -> list[tuple[Any, str, Any]]:
    """What takes longer than all the rest of a run, by owner and attribute; most of it only where an account is not whole."""
    for name in HANDLERS:
        importlib.import_module(f"{name}.handler")
    staging, account = sys.modules["preflight.staging"], "preflight.account"
    weights, images = sys.modules[f"{account}.weights"], sys.modules[f"{account}.images"]
    return [
        (staging, "read_material", _unless_whole(staging.read_material, _MATERIAL)),
        (weights, "of_jumpstart", _unless_whole(weights.of_jumpstart, [])),
        (images, "problem", _unless_whole(images.problem, ("", ""))),
        (staging, "asset", _unless_whole(staging.asset, {})),
        # Once a PDF is made, a process forked from this one hangs at its next.
        (sys.modules["report.render"], "pdf", lambda summary: b"%PDF"),
    ]


def _pause(seconds: float) -> None:
    """Between two attempts at a transaction others may go first."""
    if _UNDER_WAY:
        _UNDER_WAY[-1].account.world.interleave("pause")


def _unless_whole(original: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
    return lambda *of: original(*of) if _UNDER_WAY[-1].account.whole else otherwise


class _Guarded:
    """A client: each call first asks whether its service answers at all, and is checked by AWS's own model of it.

    It belongs to the account that invokes a function at that moment.
    """

    def __init__(self, service: str, config: Any) -> None:
        self._service, self._config = service, config

    def __getattr__(self, operation: str) -> Any:
        client = _UNDER_WAY[-1].account.clients[self._service]
        found = getattr(client, operation, None)
        if found is None:
            raise NotImitated(f"{type(client).__name__} of this account has no {operation}")
        if operation == "get_paginator":
            return lambda name: _GuardedPages(self, name, found(name))
        return lambda **arguments: self._perform(operation, arguments, lambda: found(**arguments))

    def _perform(self, operation: str, arguments: dict[str, Any], perform: Callable[[], Any]) -> Any:
        invocation = _UNDER_WAY[-1]
        world = invocation.account.world
        if world.call_seconds:
            seconds = world.random.uniform(0, world.call_seconds)
            invocation.patience.wait(seconds)
            world.now += timedelta(seconds=seconds)
            world.interleave("call")
        _reach(world, self._service, invocation.patience, self._config)
        if throttling := world.fault(operation):
            raise client_error(throttling.error, f"{operation} is throttled", operation)
        if invocation.account.whole and (words := complaints(self._service, operation, arguments)):
            raise AssertionError(f"{operation}: {words}")
        fault = world.fault(calls_of(invocation.function))
        return _meet(fault, operation, perform, invocation.patience) if fault else perform()


@dataclass
class _GuardedPages:
    client: _Guarded
    operation: str
    pages: Any

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        asked = {name: value for name, value in arguments.items() if name != "PaginationConfig"}
        yield from self.client._perform(self.operation, asked, lambda: list(self.pages.paginate(**arguments)))


def _meet(fault: Fault, operation: str, perform: Callable[[], Any], patience: Patience) -> Any:
    """What becomes of a call that a function makes. Where its effect comes first, the process is killed as soon as something is changed."""
    if fault.hang:
        patience.wait(10**6)
    if not fault.after:
        raise client_error(fault.error, "not authorized", operation)
    answer = perform()
    if operation.startswith(_CHANGES):
        raise Killed("Runtime.ExitError", "the process was killed")
    return answer


def _reach(world: World, service: str, patience: Patience, config: Any) -> None:
    """Raises what a caller sees of a service that is away, after the time that its client's own attempts take."""
    outage = world.fault(service)
    if outage is None:
        return
    attempts = int(config.retries["total_max_attempts"])
    if outage.hang:
        patience.wait(attempts * float(config.read_timeout))
        raise ReadTimeoutError(endpoint_url=service)
    patience.wait(world.random.uniform(1, 5) * attempts)
    raise client_error(outage.error, f"{service} is unavailable", service)


# What the functions have from outside is of the account that invokes one at that moment.
_OUTSIDE = Outside(
    make_client=lambda service, config, **_: _Guarded(service, config),
    now=lambda: _UNDER_WAY[-1].account.world.now,
    variables=lambda: _UNDER_WAY[-1].environment,
    sleep=_pause,
)
