"""What can become of the call of a state: the columns of the table of failures, as the simulated account plays them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from common.names import run_name
from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.integrations import error_name
from rehearsal.step_functions.interpreter import Failure, Steps
from verification.simulation.account import DOWN, Account, Call
from verification.simulation.lambdas import Inside, Killed, Patience
from verification.simulation.services import client_error
from verification.simulation.world import at_once

PERSON = "StoppedByPerson"
# A trouble that lasts ends after so many calls: whoever gives up has done so by then, and whoever waits for it goes on.
MANY = 60
# Beginnings of the operations by which a Lambda function changes something.
_CHANGES = ("put", "transact", "update", "delete", "stop", "create")
# How often the event of the run's end comes, where that is what goes wrong.
_DELIVERIES = {"event twice": 2, "event lost": 0}
# How an execution ends in the middle of a call: by a person, or because its own time is over.
_ENDS = {"aborted": ("ABORTED", PERSON), "timed out": ("TIMED_OUT", "")}


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

    def __call__(self, call: Call) -> Any:
        """A call of the state. The trouble is over when the execution that met it first has ended, whatever became of it."""
        self.first = self.first or call.execution
        if call.execution is not self.first and self.first.status != "RUNNING":
            return call.perform()
        self.met += 1
        return KINDS[self.kind](self, call)

    @property
    def service(self) -> str:
        """The service that the state calls, by boto3's name; "lambda" for a function."""
        return "lambda" if self.resource.endswith("lambda:invoke") else self.resource.split(":")[-2]

    def error(self, code: str) -> str:
        """The name of an error of that service in a state machine."""
        if self.service != "lambda":
            return error_name(self.service, code)
        return "Lambda.TooManyRequestsException" if code == "ThrottlingException" else "Lambda.AWSLambdaException"


def _throttled(trouble: Trouble, call: Call) -> Any:
    """AWS turns the call away twice."""
    if trouble.met <= 2:
        raise Failure(trouble.error("ThrottlingException"), "Rate exceeded")
    return call.perform()


def _refused(trouble: Trouble, call: Call) -> Any:
    """AWS refuses it, and goes on refusing it."""
    if trouble.met <= MANY:
        raise Failure(trouble.error("AccessDeniedException"), "not authorized to perform this operation")
    return call.perform()


def _no_service(trouble: Trouble, call: Call) -> Any:
    """Every service that the function calls refuses it."""

    def refuse(service: str, operation: str, perform: Callable[[], Any], patience: Patience) -> Any:
        raise client_error("AccessDeniedException", "not authorized", operation)

    return _with(refuse, call) if trouble.met <= MANY else call.perform()


def _nonsense(trouble: Trouble, call: Call) -> Any:
    """The answer is empty; a service has done what it was asked for."""
    if trouble.met > MANY:
        return call.perform()
    if call.function:
        return {"Payload": {}}
    call.perform()
    return {}


def _hangs(trouble: Trouble, call: Call) -> Steps[Any]:
    """No answer comes to the first call: a function's time runs out, a service's connection fails at last."""
    if trouble.met > 1:
        return call.perform()
    if call.function:
        return _with(lambda service, operation, perform, patience: patience.wait(10**6), call)
    account = call.account
    scheduled = account.scheduler.entries.get(run_name(call.execution.name)) if trouble.machine != DOWN else None
    yield account.world.seconds_until(scheduled[0]) + 900 if scheduled else 60.0, True
    raise Failure(trouble.error("ServiceUnavailable"), "the connection was closed")


def _out_of_time(trouble: Trouble, call: Call) -> Any:
    """A function's time runs out at each call: what its tries cost has to be reserved."""
    if trouble.met > MANY:
        return call.perform()
    return _with(lambda service, operation, perform, patience: patience.wait(10**6), call)


def _cut(trouble: Trouble, call: Call) -> Steps[Any]:
    """The execution ends while the call is under way, which still arrives."""
    if trouble.met == 1:
        call.account.finish(call.execution, *_ENDS[trouble.kind], "stopped in the middle of a call")
        call.perform()
        yield 1.0, False
    return call.perform()


def _late(trouble: Trouble, call: Call) -> Steps[Any]:
    """A person stops the execution, and the call arrives between TearDown's first pass and its second."""

    def first_pass(look: Call) -> Any:
        seen = look.perform()
        if not trouble.landed:
            trouble.landed.append("landed")
            with suppress(Failure):  # nobody hears the answer
                call.perform()
        return seen

    call.account.faults[DOWN, "RemoveResources"] = first_pass
    call.account.finish(call.execution, *_ENDS["aborted"], "stopped in the middle of a call")
    yield 1.0, False


def _very_late(trouble: Trouble, call: Call) -> Steps[Any]:
    """The same, and the call arrives ten minutes later."""

    @at_once
    def arrive() -> None:
        with suppress(Failure):  # nobody hears the answer
            call.perform()

    call.account.finish(call.execution, *_ENDS["aborted"], "stopped in the middle of a call")
    call.account.world.spawn(arrive(), 600)
    yield 1.0, False


def _killed(trouble: Trouble, call: Call) -> Any:
    """A function's process is killed as soon as it changes something; a service's answer is lost. What was asked is done."""
    if trouble.landed:
        return call.perform()
    if not call.function:
        trouble.landed.append(call.perform())
        raise Failure(trouble.error("InternalFailure"), "the answer was lost")

    def kill(service: str, operation: str, perform: Callable[[], Any], patience: Patience) -> Any:
        answer = perform()
        if operation.startswith(_CHANGES) and not trouble.landed:
            trouble.landed.append(operation)
            raise Killed("Runtime.ExitError", "the process was killed")
        return answer

    return _with(kill, call)


def _event(trouble: Trouble, call: Call) -> Steps[Any]:
    """The event of the run's end comes twice or never, after a refusal.

    In TearDown: the second event comes while the call of the first one hangs, and one that comes without an event is turned away once.
    """
    if trouble.machine != DOWN:
        return _refused(trouble, call)
    if trouble.met == 1:
        if trouble.kind == "event lost":
            raise Failure(trouble.error("ThrottlingException"), "Rate exceeded")
        yield 1800.0, True
    return call.perform()


def _with(inside: Inside, call: Call) -> Any:
    """Performs a function's call with something that takes part in the calls that the function makes."""
    call.account.inside[call.function] = inside
    try:
        return call.perform()
    finally:
        del call.account.inside[call.function]


KINDS: dict[str, Callable[[Trouble, Call], Any]] = {
    "throttled": _throttled,
    "refused": _refused,
    "no service": _no_service,
    "nonsense": _nonsense,
    "hangs": _hangs,
    "aborted": _cut,
    "abort and late": _late,
    "abort and very late": _very_late,
    "timed out": _cut,
    "killed": _killed,
    "event twice": _event,
    "event lost": _event,
    "out of time": _out_of_time,
}
