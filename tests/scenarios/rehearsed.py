"""The second witness: rows of the table of failures, played in real time in the rehearsed account, with moto's interpreter."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.ledger.ledger import Ledger
from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.calls import Call, Fault
from rehearsal.step_functions.executions import Execution
from tests import surroundings
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.deployed import DeployedProject
from tests.scenarios.seen import Seen, ledger_of, states_of
from verification.fake_engines import FakeHosting, FakeTraining, TrainingPlan
from verification.simulation import faults as simulation
from verification.simulation import material, rows
from verification.simulation.account import DOWN
from verification.simulation.definitions import task_states
from verification.simulation.failures import KINDS, PERSON
from verification.simulation.rows import Row

TRAINING_MINUTES, HOSTING_MINUTES = 20, 10


class _Training(FakeTraining):
    """A fake job whose instance is busy for a while before anyone looks, so that there is something to bill."""

    cloud: Cloud

    def start(self, job: Any) -> None:
        """Begin, and let the time pass."""
        super().start(job)
        if job.started is not None:
            self.cloud.clock.advance(minutes=TRAINING_MINUTES)


class _Hosting(FakeHosting):
    """A fake endpoint that takes its time before anyone looks."""

    cloud: Cloud

    def start(self, endpoint: Any) -> None:
        """Begin, and let the time pass, unless no instance is found: then nothing bills."""
        finds_none = self.outcomes[0] == "capacity"
        super().start(endpoint)
        if not finds_none:
            self.cloud.clock.advance(minutes=HOSTING_MINUTES)


class RehearsedAccount:
    """The deployed project in the rehearsed account, emptied before each row."""

    def __init__(self, project: DeployedProject) -> None:
        self.project, self.cloud, self.deployment = project, project.cloud, project.deployment

    def empty(self, row: Row) -> None:
        """Takes away what the last row left, and plans how jobs and endpoints turn out for a run that comes to its state."""
        given = rows.parameters(row.state, row.serves)
        training = _Training(*(TrainingPlan(plan, metrics=material.METRICS) for plan in given.jobs))  # type: ignore[arg-type]
        hosting = _Hosting(*given.endpoints)
        training.cloud = hosting.cloud = self.cloud
        self.cloud.reset(training=training, hosting=hosting)
        self.project.put(material.CORPUS, material.corpus().encode())
        self.project.put(material.PROMPTS, material.prompts().encode())
        if row.serves:
            for key, content in material.earlier(self.deployment.weights_uri).items():
                self.project.put(key, content)

    def play(self, row: Row, at: datetime) -> tuple[Seen, list[str]]:
        """What was seen of a row once all is quiet, and what is left. Raises TimeoutError for one that does not end.

        It begins when the simulation's does: a reservation that reaches into another month is another one.
        """
        with surroundings.at(at):
            self.empty(row)
            case = _Case(self, row)
            fault = KINDS[row.failure](bool(case.function), case.in_tear_down)
            case.plant(fault)
            case.start()
            if fault.hang and not fault.within:
                case.release_at_the_deadline()
            elif fault.ends:
                case.until_landed()
            case.settle()
            self.cloud.faults.clear()
            # The one act that has to end the run where its own event could not.
            if row.ended_by == "the schedule" and row.failure != "hangs":
                case.until_the_schedule()
            case.settle()
            return case.seen(), self.left()

    def left(self) -> list[str]:
        """What is left of any run, still runs, was not delivered, or was refused for want of a right."""
        left = [f"left: {kind} {names}" for kind, names in self.cloud.leftovers().items() if names]
        left += [f"still running: {execution}" for execution in self.cloud.executions.running()]
        left += [f"undelivered: {one.name} {one.error}" for one in self.cloud.events.deliveries if one.error]
        return left + [f"rejected: {call}" for call in self.cloud.refused]

    def role_of(self, machine: str) -> str:
        """The name of the role that a state machine acts as, by which its calls are known."""
        found = self.cloud.client("stepfunctions").describe_state_machine(stateMachineArn=machine)
        return str(found["roleArn"]).rpartition("/")[2]


@dataclass
class _Case:
    """A run in the account, and the faults that it meets in one state."""

    account: RehearsedAccount
    row: Row
    faults: list[Fault] = field(default_factory=list)
    caught: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cloud, deployment = self.account.cloud, self.account.deployment
        self.in_tear_down = self.row.machine == DOWN
        self.machine = deployment.tear_down if self.in_tear_down else deployment.fine_tuning
        body = task_states(self.row.machine)[self.row.state]
        self.resource, self.arguments = str(body["Resource"]), body["Arguments"]
        named = str(self.arguments.get("FunctionName", "")).removeprefix("${").removesuffix("FunctionArn}")
        self.named = named.lower()
        self.function = deployment.functions[self.named] if named else ""
        self.run: Execution | None = None

    # what can be done to the state's call ---------------------------------------------------------------------------

    def _add(self, before: Callable[[Call], None] = lambda call: None, **what: Any) -> Fault:
        """A fault that keeps the calls it meets."""

        def catch(call: Call) -> None:
            self.caught.append(call)
            before(call)

        self.faults.append(self.cloud.faults.add(before=catch, **what))
        return self.faults[-1]

    def plant(self, fault: simulation.Fault) -> None:
        """Puts a fault of the table on the state's calls, or on those of its function."""
        if fault.deliveries != 1:
            self.cloud.events.times.append(fault.deliveries)
        if fault.ends:
            self.cut(self.stop if fault.ends == "ABORTED" else self.run_out_of_time)
            return
        words = {name: getattr(fault, name) for name in ("answer", "times", "after", "hang")}
        words["error"] = fault.error or None
        if not fault.within:
            self.fault(**words)
        elif fault.hang:
            self.inside(before=lambda call: self.cloud.functions.time_out(self.function), **words)
        else:
            self.inside(**words)

    def fault(self, **what: Any) -> Fault:
        """A fault on the state's own call."""
        action = "invoke" if self.function else self.resource.split(":")[-1]
        by, operation = self.account.role_of(self.machine), action[0].upper() + action[1:]
        return self._add(operation=operation, by=by, when=self._is_its_call, **what)

    def _is_its_call(self, request: Mapping[str, Any]) -> bool:
        """Whether a call of its operation is this state's, by a literal of its payload and by where an execution is now."""
        payload = self.arguments.get("Payload")
        literals = (
            {key: value for key, value in payload.items() if not str(value).startswith(("{%", "${"))}
            if isinstance(payload, dict)
            else {}
        )
        its_function = not self.function or self.function in str(request.get("path"))
        return its_function and all(request.get(key) == value for key, value in literals.items()) and self._is_there()

    def _is_there(self) -> bool:
        for execution in self.cloud.executions.of_machine(self.machine):
            events, name = execution.history(), self.row.state
            entered = sum(event.get("stateEnteredEventDetails", {}).get("name") == name for event in events)
            if entered > sum(event.get("stateExitedEventDetails", {}).get("name") == name for event in events):
                return True
        return False

    def inside(self, **what: Any) -> None:
        """A fault on the calls that the state's function makes."""
        self._add(operation="*", by=self.account.project.role_of(self.named), **what)

    def cut(self, end: Callable[[Execution], None]) -> None:
        """Ends the execution that is in the state while its call is under way."""
        self.fault(before=lambda call: end(self.cloud.executions.of_machine(self.machine)[0]))
        if not self.in_tear_down:
            self.hold_tear_down()

    def stop(self, execution: Execution) -> None:
        """Stops an execution as a person does."""
        self.cloud.stop(execution, error=PERSON, cause="stopped in the middle of a call")

    def run_out_of_time(self, execution: Execution) -> None:
        """Ends an execution as its TimeoutSeconds do."""
        self.cloud.executions.end("TIMED_OUT", execution)

    def hold_tear_down(self) -> None:
        """Holds TearDown's first pass until the state's call has been answered."""
        function = self.account.deployment.functions["teardown"]
        self.cloud.faults.add(
            operation="Invoke",
            by=self.account.role_of(self.account.deployment.tear_down),
            when=lambda request: function in str(request.get("path")),
            before=lambda call: self.until_landed(),
        )

    # what can be waited for -----------------------------------------------------------------------------------------

    def wait_for(self, what: Callable[[], bool], words: str) -> None:
        """Waits until something is so. Raises TimeoutError with the words."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not what():
            time.sleep(0.005)
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain for {words}")

    def until_reached(self) -> None:
        """Waits until the run has made a call in the state, or is over without having been there."""
        self.wait_for(lambda: bool(self.caught) or self._idle(), f"the state {self.row.state}")

    def _idle(self) -> bool:
        over = self.run is not None and self.run.is_over
        return over and self.cloud.events.is_idle and not self.cloud.executions.running()

    def until_landed(self) -> None:
        """Waits until the state's call has been answered, whether anyone hears it or not."""
        self.wait_for(lambda: bool(self.caught) and self.caught[0].status is not None, "the call's answer")

    def release_at_the_deadline(self) -> None:
        """A service's call that hangs is ended by the schedule, where there is one; then the connection fails at last."""
        self.until_reached()
        if self.row.ended_by == "the schedule":
            self.until_the_schedule()
            self.wait_for(lambda: self.run is not None and self.run.is_over, "the end of the run at its deadline")
        self.faults[0].release()

    def settle(self) -> None:
        """Waits until nothing runs and nothing is on its way."""
        self.cloud.settle(self.run, timeout=PATIENCE_SECONDS)

    # from its start to what is seen of it ---------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the run."""
        waited_for = rows.UNTIL_REACHED.get(self.row.state)
        if waited_for is not None:
            function = self.account.deployment.functions["settle"]
            self.cloud.faults.add(
                operation="Invoke",
                when=lambda request: function in str(request.get("path")) and not self.caught,
                times=None,
                error="AccessDeniedException",
                status=403,
            )
        given = rows.parameters(self.row.state, self.row.serves)
        more: dict[str, Any] = {"keepEndpointMinutes": given.keep_seconds // 60} if given.keep_seconds else {}
        more |= {"spot": True} if given.spot else {}
        wanted = material.serving(self.account.deployment.bucket) if given.serves else material.INPUT
        self.run = self.cloud.start({**wanted, **more})

    def until_the_schedule(self) -> None:
        """Moves the clock to the next schedule."""
        moment = self.cloud.events.next_moment()
        assert moment is not None
        self.cloud.clock.advance(seconds=max(0.0, (moment - self.cloud.clock()).total_seconds()) + 0.01)

    def seen(self) -> Seen:
        """What the row left to see."""
        assert self.run is not None
        downs = self.account.project.tear_downs()
        reports = f"runs/{run_name(self.run.name)}/report/"
        s3 = self.cloud.client("s3")
        found = s3.list_objects_v2(Bucket=self.account.deployment.bucket, Prefix=reports).get("Contents", [])
        return Seen(
            run=(self.run.status, self.run.error or ""),
            tear_down=(downs[0].status, downs[0].error or "") if downs else ("", ""),
            states=states_of(self.run.states()),
            tear_down_states=states_of([name for one in downs for name in one.states()]),
            errors=frozenset(error for one in (self.run, *downs) for error in one.errors()),
            ledger=ledger_of(
                [row.item for row in Ledger(self.cloud.client("dynamodb"), self.account.deployment.table).rows()]
            ),
            reports=frozenset(item["Key"].removeprefix(reports) for item in found),
            mailed=bool(self.account.project.emails()),
        )
