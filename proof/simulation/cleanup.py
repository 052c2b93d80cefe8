"""What follows a run: the TearDown machine from its own definition with the whole Lambdas, the sweeper, and the kill switch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from common.ledger import keys
from proof.simulation.aws.definitions import machine
from proof.simulation.aws.integrations import aws_call, name_of
from proof.simulation.aws.interpreter import Failure, Interpreter
from proof.simulation.aws.orchestration import TEAR_DOWN
from proof.simulation.cloud import Cloud
from proof.simulation.defences import DEFENCES
from proof.simulation.world import Execution, Process

SWEEP_SECONDS = 900


@dataclass
class TearDown:
    """One execution of the TearDown machine."""

    cloud: Cloud
    event: dict[str, str]
    name: str = ""

    def process(self) -> Process:
        """The whole execution. One that fails or runs out of time has given up, which must never happen."""
        world = self.cloud.world
        name = self.name or f"event-{len(world.tear_downs)}"
        arn = f"{TEAR_DOWN.replace(':stateMachine:', ':execution:')}:{name}"
        execution = world.tear_downs[arn] = Execution(name, arn, world.now)
        context = {"Execution": {"Name": name, "Id": arn, "Input": self.event}, "StateMachine": {"Id": TEAR_DOWN}}
        machine_run = Interpreter(world, machine("tear_down"), context, self._call, {"TearDownArn": TEAR_DOWN})
        machine_run.visited = execution.visited
        try:
            yield from machine_run.run(self.event)
            execution.status = "SUCCEEDED"
            if execution.visited[-1][0] == "EndpointKept":
                self.cloud.tally.add("kept")
        except Failure as failure:
            execution.status = "TIMED_OUT" if failure.error == "States.Timeout" else "FAILED"
            execution.error, execution.cause = failure.error, failure.cause
            self.cloud.tally.add("tear-downs that gave up")
        execution.stop = world.now
        self.cloud.audit.uses(self._of(), transitions=machine_run.transitions)

    def _of(self) -> str:
        """The execution or run that this tear-down is for."""
        return self.event.get("executionArn") or self.event.get("runName", "")

    def _call(self, state: str, resource: str, asked: dict[str, Any]) -> Any:
        world = self.cloud.world
        if resource.endswith("lambda:invoke"):
            if world.outage("Lambda") is not None:
                raise Failure("Lambda.ServiceException", "Lambda is away", world.random.uniform(1, 30))
            name = name_of(asked["FunctionName"])
            self.cloud.audit.uses(self._of(), name, world.random.uniform(1, 10))
            if name not in {"teardown", "settle"}:
                return {"Payload": {"subject": "", "message": "", "result": {}, "verdict": ""}}
            world.actor = self.event.get("executionArn", "")
            try:
                return {"Payload": self.cloud.function(name, asked["Payload"])}
            finally:
                world.actor = ""
        return aws_call(self.cloud, resource, asked)


def sweeping(cloud: Cloud) -> Process:
    """The sweeper's rule, looked at only while a run is under way or has left something."""
    world = cloud.world
    if cloud.sweeping:
        return
    cloud.sweeping = True
    while True:
        yield world.random.uniform(0.9, 1.1) * SWEEP_SECONDS, False
        if not DEFENCES.sweeper:
            return
        if not any(world.outage(service) for service in ("EventBridge", "Lambda")):
            _swept(cloud, {"reason": "sweep"})
        over = [e.stop for e in world.executions.values() if e.stop is not None]
        if len(over) == len(world.executions) and max(over) + timedelta(hours=2) < world.now and _all_settled(cloud):
            cloud.sweeping = False
            return


def _swept(cloud: Cloud, event: dict[str, Any]) -> bool:
    """One call of the sweeper; whether it did all that it had to."""
    cloud.tally.add("sweeps")
    try:
        answer = cloud.function("sweeper", event)
    except Failure:
        cloud.tally.add("failed sweeps")
        return False
    for _ in answer["tearDowns"]:
        cloud.tally.add("swept")
    return True


def _all_settled(cloud: Cloud) -> bool:
    rows = cloud.table.rows
    runs = [run for key in rows if (run := keys.run_in(key))]
    return all(rows[keys.of_run(run)].get("state", {}).get("S") == "settled" for run in runs) and not any(
        cloud.world.sagemaker.still_there(run) for run in runs
    )


def killing(cloud: Cloud) -> Process:
    """The kill switch: everything of this project ends now. Lambda calls again where it fails."""
    for _ in range(5):
        if _swept(cloud, {"Records": [{"Sns": {"Message": "the whole budget is spent"}}]}):
            return
        yield 60.0, False
