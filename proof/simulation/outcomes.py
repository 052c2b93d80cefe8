"""How training jobs and endpoints turn out: no capacity, a failure, a success, or the longest and dearest that AWS allows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

from proof.simulation.aws.instances import Endpoint, Job
from proof.simulation.wishes import Wishes
from proof.simulation.world import World

# What AWS may add: SageMaker sends a job a stop signal two minutes before it kills it (its own documentation), and what it
# uploads then took five minutes at the most in public logs.
STOP_SECONDS = 420

Wished = Callable[[str], Wishes]
Priced = Callable[[str, str], Fraction]  # run and instance type: US dollars an hour


def job(world: World, wishes: Wishes, hourly_usd: Priced, name: str, run: str, asked: dict[str, Any]) -> Job:
    """A training job that may wait as long as SageMaker lets it for its instance, and may never get one."""
    if asked.get("EnableManagedSpotTraining"):
        return _spot_job(world, wishes, hourly_usd, name, run, asked)
    now, dice, stopping = world.now, world.random, asked["StoppingCondition"]
    instance_type, count = asked["ResourceConfig"]["InstanceType"], int(asked["ResourceConfig"]["InstanceCount"])
    longest, patience = int(stopping["MaxRuntimeInSeconds"]), int(stopping["MaxPendingTimeInSeconds"])
    pending = dice.choice([60, 60, 120, patience, patience]) * dice.random()
    stop = STOP_SECONDS if dice.random() < wishes.extreme else dice.uniform(1, STOP_SECONDS)
    made = Job(
        name, run, hourly_usd(run, instance_type) * count, now, None, now, "Failed", "CapacityError", stop, instance_type, count
    )  # fmt: skip
    made.end = now + timedelta(seconds=pending)
    if dice.random() < 0.1:
        if dice.random() < 0.5:
            made.final, made.end, made.detail = "Stopped", now + timedelta(seconds=patience), "MaxWaitTimeExceeded"
        return made
    made.start, made.reason = made.end, ""
    if dice.random() < wishes.extreme:
        made.final, length, made.detail = "Stopped", float(longest + STOP_SECONDS), "MaxRuntimeExceeded"
    elif dice.random() < 0.5 * wishes.failing:
        made.final, length, made.reason = "Failed", dice.uniform(1, longest), "AlgorithmError"
    else:
        made.final, length = "Completed", dice.uniform(600, longest)
    # The image is pulled before MaxRuntimeInSeconds begins to count, and billed all the same.
    made.pull = wishes.pull_seconds
    made.end = made.start + timedelta(seconds=length + made.pull)
    return made


def _spot_job(world: World, wishes: Wishes, hourly_usd: Priced, name: str, run: str, asked: dict[str, Any]) -> Job:
    """A job on spot. At its dearest it is interrupted so often that each second of its clock bills as one on demand does.

    Nothing says that MaxRuntimeInSeconds counts over all restarts: here it does not, and the clock of MaxWaitTimeInSeconds alone ends it.
    """
    now, dice, stopping = world.now, world.random, asked["StoppingCondition"]
    instance_type, count = asked["ResourceConfig"]["InstanceType"], int(asked["ResourceConfig"]["InstanceCount"])
    longest, most = int(stopping["MaxRuntimeInSeconds"]), int(stopping["MaxWaitTimeInSeconds"])
    stop = STOP_SECONDS if dice.random() < wishes.extreme else dice.uniform(1, STOP_SECONDS)
    made = Job(
        name, run, hourly_usd(run, instance_type) * count, now, None, now, "Stopped", "", stop, instance_type, count, spot=True
    )  # fmt: skip
    made.detail, made.end = "MaxWaitTimeExceeded", now + timedelta(seconds=most)
    if dice.random() < 0.1:
        return made  # no instance ever came
    waited = dice.uniform(0, most - longest)
    if dice.random() < wishes.extreme:
        made.start, made.end = now, now + timedelta(seconds=most + STOP_SECONDS)
        return made
    made.start, made.billed_share = now + timedelta(seconds=waited), dice.uniform(0.1, 1)
    if dice.random() < 0.5 * wishes.failing:
        return made  # interrupted, and never back
    made.final, made.detail = "Completed", ""
    made.end = made.start + timedelta(seconds=dice.uniform(600, most - waited))
    return made


def endpoint(
    world: World, wishes: Wishes, hourly_usd: Priced, name: str, run: str, configuration: dict[str, Any]
) -> Endpoint:
    """An endpoint that comes up, fails, or finds no instance, which alone bills nothing."""
    now, dice = world.now, world.random
    (variant,) = configuration["ProductionVariants"]
    # The configuration's own limits of download and health check end what never comes up.
    longest = variant["ModelDataDownloadTimeoutInSeconds"] + variant["ContainerStartupHealthCheckTimeoutInSeconds"]
    creating = longest if dice.random() < wishes.extreme else dice.uniform(60, 900)
    works, capacity = dice.random() >= 0.3 * wishes.failing, dice.random() < 0.1
    reason = "CapacityError" if capacity else "The container did not pass its health check"
    instance_type, count = variant["InstanceType"], int(variant["InitialInstanceCount"])
    return Endpoint(
        name, run, hourly_usd(run, instance_type) * count, now, now + timedelta(seconds=creating + wishes.pull_seconds),
        works and not capacity, not capacity, reason, instance_type=instance_type, instances=count,
    )  # fmt: skip
