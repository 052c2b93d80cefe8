"""One cell of the matrix: a run in which one state meets one failure, and what follows until all is quiet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from proof.matrix.bench import INPUT, PATIENCE, Bench
from proof.matrix.states import TaskState
from rehearsal.sagemaker import Call, Fault
from rehearsal.sagemaker.fake import HostingPlan
from rehearsal.step_functions.executions import Execution

KEEP_MINUTES = 10
# What a run needs besides the usual to come to a state at all. A state that no run comes to fails its cells.
INPUTS: dict[str, dict[str, Any]] = {
    "KeepEndpointForNow": {"keepEndpointMinutes": KEEP_MINUTES},
    "StartSpotTraining": {"spot": True},
}
ENDPOINTS = {"DeleteEndpointWithoutCapacity": (HostingPlan("capacity"), HostingPlan())}
TRAININGS = {"LookForAdapter": "cut"}
# The function that fails until a run has come to a state, which is there for nothing else.
UNTIL_REACHED = {"TellUnsettled": "settle"}
# Beginnings of the operations by which a Lambda function changes something.
_CHANGES = ("Put", "Transact", "Update", "Delete", "Stop", "Create")
PERSON = "StoppedByPerson"


@dataclass
class Case:
    """A run on a bench, and the faults that it meets."""

    bench: Bench
    state: TaskState
    faults: list[Fault] = field(default_factory=list)
    caught: list[Call] = field(default_factory=list)
    lands: bool = False  # whether the state's call is to be answered whatever becomes of its execution

    def __post_init__(self) -> None:
        self.cloud = self.bench.cloud
        self.in_tear_down = self.state.machine == self.bench.deployment.tear_down
        self.run: Execution | None = None

    # what can be done to the state --------------------------------------------------------------------------------

    def fault(self, **what: Any) -> Fault:
        """A fault on the state's own call."""
        faults = self.cloud.sagemaker.faults if self.state.service == "sagemaker" else self.cloud.faults
        by = self.bench.role_of(self.state.machine)
        before: Callable[[Call], None] = what.pop("before", lambda call: None)

        def catch(call: Call) -> None:
            self.caught.append(call)
            before(call)

        def when(request: Mapping[str, Any]) -> bool:
            return self.state.is_its_call(request) and self._is_in_the_state()

        self.faults.append(faults.add(operation=self.state.operation, when=when, by=by, before=catch, **what))
        return self.faults[-1]

    def _is_in_the_state(self) -> bool:
        """Whether an execution is in the state now: another state may make the same call."""
        for execution in self.cloud.executions.of(self.state.machine):
            events = execution.history()
            entered = sum(e.get("stateEnteredEventDetails", {}).get("name") == self.state.name for e in events)
            if entered > sum(e.get("stateExitedEventDetails", {}).get("name") == self.state.name for e in events):
                return True
        return False

    def inside(self, **what: Any) -> list[Fault]:
        """A fault on the calls that the state's Lambda function makes: on the first one, or on all with times=None."""
        by = self.bench.role_of_function(self.state.function)
        both = (self.cloud.faults, self.cloud.sagemaker.faults)
        before: Callable[[Call], None] = what.pop("before", lambda call: None)
        times = what.pop("times", 1)
        made: list[Fault] = []

        def catch(call: Call) -> None:
            self.caught.append(call)
            before(call)
            for fault in made if times is not None else []:
                fault.times = fault.hits  # together they meet so many calls, not each

        made += [faults.add(operation="*", by=by, before=catch, times=times, **what) for faults in both]
        self.faults += made
        return made

    def kill_when_it_writes(self) -> None:
        """Kills the Lambda's process as soon as it changes something; the change itself still happens."""
        done: list[str] = []

        def kill(call: Call) -> None:
            if not done and call.operation.startswith(_CHANGES):
                done.append(call.operation)
                self.cloud.functions.kill(self.state.function)
            else:
                self.caught.remove(call)

        self.inside(times=None, before=kill)

    def subject(self) -> Execution:
        """The execution that is in the state."""
        return self.cloud.executions.of(self.state.machine)[0]

    def stop(self, call: Call | None = None) -> None:
        """A person presses Stop."""
        self.cloud.stop(self.subject(), error=PERSON, cause="The matrix stopped it.")

    def run_out_of_time(self, call: Call | None = None) -> None:
        """The execution's TimeoutSeconds are over."""
        self.subject().run_out_of_time()

    def hold_tear_down(self, passes: int, until: Callable[[], None]) -> None:
        """Lets TearDown make so many passes and holds the next one until something is done."""
        function = self.bench.deployment.functions["teardown"]
        self.cloud.faults.add(
            operation="Invoke",
            by=self.bench.role_of(self.bench.deployment.tear_down),
            when=lambda request: function in str(request.get("path")),
            skip=passes,
            before=lambda call: until(),
        )

    # what can be waited for ---------------------------------------------------------------------------------------

    @property
    def reached(self) -> bool:
        """Whether the run came to the state and met the fault."""
        return bool(self.caught)

    def until_reached(self, attempts: int = 1) -> None:
        """Waits until the run is in the state, and has made so many calls there, or is over without having been there."""
        self.bench.wait_for(lambda: len(self.caught) >= attempts or self._idle(), f"the state {self.state.name}")

    def _idle(self) -> bool:
        return (
            self.run is not None
            and self.run.is_over
            and self.cloud.events.is_idle
            and not self.cloud.executions.running()
        )

    def until_landed(self) -> None:
        """Waits until the state's call has been answered, whether anyone hears it or not."""
        self.bench.wait_for(lambda: bool(self.caught) and self.caught[0].status is not None, "the call's answer")

    def until_one_tear_down_is_over(self) -> None:
        """Waits until a TearDown other than the one that is held has ended."""
        self.bench.wait_for(lambda: any(one.is_over for one in self.bench.tear_downs()), "the other TearDown")

    def settle(self) -> None:
        """Waits until nothing runs and nothing is on its way."""
        self.cloud.settle(self.run, timeout=PATIENCE)

    # what heals ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the run."""
        if self.state.name in UNTIL_REACHED:
            function = self.bench.deployment.functions[UNTIL_REACHED[self.state.name]]
            self.cloud.faults.add(
                operation="Invoke",
                when=lambda request: function in str(request.get("path")) and not self.reached,
                times=None,
                error="TooManyRequestsException",
                status=429,
            )
        self.run = self.cloud.start({**INPUT, **INPUTS.get(self.state.name, {})})

    def lift(self) -> None:
        """Ends the trouble: every fault is forgotten, and what hangs goes on."""
        self.cloud.faults.clear()
        self.cloud.sagemaker.faults.clear()
        if self.lands:
            self.until_landed()

    def until_the_schedule(self) -> bool:
        """Moves the clock to the next schedule, if there is one, and tells whether there was."""
        moment = self.cloud.events.next_moment()
        if moment is None:
            return False
        self.cloud.clock.advance(seconds=max(0.0, (moment - self.cloud.clock()).total_seconds()) + 0.01)
        return True

    def until_the_sweeper(self) -> bool:
        """Moves the clock beyond the sweeper's grace and lets its rule fire; tells whether there is such a rule."""
        self.cloud.clock.advance(seconds=timedelta(minutes=40).total_seconds())
        return self.cloud.events.fire_timed_rules() > 0
