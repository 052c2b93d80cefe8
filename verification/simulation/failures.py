"""What can become of the call of a state: the columns of the table of failures, and how the simulated account plays them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from common.names import run_name
from rehearsal.step_functions.integrations import error_name
from rehearsal.step_functions.interpreter import Failure, Steps
from verification.simulation.account import DOWN, Account, Call
from verification.simulation.definitions import task_states
from verification.simulation.faults import EVENT, Fault, calls_of
from verification.simulation.world import at_once

PERSON = "StoppedByPerson"
# A fault that lasts ends after so many calls: whoever gives up has done so by then, and whoever waits for it goes on.
MANY = 60


def plant(account: Account, failure: str, machine: str, state: str) -> Fault:
    """Lets the calls of a state meet a failure of the table."""
    function = str(task_states(machine)[state]["Resource"]).endswith("lambda:invoke")
    fault = replace(KINDS[failure](function, machine == DOWN), place=state, act=_meet)
    account.world.faults.append(fault)
    if fault.deliveries != 1:
        account.world.faults.append(Fault(place=EVENT, deliveries=fault.deliveries))
    return fault


def _meet(fault: Fault, call: Call) -> Steps[Any]:
    """What becomes of a call of the state."""
    account = call.account
    if fault.ends:
        error = PERSON if fault.ends == "ABORTED" else ""
        account.finish(call.execution, fault.ends, error, "stopped in the middle of a call")
        _arrive(fault, call)
        yield 1.0, False
    if fault.within:
        inside = replace(fault, place=calls_of(call.function), times=None)
        account.world.faults.append(inside)
        try:
            return call.perform()
        finally:
            account.world.faults.remove(inside)
    if fault.delay:
        yield fault.delay, True
        return call.perform()
    if fault.hang:  # until the schedule has ended the run, where there is one; then the connection fails at last
        scheduled = account.scheduler.entries.get(run_name(call.execution.name))
        yield account.world.seconds_until(scheduled[0]) + 900 if scheduled else 60.0, True
    if fault.after:
        call.perform()
    if fault.error:
        raise Failure(error_name(call.resource.split(":")[-2], fault.error), f"AWS answered {fault.error}")
    return {"Payload": fault.answer} if call.function else fault.answer


def _arrive(fault: Fault, call: Call) -> None:
    """Performs a call that its execution no longer waits for: now, some seconds later, or after the next call of another state."""

    def perform() -> None:
        with suppress(Failure):  # nobody hears the answer
            call.perform()

    def after(_: Fault, other: Call) -> Any:
        answer = other.perform()
        perform()
        return answer

    if isinstance(fault.arrives, str):
        call.account.world.faults.append(Fault(place=fault.arrives, act=after))
    elif fault.arrives:
        call.account.world.spawn(at_once(perform)(), fault.arrives)
    else:
        call.perform()


def _throttled(function: bool, **more: Any) -> Fault:
    return Fault(error="TooManyRequestsException" if function else "ThrottlingException", **more)


_REFUSED = partial(Fault, error="AccessDeniedException", times=MANY)
# By the name of a column: the fault, of a state that calls a function or not, in TearDown or not.
KINDS: dict[str, Callable[[bool, bool], Fault]] = {
    "throttled": lambda function, down: _throttled(function, times=2),
    "refused": lambda function, down: _REFUSED(),
    # Every service that the function calls refuses it.
    "no service": lambda function, down: _REFUSED(within=True),
    # The answer is empty; a service has done what it was asked for.
    "nonsense": lambda function, down: Fault(answer={}, after=not function, times=MANY),
    # A function's time runs out; a service's connection fails at last.
    "hangs": lambda function, down: Fault(within=function, hang=True, error="ServiceUnavailable"),
    "aborted": lambda function, down: Fault(ends="ABORTED"),
    # A person stops the execution, and the call arrives between TearDown's first pass and its second, or ten minutes later.
    "abort and late": lambda function, down: Fault(ends="ABORTED", arrives="RemoveResources"),
    "abort and very late": lambda function, down: Fault(ends="ABORTED", arrives=600),
    "timed out": lambda function, down: Fault(ends="TIMED_OUT"),
    # A function's process is killed as soon as it changes something; a service's answer is lost. What was asked is done.
    "killed": lambda function, down: Fault(within=function, after=True, error="InternalFailure"),
    # In TearDown: the second event comes while the call of the first one hangs, or a call without an event is turned away once.
    "event twice": lambda function, down: Fault(delay=1800, deliveries=2) if down else _REFUSED(deliveries=2),
    "event lost": lambda function, down: _throttled(function, deliveries=0) if down else _REFUSED(deliveries=0),
    # A function's time runs out at each call: what its tries cost has to be reserved.
    "out of time": lambda function, down: Fault(within=True, hang=True, times=MANY),
}
