"""Short stories with one right ending each, for promises that random months meet too rarely. Each answers what was broken."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from common.ledger import keys
from preflight import money
from proof.simulation.aws.instances import Job
from proof.simulation.aws.orchestration import MACHINE
from proof.simulation.cleanup import sweeping
from proof.simulation.cloud import Cloud
from proof.simulation.months import build
from proof.simulation.runs import FineTuning
from proof.simulation.wishes import Wishes
from proof.simulation.world import NOON, Execution, Process
from settle import billing

CALM = Wishes(7200, 3600, 0, ("ml.g5.2xlarge",), failing=0.0, hanging=0.0, extreme=0.0)


def prompt_removal() -> list[str]:
    """A run that ends leaves nothing behind ten minutes later, even if neither schedule nor sweeper ever acts."""
    cloud = quiet_cloud(1)
    execution = start(cloud, "prompt", replace(CALM, deadline_seconds=14400))
    while execution.status == "RUNNING" and cloud.world.step():
        pass
    return unsettled(cloud, within=timedelta(minutes=10))


def created_after_the_abort() -> list[str]:
    """A job whose creation was under way when its run was aborted is found and stopped, though the first pass saw nothing."""
    return [words for seed in range(3, 7) for words in _created_after_the_abort(seed)]


def _created_after_the_abort(seed: int) -> list[str]:
    cloud = quiet_cloud(seed)
    world = cloud.world
    execution = start(cloud, "aborted", CALM)
    while "captune-aborted" not in cloud.scheduler.entries and world.step():
        pass
    world.finish(execution, "ABORTED")

    def creation() -> Process:
        begin, end = world.now, world.now + timedelta(seconds=7200)
        job = Job("captune-aborted", "captune-aborted", Fraction("1.515"), begin, begin, end, "Completed", "", 120)
        job.tags = owned("captune-aborted")
        world.sagemaker.jobs[job.name] = job
        return
        yield 0.0, False

    world.spawn(creation(), 12)
    return unsettled(cloud, within=timedelta(minutes=15))


def settled_too_early() -> list[str]:
    """A run whose job still bills cannot be settled."""
    cloud = quiet_cloud(4)
    world = cloud.world
    start(cloud, "early", CALM)
    while "captune-early" not in world.sagemaker.jobs and world.step():
        pass
    item = cloud.ledger().run("captune-early")
    try:
        billing.bill(world.sagemaker, "captune-early", item or {}, None, world.now)
    except billing.StillRunning:
        return []
    return ["a run was billed while its job was still running"]


def last_moment_deadline() -> list[str]:
    """A run whose training was late may have its endpoint set up at the very end of its time: both months hold the money."""
    wishes = replace(CALM, training_seconds=3600, deadline_seconds=14400, hanging=1.0)
    broken: list[str] = []
    for hours in range(8, 13):
        cloud = quiet_cloud(hours)
        world = cloud.world
        world.now = datetime(2026, 11, 30, 24 - hours, tzinfo=UTC)
        start(cloud, "late", wishes)
        while "captune-late" not in cloud.scheduler.entries and world.step():
            pass
        # Its job waits for an instance so long that only minutes are left before the tear-down of the whole run.
        end = world.now + timedelta(seconds=3600 + 14400 + money.UNBILLED_ALLOWANCE_SECONDS - 600)
        begin = end - timedelta(seconds=3600)
        job = Job("captune-late", "captune-late", Fraction("1.515"), world.now, begin, end, "Completed", "", 60)
        job.tags = owned("captune-late")
        world.sagemaker.jobs[job.name] = job
        while world.step():
            pass
        cloud.audit.close(cloud.table)
        broken += [f"{hours} hours before midnight: {words}" for words in cloud.audit.wrong]
    return broken


def kept_once() -> list[str]:
    """An endpoint that was asked to stay for an hour stays for an hour and no longer, though its run's end is told again and again."""
    cloud = quiet_cloud(5)
    world = cloud.world
    execution = start(cloud, "kept", replace(CALM, keep_seconds=3600))
    while execution.status == "RUNNING" and world.step():
        pass
    event = {
        "executionArn": execution.arn,
        "executionName": execution.name,
        "status": execution.status,
        "reason": "event",
    }
    for seconds in (3000, 6300):
        world.tear_down(event, seconds)
    broken = ([] if execution.status == "SUCCEEDED" else ["the run did not succeed"]) + _closed(cloud)
    asked_until = (execution.stop or world.now) + timedelta(seconds=3600)
    stayed = [one for one in world.sagemaker.past_endpoints if one.gone and one.gone >= asked_until]
    return broken if stayed else [*broken, "the endpoint did not stay for as long as it was asked to"]


def two_machines() -> list[str]:
    """A job on two instances that lasts as long as it may is paid for out of its reservation, and booked twice."""
    cloud = quiet_cloud(7)
    start(cloud, "two", replace(CALM, training_instances=2, extreme=1.0))
    broken = _closed(cloud)
    trained = [job for job in cloud.world.sagemaker.jobs.values() if job.instances == 2 and job.billed_seconds()]
    return broken if trained else [*broken, "nothing was trained on two instances"]


def deleted_by_hand() -> list[str]:
    """An endpoint that a person deleted before any tear-down saw it was billed, and is booked."""
    cloud = quiet_cloud(6)
    world = cloud.world
    execution = start(cloud, "by-hand", replace(CALM, hanging=1.0))
    while not any(one.status(world.now) == "InService" for one in world.sagemaker.endpoints.values()) and world.step():
        pass
    for name in world.sagemaker.endpoints:
        world.sagemaker.delete_endpoint(EndpointName=name)
    world.now += timedelta(minutes=10)
    world.finish(execution, "ABORTED")
    return _closed(cloud)


def _closed(cloud: Cloud) -> list[str]:
    """What the audit has against a world that has run to its end."""
    while cloud.world.step():
        pass
    truth = cloud.audit.close(cloud.table)
    return cloud.audit.wrong if truth else ["nothing was spent"]


def quiet_cloud(seed: int) -> Cloud:
    """A cloud in which nothing goes wrong by itself, at noon of a day in the middle of the month."""
    cloud, _ = build(seed)
    world = cloud.world
    world.random = random.Random(seed)
    world.now, world.cap_cents = NOON, 10_000
    world.lost_events = world.late_events = world.troubled = 0.0
    return cloud


def owned(run: str) -> list[dict[str, str]]:
    """The tags of a run's resource, as the machine gives them."""
    return [{"Key": "project", "Value": "captune"}, {"Key": "run", "Value": run}]


def start(cloud: Cloud, name: str, wishes: Wishes) -> Execution:
    """Starts one run."""
    world = cloud.world
    execution = Execution(name, f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}", world.now)
    world.executions[execution.arn] = execution
    world.spawn(FineTuning(cloud, execution, wishes).process(), 0, execution)
    world.spawn(sweeping(cloud), 60)
    return execution


def unsettled(cloud: Cloud, within: timedelta) -> list[str]:
    """The runs that are not settled after so long."""
    until = cloud.world.now + within
    while cloud.world.now < until and cloud.world.step():
        pass
    rows = [(key, row["state"]["S"]) for key, row in cloud.table.rows.items() if keys.run_in(key)]
    if not rows:
        return ["the run reserved nothing"]
    left = [key for key, _ in rows if cloud.world.sagemaker.still_there(str(keys.run_in(key)))]
    return [f"{key} is {state} {within} after its end" for key, state in rows if state != "settled"] + [
        f"{key} left something that bills {within} after its end" for key in left
    ]
