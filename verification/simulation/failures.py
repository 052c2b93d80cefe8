"""What can become of the call of a state: the columns of the table of failures, as the simulated account plays them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from common.names import run_name
from verification.simulation.account import DOWN, Account
from verification.simulation.interpreter import Failure
from verification.simulation.lambdas import Inside, Killed, Patience
from verification.simulation.services import client_error, error_name
from verification.simulation.world import Execution, Steps

PERSON = "StoppedByPerson"
# A trouble that lasts ends after so many calls: whoever gives up has done so by then, and whoever waits for it goes on.
MANY = 60
# Beginnings of the operations by which a Lambda function changes something.
_CHANGES = ("put", "transact", "update", "delete", "stop", "create")
# How often the event of the run's end comes, where that is what goes wrong.
_DELIVERIES = {"event twice": 2, "event lost": 0}
Perform = Callable[[], Any]


@dataclass
class Trouble:
    """What becomes of the calls of one state. `met` counts the calls that it met."""

    kind: str
    machine: str
    resource: str
    met: int = 0
    first: Execution | None = None  # that met it
    landed: list[Any] = field(default_factory=list)

    def plan(self, account: Account, state: str) -> None:
        """Takes its place in an account."""
        account.faults[self.machine, state] = self
        if self.kind in _DELIVERIES:
            account.deliveries.append(_DELIVERIES[self.kind])

    def __call__(self, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
        """A call of the state. The trouble is over when the execution that met it first has ended, whatever became of it."""
        self.first = self.first or execution
        if execution is not self.first and self.first.status != "RUNNING":
            return perform()
        self.met += 1
        return (yield from KINDS[self.kind](self, account, execution, function, perform))

    @property
    def service(self) -> str:
        """The service that the state calls, by boto3's name; "lambda" for a function."""
        return "lambda" if self.resource.endswith("lambda:invoke") else self.resource.split(":")[-2]

    def error(self, code: str) -> str:
        """The name of an error of that service in a state machine."""
        if self.service != "lambda":
            return error_name(self.service, code)
        return "Lambda.TooManyRequestsException" if code == "ThrottlingException" else "Lambda.AWSLambdaException"


def _throttled(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """AWS turns the call away twice."""
    if trouble.met <= 2:
        raise Failure(trouble.error("ThrottlingException"), "Rate exceeded")
    return perform()
    yield


def _refused(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """AWS refuses it, and goes on refusing it."""
    if trouble.met <= MANY:
        raise Failure(trouble.error("AccessDeniedException"), "not authorized to perform this operation")
    return perform()
    yield


def _no_service(
    trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform
) -> Steps[Any]:
    """Every service that the function calls refuses it."""

    def refuse(service: str, operation: str, perform: Perform, patience: Patience) -> Any:
        raise client_error("AccessDeniedException", "not authorized", operation)

    return _with(account, function, refuse if trouble.met <= MANY else None, perform)
    yield


def _nonsense(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """The answer is empty; a service has done what it was asked for."""
    if trouble.met > MANY:
        return perform()
    if not function:
        perform()
    return {} if not function else {"Payload": {}}
    yield


def _hangs(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """No answer comes to the first call: a function's time runs out, a service's connection fails at last."""
    if trouble.met > 1:
        return perform()
    if function:
        return _with(account, function, lambda service, operation, perform, patience: patience.wait(10**6), perform)
    scheduled = account.scheduler.entries.get(run_name(execution.name)) if trouble.machine != DOWN else None
    yield account.world.seconds_until(scheduled[0]) + 900 if scheduled else 60.0, True
    raise Failure(trouble.error("ServiceUnavailable"), "the connection was closed")


def _aborted(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """A person stops the execution while the call is under way, which still arrives."""
    return (yield from _cut(trouble, account, execution, perform, "ABORTED"))


def _timed_out(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """The execution's own time is over while the call is under way."""
    return (yield from _cut(trouble, account, execution, perform, "TIMED_OUT"))


def _cut(trouble: Trouble, account: Account, execution: Execution, perform: Perform, status: str) -> Steps[Any]:
    if trouble.met == 1:
        error = PERSON if status == "ABORTED" else ""
        account.finish(execution, status, error, "stopped in the middle of a call")
        perform()
        yield 1.0, False
    return perform()


def _late(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """The same, and the call arrives between TearDown's first pass and its second."""

    def first_pass(account: Account, execution: Execution, function: str, look: Perform) -> Steps[Any]:
        seen = look()
        if not trouble.landed:
            trouble.landed.append("landed")
            with suppress(Failure):  # nobody hears the answer
                perform()
        return seen
        yield

    account.faults[DOWN, "RemoveResources"] = first_pass
    account.finish(execution, "ABORTED", PERSON, "stopped in the middle of a call")
    yield 1.0, False


def _very_late(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """The same, and the call arrives ten minutes later."""

    def arrive() -> Steps[None]:
        with suppress(Failure):  # nobody hears the answer
            perform()
        return
        yield

    account.finish(execution, "ABORTED", PERSON, "stopped in the middle of a call")
    account.world.spawn(arrive(), 600)
    yield 1.0, False


def _killed(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """A function's process is killed as soon as it changes something; a service's answer is lost. What was asked is done."""
    if trouble.landed:
        return perform()
    if not function:
        trouble.landed.append(perform())
        raise Failure(trouble.error("InternalFailure"), "the answer was lost")

    def kill(service: str, operation: str, perform: Perform, patience: Patience) -> Any:
        answer = perform()
        if operation.startswith(_CHANGES) and not trouble.landed:
            trouble.landed.append(operation)
            raise Killed("Runtime.ExitError", "the process was killed")
        return answer

    return _with(account, function, kill, perform)
    yield


def _event(trouble: Trouble, account: Account, execution: Execution, function: str, perform: Perform) -> Steps[Any]:
    """The event of the run's end comes twice or never, after a refusal.

    In TearDown: the second event comes while the call of the first one hangs, and one that comes without an event is turned away once.
    """
    if trouble.machine != DOWN:
        return (yield from _refused(trouble, account, execution, function, perform))
    if trouble.met == 1:
        if trouble.kind == "event lost":
            raise Failure(trouble.error("ThrottlingException"), "Rate exceeded")
        yield 1800.0, True
    return perform()


def _with(account: Account, function: str, inside: Inside | None, perform: Perform) -> Any:
    """Performs a function's call with something that takes part in the calls that the function makes."""
    if inside is None:
        return perform()
    account.inside[function] = inside
    try:
        return perform()
    finally:
        del account.inside[function]


KINDS: dict[str, Callable[[Trouble, Account, Execution, str, Perform], Steps[Any]]] = {
    "throttled": _throttled,
    "refused": _refused,
    "no service": _no_service,
    "nonsense": _nonsense,
    "hangs": _hangs,
    "aborted": _aborted,
    "abort and late": _late,
    "abort and very late": _very_late,
    "timed out": _timed_out,
    "killed": _killed,
    "event twice": _event,
    "event lost": _event,
}
