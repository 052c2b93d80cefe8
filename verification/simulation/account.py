"""The simulated account: its services, its deployed functions, and the executions of both state machines in it."""

import random
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Any

from common.endpoint_lives import of_item
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.ledger.rows import Row
from rehearsal.sagemaker.market import OPERATIONS
from rehearsal.sagemaker.s3_folders import split
from rehearsal.sagemaker.store import Endpoint, TrainingJob
from rehearsal.step_functions.executions import Execution, context_of
from rehearsal.step_functions.integrations import call_service, complaints, error_name
from rehearsal.step_functions.interpreter import Failure, Steps, status_of
from stacks.configuration.images import REQUESTS_AT_ONCE
from stacks.names import RUN_ENDED_RULE, SWEEP_RULE
from verification.simulation import ends, material
from verification.simulation.audit import Audit
from verification.simulation.definitions import machine
from verification.simulation.faults import EVENT
from verification.simulation.lambdas import invoke
from verification.simulation.parameters import Fate, RunParameters
from verification.simulation.price_list import HOURLY_USD
from verification.simulation.services import Client
from verification.simulation.services.dynamodb import Table
from verification.simulation.services.orchestration import (
    MACHINE,
    TEAR_DOWN,
    Scheduler,
    StepFunctions,
    execution_arn,
)
from verification.simulation.services.sagemaker import (
    ACCOUNT,
    REGION,
    EndpointCourse,
    JobCourse,
    SageMaker,
)
from verification.simulation.services.supplies import (
    BUCKET,
    SWEEPER,
    Rules,
    Storage,
    Topic,
    market,
    runtime,
)
from verification.simulation.virtual_time import VirtualRun
from verification.simulation.world import DEFENCES, NOON, Process, World

SWEEP_SECONDS = 900
# What a deployment puts into the definitions beside the settings.
ARNS = {
    "TearDownArn": TEAR_DOWN,
    "ResultTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:results",
    **{
        f"{name}RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{name.lower()}" for name in ("Scheduler", "Training", "Hosting")
    },
}
FINE, DOWN = "fine_tuning", "tear_down"


@dataclass(frozen=True)
class Call:
    """A call of a state that goes wrong: who makes it, what it calls, the function's name if it is one, and what performs it."""

    account: "Account"
    execution: Execution
    resource: str
    function: str
    perform: Callable[[], Any]


