"""How training jobs and endpoints turn out: no capacity, a failure, a success, or the longest and dearest that AWS allows."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from proof.cloud import Wishes
from proof.sagemaker import Endpoint, Job
from proof.world import World

# What AWS may add: SageMaker lets a job stop for two minutes and upload (durations.TRAINING_STOP_ALLOWANCE_SECONDS), and an
# endpoint is Creating for 20 minutes of download and 15 of health checks at most.
STOP_SECONDS = 420
CREATING_SECONDS = 2100
# What the state machine asks for: MaxPendingTimeInSeconds.
PENDING_SECONDS = 1800


def job(
    world: World, wishes: Wishes, name: str, run: str, max_seconds: int, hourly_usd: str, instance_type: str
) -> Job:
    """A training job that may wait as long as SageMaker lets it for its instance, and may never get one."""
    now, dice = world.now, world.random
    pending = dice.choice([60, 60, 120, PENDING_SECONDS, PENDING_SECONDS]) * dice.random()
    seconds_to_stop = STOP_SECONDS if dice.random() < wishes.extreme else dice.uniform(1, STOP_SECONDS)
    made = Job(name, run, Fraction(hourly_usd), now, None, now, "Failed", "no capacity", seconds_to_stop, instance_type)
    made.end = now + timedelta(seconds=pending)
    if dice.random() < 0.1:
        if dice.random() < 0.5:  # SageMaker stops it when MaxPendingTimeInSeconds is over
            made.final, made.end = "Stopped", now + timedelta(seconds=PENDING_SECONDS)
        return made
    made.start, made.reason = made.end, ""
    if dice.random() < wishes.extreme:
        made.final, length = "Stopped", float(max_seconds + STOP_SECONDS)
        made.reason = dice.choice(["cut, with its adapter", "cut, without an adapter"])
    elif dice.random() < 0.5 * wishes.failing:
        made.final, length = "Failed", dice.uniform(1, max_seconds)
    else:
        made.final, length = "Completed", dice.uniform(600, max_seconds)
    made.end = made.start + timedelta(seconds=length)
    return made


def endpoint(world: World, wishes: Wishes, name: str, run: str, hourly_usd: str) -> Endpoint:
    """An endpoint that comes up, fails, or finds no instance, which alone bills nothing."""
    now, dice = world.now, world.random
    creating = CREATING_SECONDS if dice.random() < wishes.extreme else dice.uniform(60, 900)
    works, capacity = dice.random() >= 0.3 * wishes.failing, dice.random() < 0.1
    reason, ready = "no capacity" if capacity else "", now + timedelta(seconds=creating)
    return Endpoint(name, run, Fraction(hourly_usd), now, ready, works and not capacity, not capacity, reason)
