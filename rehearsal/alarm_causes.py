"""What sets off each alarm: one cause for each, brought about in the deployed account as AWS or a person would."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.ledger import keys

from .account.cloud import Cloud
from .cloudwatch.watch import Watch
from .conductor.materials import upload
from .conductor.options import Options
from .sagemaker.fake import FakeHosting, FakeTraining

if TYPE_CHECKING:
    from .account.deployment import Deployment

_PATIENCE_SECONDS = 120


def tear_down_failed(cloud: Cloud) -> None:
    """A person starts TearDown by hand, with an input that names no run."""
    cloud.settle(cloud.start({"reason": "person"}, machine=_deployment(cloud).tear_down), timeout=_PATIENCE_SECONDS)


def tear_down_timed_out(cloud: Cloud) -> None:
    """A run ends, and a call of its TearDown hangs until its time-out."""
    held = cloud.faults.add(operation="Invoke", hang=True, by=_tear_downs_role(cloud))
    _end_a_run(cloud)
    held.reached.wait(30)
    (tear_down,) = cloud.executions.of(_deployment(cloud).tear_down)
    tear_down.run_out_of_time()
    held.release()
    cloud.settle(timeout=_PATIENCE_SECONDS)


def sweeper_failed(cloud: Cloud) -> None:
    """SageMaker refuses the sweeper one call, so that Lambda has to begin it again."""
    cloud.sagemaker.faults.add(operation="ListTrainingJobs", error="AccessDeniedException", status=400)
    sweep(cloud)


def sweeper_throttled(cloud: Cloud) -> None:
    """The account's concurrent executions are used up when the sweep is due."""
    cloud.faults.add(operation="Invoke", error="TooManyRequestsException", status=429)
    sweep(cloud)


def sweeper_silent(cloud: Cloud) -> None:
    """Nobody starts the sweeper for an hour."""
    cloud.clock.advance(hours=1)


def events_undelivered(cloud: Cloud) -> None:
    """A run ends, and EventBridge may not start its TearDown."""
    cloud.faults.add(
        operation="StartExecution",
        error="AccessDeniedException",
        status=400,
        times=None,
        when=lambda request: request["stateMachineArn"] == _deployment(cloud).tear_down,
    )
    _end_a_run(cloud)
    cloud.settle(timeout=_PATIENCE_SECONDS)


def sweeps_given_up(cloud: Cloud) -> None:
    """SageMaker refuses the sweeper that call as often as Lambda begins it."""
    cloud.sagemaker.faults.add(operation="ListTrainingJobs", error="AccessDeniedException", status=400, times=None)
    sweep(cloud)


def endpoint_too_old(cloud: Cloud) -> None:
    """A run's end never starts its TearDown, its schedule is deleted, and nobody looks for six hours."""
    _lose_a_run(cloud)
    cloud.clock.advance(hours=6)
    sweep(cloud)


def reservation_too_old(cloud: Cloud) -> None:
    """The same, but a person deletes the endpoint by hand, and nobody looks for seventeen hours."""
    _lose_a_run(cloud)
    sagemaker = cloud.client("sagemaker")
    while endpoints := sagemaker.list_endpoints()["Endpoints"]:  # for some looks it is still Deleting
        for endpoint in endpoints:
            if endpoint["EndpointStatus"] == "InService":
                sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
    cloud.clock.advance(hours=17)
    sweep(cloud)


def ledger_damaged(cloud: Cloud) -> None:
    """A person edits an item in the DynamoDB console and gives a number the type of a switch."""
    cloud.client("dynamodb").put_item(
        TableName=_deployment(cloud).table,
        Item={"pk": {"S": keys.of_run("captune-edited")}, "state": {"S": "settled"}, "reserved_cents": {"BOOL": True}},
    )
    sweep(cloud)


# The cause of each alarm, by its name.
CAUSES: dict[str, Callable[[Cloud], None]] = {
    "captune-tear-down-failed": tear_down_failed,
    "captune-tear-down-timed-out": tear_down_timed_out,
    "captune-sweeper-failed": sweeper_failed,
    "captune-sweeper-throttled": sweeper_throttled,
    "captune-sweeper-silent": sweeper_silent,
    "captune-events-undelivered": events_undelivered,
    "captune-sweeps-given-up": sweeps_given_up,
    "captune-endpoint-too-old": endpoint_too_old,
    "captune-reservation-too-old": reservation_too_old,
    "captune-ledger-damaged": ledger_damaged,
}


def begin(cloud: Cloud) -> Watch:
    """An account without any trace of an earlier cause, swept once and looked at once."""
    cloud.reset(training=FakeTraining(), hosting=FakeHosting())
    watch = Watch(cloud)
    sweep(cloud)
    watch.look()
    return watch


def sound_run(cloud: Cloud) -> None:
    """A run that goes well, with a sweep in its middle and one at its end."""
    execution = cloud.start(_quick_input(cloud))
    cloud.events.fire_timed_rules()
    cloud.settle(execution, timeout=_PATIENCE_SECONDS)
    sweep(cloud)


def told(cloud: Cloud) -> list[tuple[str, dict[str, Any]]]:
    """The alarms that the warnings topic was told of: each one's subject and message."""
    topic = _deployment(cloud).outputs["BudgetWarningsTopic"]
    return [(str(subject), json.loads(message)) for arn, subject, message in cloud.messages if arn == topic]


def sweep(cloud: Cloud) -> None:
    """Let the sweeper's rule fire once, and wait for everything that it starts."""
    cloud.events.fire_timed_rules()
    cloud.settle(timeout=_PATIENCE_SECONDS)


def _deployment(cloud: Cloud) -> Deployment:
    assert cloud.deployment is not None, "deploy first"
    return cloud.deployment


def _tear_downs_role(cloud: Cloud) -> str:
    """The name of the role that TearDown acts with."""
    machine = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=_deployment(cloud).tear_down)
    return str(machine["roleArn"]).rpartition("/")[2]


def _end_a_run(cloud: Cloud) -> None:
    """A run that is refused at once: its TearDown has nothing to remove, and comes all the same."""
    cloud.start({"unknown": "key"})


def _quick_input(cloud: Cloud) -> dict[str, Any]:
    return {**upload(cloud, Options(quick=True), "medical"), "samplesPerPrompt": 0}


def _lose_a_run(cloud: Cloud) -> None:
    """A run after which nothing is removed: its event is lost, and so is its schedule."""
    cloud.events.drop_next()
    cloud.settle(cloud.start(_quick_input(cloud)), timeout=_PATIENCE_SECONDS)
    scheduler = cloud.client("scheduler")
    for schedule in scheduler.list_schedules()["Schedules"]:
        scheduler.delete_schedule(Name=schedule["Name"])