@dataclass
class Account:
    """The parts that runs, tear-downs and the sweeper share. One that is `whole` also reads texts, asks models and writes reports."""

    world: World
    whole: bool = False
    sweep_seconds: float = SWEEP_SECONDS
    greedy: bool = False  # whether all runs of the month want as much as they can get
    at_once: bool = False  # whether runs that were planned in the same ten minutes reserve in the same second
    # What became of the runs, counted by its name.
    counts: Counter[str] = field(default_factory=Counter)
    # By execution: what is deployed for it now; and by run: the prices that AWS asked when it was planned.
    deployed: dict[str, RunParameters] = field(default_factory=dict)
    usd: dict[str, dict[str, str]] = field(default_factory=dict)
    # The share of failed calls that take effect all the same, and of the months' price lists that say too little.
    late_calls: float = 0.0
    lies: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)  # keys of the ledger's items, by other hands than its own
    planning: int = 0  # plans that are being made: what AWS asks does not change in the middle of one
    sweeping: bool = False
    _events: int = 0

    def __post_init__(self) -> None:
        world = self.world
        self.table = Table(trouble=world.trouble, pause=world.interleave)
        listed = ("ml.g5.2xlarge", "ml.g6.2xlarge", "ml.g5.12xlarge", "ml.p4d.24xlarge")
        self.market = market({name: HOURLY_USD[name] for name in listed})
        self.storage = Storage(dict(material.objects()) if self.whole else {}, anything=not self.whole)
        self.sagemaker = SageMaker(
            world, self.market, self.storage.has_objects, self._job, self._endpoint, self._touched
        )
        self.audit = Audit(world, self.sagemaker, self.requested)
        self.table.observe = self.audit.observe
        self.scheduler = Scheduler(world, self.tear_down)
        self.step_functions = StepFunctions(
            world, lambda execution, error, cause: self.finish(execution, "ABORTED", error, cause), self.tear_down
        )
        self.topic, self.rules = Topic(observe=self.check_email), Rules((TEAR_DOWN, SWEEPER))
        self.price_list = self._of_market("pricing")
        self.executions, self.tear_downs = self.step_functions.executions, self.step_functions.tear_downs
        self.owners = self.audit.owners

    def count(self, what: str) -> None:
        """Counts one."""
        self.counts[what] += 1

    # what the functions see ---------------------------------------------------------------------------------------

    @cached_property
    def clients(self) -> Mapping[str, Any]:
        """The services by boto3's names."""
        return {
            "dynamodb": self.table,
            "sagemaker": Client("sagemaker", self.sagemaker.control_plane.operations, self.sagemaker.perform),
            "sagemaker-runtime": runtime(self.sagemaker.control_plane.hosting),
            "stepfunctions": self.step_functions,
            "scheduler": self.scheduler,
            "s3": self.storage,
            "sns": self.topic,
            "events": self.rules,
            "pricing": self.price_list,
            "service-quotas": self._of_market("service-quotas"),
            "ecr": self._of_market("ecr"),
        }

    def _of_market(self, service: str) -> Client:
        return Client(service, OPERATIONS, lambda operation, asked: self.market.call(operation, asked, REGION))

    def function(self, name: str, event: Any, given: RunParameters | None = None, cap_cents: int = -1) -> Any:
        """What a Lambda answers. Raises Failure."""
        environment = {
            "LEDGER_TABLE": "ledger",
            "BUCKET_NAME": BUCKET,
            "CAP_CENTS": str(cap_cents if cap_cents >= 0 else self.world.cap_cents),
            "FINE_TUNING_ARN": MACHINE,
            "TEAR_DOWN_ARN": TEAR_DOWN,
            "SWEEPER_ARN": SWEEPER,
            "RUN_ENDED_RULE": RUN_ENDED_RULE,
            "SWEEP_RULE": SWEEP_RULE,
            "KILL_SWITCH_TOPIC": ARNS["ResultTopicArn"],
            "REQUESTS_AT_ONCE": str(REQUESTS_AT_ONCE),
            **material.ASSETS,
        }
        if given is not None:
            environment |= {"SETTINGS_JSON": given.settings_json(), "DEFINITION_VERSION": given.version()}
        return invoke(self, name, event, environment)

    def ledger(self) -> ledger_module.Ledger:
        """The real ledger over this table; between two attempts at a transaction others may go first."""
        return ledger_module.Ledger(self.table, "ledger", pause=lambda seconds: self.world.interleave("pause"))

    def aws_call(self, resource: str, asked: dict[str, Any]) -> Any:
        """One call of an AWS SDK integration. Raises Failure as Step Functions names it."""
        service, operation = resource.split(":")[-2:]
        if self.world.fault(service):
            error = f"{error_name(service, '').split('.')[0]}.SdkClientException"
            raise Failure(error, f"{service} is unavailable", self.world.random.uniform(1, 30))
        if self.whole and (words := complaints(service, operation, asked)):
            raise Failure("States.Runtime", words)
        return call_service(self.clients[service], service, operation, asked)

    def reach_lambda(self, function: str) -> None:
        """Raises Failure while Lambda is away, or one function of it."""
        if self.world.fault("Lambda") or self.world.fault(function):
            raise Failure("Lambda.ServiceException", "Lambda is unavailable", self.world.random.uniform(1, 30))

    def perform(
        self, state: str, resource: str, execution: Execution, asked: Any, done: Callable[[], Any]
    ) -> Steps[Any]:
        """A call of a state, with the fault that it meets."""
        fault = self.world.fault(state, execution)
        call = Call(self, execution, resource, function_of(asked), done)
        answer = fault.act(fault, call) if fault and fault.act else done()
        return (yield from answer) if isinstance(answer, Generator) else answer

    # executions ---------------------------------------------------------------------------------------------------

    def start(
        self, name: str, given: RunParameters, run: Callable[[Execution], Process], delay: float = 0.0
    ) -> Execution:
        """Starts an execution of FineTuning, and the sweeper's rule with it. `run` makes its process."""
        arn = execution_arn(MACHINE, name)
        execution = self.world.follow(Execution(name, arn, self.world.now + timedelta(seconds=delay), MACHINE))
        self.executions[arn], self.deployed[arn] = execution, given
        self.world.spawn(run(execution), delay, execution)
        self.world.spawn(self._sweep_regularly(), delay)
        return execution

    def interpret(self, name: str, execution: Execution, given: Any, call: Any, **more: Any) -> VirtualRun:
        """The interpreter of an execution of a machine."""
        execution.input = given
        return VirtualRun(self.world, machine(name), context_of(execution), call, execution, **more)

    def check_output(self, name: str, execution: Execution, output: Any) -> None:
        """The output with which an execution succeeds has to be as the contract of its end says."""
        if execution.status == "RUNNING":
            self.audit.wrong += ends.broken(name, execution.states(), output)

    def finish(self, execution: Execution, status: str, error: str = "", cause: str = "", output: Any = None) -> None:
        """Ends an execution. The event of a FineTuning starts its tear-down: mostly at once, sometimes late, twice, or never."""
        if execution.status != "RUNNING":
            return
        world = self.world
        if world.actor not in ("", execution.arn):
            self.audit.hurt += 1
        execution.end(status, world.now, error, cause, output)
        world.log(f"{execution.name} ended: {status} {error}")
        if execution.arn not in self.executions or not DEFENCES.event_rule:
            return
        if world.random.random() < world.lost_events:
            return
        event = {"executionArn": execution.arn, "executionName": execution.name, "status": status, "reason": "event"}
        usual = [1] if self.whole else [1, 1, 1, 2, 3]
        fault = world.fault(EVENT)
        for _ in range(fault.deliveries if fault else world.random.choice(usual)):
            late = world.random.random() < world.late_events
            delay = world.random.uniform(0, 6 * 3600) if late else world.random.uniform(0, 4)
            # EventBridge delivers what it has taken when it is back.
            over = world.down_until("EventBridge")
            self.tear_down(event, delay=max(delay, world.seconds_until(over) if over else 0.0))

    def tear_down(self, event: Mapping[str, Any], name: str = "", delay: float = 1.0) -> None:
        """Starts a TearDown execution. Who delivers the event goes on trying while Step Functions is away."""
        self._events += not name
        name = name or f"event-{self._events}"
        arn = execution_arn(TEAR_DOWN, name)
        begins = self.world.now + timedelta(seconds=delay)
        execution = self.world.follow(Execution(name, arn, begins, TEAR_DOWN, reason=str(event.get("reason", ""))))
        self.tear_downs[arn] = execution
        self.world.log(f"TearDown {name} is started: {execution.reason}")
        self.world.spawn(self._tear_down(execution, dict(event)), delay, execution)

    def _tear_down(self, execution: Execution, event: dict[str, Any]) -> Process:
        """A whole execution of TearDown. One that fails or runs out of time has given up."""
        world = self.world
        who = event.get("executionArn") or event.get("runName", "")

        def call(state: str, resource: str, asked: Any) -> Steps[Any]:
            yield world.random.uniform(0.1, 4) if self.whole else world.latency(), True
            return (
                yield from self.perform(
                    state,
                    resource,
                    execution,
                    asked,
                    lambda: self._perform(resource, asked, who, event, execution.name),
                )
            )

        interpreter = self.interpret(DOWN, execution, event, call, values=ARNS)
        try:
            output = yield from interpreter.run(event)
            self.check_output(DOWN, execution, output)
            execution.end("SUCCEEDED", world.now, output=output)
            if execution.states()[-1] == "EndpointKept":
                self.count("kept")
        except Failure as failure:
            execution.end(status_of(failure), world.now, failure.error, failure.cause or "")
            self.count("teardowns that gave up")
        world.log(f"{execution.name} ended: {execution.status} {execution.error}")
        self.audit.went_through(who, interpreter.transitions)

    def _perform(self, resource: str, asked: Any, who: str, event: Mapping[str, Any], tear_down: str) -> Any:
        """A call of a state of TearDown. Raises Failure."""
        if not resource.endswith("lambda:invoke"):
            return self.aws_call(resource, asked)
        function = function_of(asked)
        self.reach_lambda(function)
        with self.audit.using(who, function, self.world.random.uniform(1, 10)):
            if function == "finish" and not self.whole:
                return {"Payload": {"subject": "", "message": "", "verdict": ""}}
            with self.world.acting(event.get("executionArn", "")):
                answer = self.function(function, asked["Payload"])
        if function == "teardown":
            found = ", ".join([*answer["found"], *answer["problems"]]) or "nothing"
            self.world.log(f"TearDown of {answer['runName']} found: {found}")
            if not (
                answer["problems"]
                or answer["running"]
                or answer["keep"]
                or "endpoint " in found
                or "execution " in found
            ):
                self.audit.found_none(answer["runName"], tear_down)
        return {"Payload": answer}

    # the sweeper and the kill switch ------------------------------------------------------------------------------

    def _sweep_regularly(self) -> Process:
        """The sweeper's rule, looked at only while a run is under way or has left something."""
        world = self.world
        if self.sweeping:
            return
        self.sweeping = True
        while True:
            yield world.random.uniform(0.9, 1.1) * self.sweep_seconds, False
            if not DEFENCES.sweeper:
                return
            # Where no run ever reserved and nothing was ever made, there is nothing that a sweep could find.
            something = self.runs() or self.sagemaker.jobs or any(self.sagemaker.control_plane.leftovers().values())
            if something and not any(world.fault(service) for service in ("EventBridge", "Lambda")):
                self.sweep({"reason": "sweep"})
            stops = [one.stop for one in self.executions.values() if one.stop is not None]
            over = len(stops) == len(self.executions) and max(stops) + timedelta(hours=1) < world.now
            if over and self._all_settled():
                self.sweeping = False
                return

    def sweep(self, event: dict[str, Any]) -> bool:
        """One call of the sweeper; whether it did all that it had to."""
        self.count("sweeps")
        gone = self._gone_unnoted()
        try:
            answer = self.function("sweeper", event)
        except Failure:
            self.count("failed sweeps")
            return False
        for run in gone:
            self.audit.found_none(run, "sweep")
        for _ in answer["tearDowns"]:
            self.count("swept")
        return True

    def _gone_unnoted(self) -> list[str]:
        """The runs whose items hold an endpoint without an end, which is there no more: a sweep notes that."""
        there = {self.sagemaker.run_of(one) for one in self.sagemaker.present}
        return [
            run
            for run, row in self.runs().items()
            if run not in there
            and any("goneAt" not in life for life in of_item(Row.from_raw(row).item).get("lives", []))
        ]

    def kill_switch(self) -> Process:
        """Everything of this project ends now. Lambda calls again where it fails."""
        for _ in range(5):
            if self.sweep({"Records": [{"Sns": {"Message": "the whole budget is spent"}}]}):
                return
            yield 60.0, False

    def failed_unnamed(self, function: str, error: Exception) -> None:
        """Hears of a function that ended with an error that no table of failures names."""
        if not self.whole:
            self.audit.add(f"{function} failed with {type(error).__name__}: {error}")

    def check_email(self, message: str) -> None:
        """Hears of an e-mail: one that says that nothing is left of a run must be true."""
        # What came after the last look may be there.
        before = self.world.now - timedelta(seconds=SWEEP_SECONDS)
        for run in self.runs():
            left = [one.name for one in self.sagemaker.still_there(run) if one.created < before]
            if left and re.search(rf"finds nothing more of run {run}[.,]", message):
                self.audit.add(f"an e-mail says that nothing is left of {run}, and there is {left}")

    def requested(self, run: str) -> datetime | None:
        """When the execution of a run first asked for its endpoint."""
        execution = self.executions.get(self.audit.owners.get(run, ""))
        visited = execution.visited() if execution else []
        return next((moment for state, moment in visited if state == "CreateEndpoint"), None)

    def runs(self) -> dict[str, dict[str, Any]]:
        """The ledger's items of runs, by run."""
        return {run: row for key, row in self.table.rows.items() if (run := keys.run_in(key))}

    def is_quiet(self) -> bool:
        """Whether no execution goes on, and every run is settled."""
        running = any(one.status == "RUNNING" for one in (*self.executions.values(), *self.tear_downs.values()))
        return not running and not self.damaged and self._all_settled()

    def _all_settled(self) -> bool:
        rows = self.runs()
        return all(row.get("state", {}).get("S") == "settled" for row in rows.values()) and not any(
            self.sagemaker.still_there(run) for run in rows
        )

    # what bills ---------------------------------------------------------------------------------------------------

    def note_prices(self, run: str) -> None:
        """Keeps what AWS asks today: the Price List where it answers, else this proof's own list, which is right then."""
        today = self.market.prices if self.price_list.answers else {}
        true = {name: usd for name, usd in today.items() if name not in self.lies}
        self.usd[run] = {**HOURLY_USD, "ml.unheard.of": "9.99", **true}

    def _fate(self, run: str) -> Fate:
        arn, usd = self.owners.get(run, ""), self.usd.get(run, HOURLY_USD)
        given = self.deployed[arn] if arn else next(iter(self.deployed.values()))
        return Fate(self.world, given, lambda instance_type: Fraction(usd[instance_type]))

    def _job(self, job: TrainingJob, made_before: int) -> JobCourse:
        run = self.sagemaker.run_of(job)
        self._begun(f"training job {job.name}", run)
        fate = self._fate(run)
        plan = _plan(fate.given.jobs, made_before)
        if plan in {"completed", "last", "cut", "interrupted"}:
            self.storage.objects.update(material.adapter(split(job.artifacts)[1]))
        return fate.job(run, job.request, plan)

    def _endpoint(self, endpoint: Endpoint, made_before: int) -> EndpointCourse:
        run = self.sagemaker.run_of(endpoint)
        self._begun(f"endpoint {endpoint.name}", run)
        fate = self._fate(run)
        return fate.endpoint(run, endpoint.variant, _plan(fate.given.endpoints, made_before))

    def _begun(self, what: str, run: str) -> None:
        self.world.log(f"{what} is created")
        self.audit.started(run, self.world.actor or self.owners.get(run, ""), self.table)
        if run not in self.scheduler.entries:
            self.audit.add(f"{run} started something that bills without a schedule that ends it")

    def _touched(self, run: str) -> None:
        owner = self.owners.get(run, "")
        if self.world.actor and owner and self.world.actor != owner and self.executions[owner].status == "RUNNING":
            self.audit.hurt += 1


def _plan(plans: tuple[str, ...], number: int) -> str:
    """How the job or endpoint of this number turns out, empty where chance decides."""
    return plans[min(number, len(plans) - 1)] if plans else ""


def function_of(asked: Any) -> str:
    """A Lambda's module, from the placeholder of its ARN: `TearDownFunctionArn` is `teardown`; empty for another service's call."""
    return str(asked.get("FunctionName", "")).removesuffix("FunctionArn").lower() if isinstance(asked, dict) else ""


def calm(seed: int = 1, cap_cents: int = 2500, whole: bool = False, at: datetime = NOON) -> Account:
    """An account in which nothing goes wrong but what is made to, at noon in the middle of a month or at another moment."""
    world = World(random.Random(seed), at, cap_cents, lost_events=0.0, late_events=0.0, troubled=0.0)
    return Account(world, whole=whole)
