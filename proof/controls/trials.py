"""Short trials in a worse world, for the controls: each leaves one line of defence alone and answers what was broken."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from common.ledger import keys
from proof.controls.scenarios import CALM, owned
from proof.simulation import accidents, storms
from proof.simulation.aws.instances import Job
from proof.simulation.cloud import Cloud
from proof.simulation.trial import begin, calm_cloud, finish, taking_away, when
from proof.simulation.world import Process


def nothing_but_the_schedule() -> list[str]:
    """A run that hangs, while no event is delivered and the sweeper is not called: its own schedule ends it in time."""
    cloud = calm_cloud(1)
    execution = begin(cloud, "alone", replace(CALM, hanging=1.0))

    when(cloud, execution, "endpoint", taking_away(cloud, "EventBridge", 86400), spread=1)
    outcome = finish(cloud, "nothing but the schedule")
    return outcome.wrong + outcome.money + ([] if outcome.struck else ["EventBridge was never away"])


def an_odd_item_and_the_sweeper() -> list[str]:
    """The same beside an item of an earlier run that cannot be read."""
    return nothing_but_the_sweeper(odd=True)


def nothing_but_the_sweeper(odd: bool = False) -> list[str]:
    """A run that was stopped before it had a schedule, and whose end nobody heard of: the sweeper settles it."""
    cloud = calm_cloud(2)
    execution = begin(cloud, "unheard", CALM)
    cloud.world.lost_events = 1.0
    while not any(keys.run_in(key) for key in cloud.table.rows) and cloud.world.step():
        pass
    cloud.world.finish(execution, "ABORTED")
    # Should the call that makes the schedule have been under way, it did not get through.
    soon = cloud.world.now + timedelta(minutes=2)
    while cloud.world.now < soon and cloud.world.step():
        pass
    cloud.scheduler.entries.clear()
    if odd:
        odd_key = keys.of_run("captune-odd")
        odd_item: Any = {"pk": {"S": odd_key}, "state": {"BOOL": True}}
        cloud.table.rows[odd_key] = odd_item
        cloud.world.spawn(_forget(cloud, odd_key), 86400)
    outcome = finish(cloud, "nothing but the sweeper")
    stop = execution.stop or cloud.world.now
    late = [run for run, at in cloud.audit.settled_at.items() if at - stop > timedelta(hours=12)]
    return outcome.wrong + outcome.money + [f"{run} was settled more than 12 hours after its end" for run in late]


def _forget(cloud: Cloud, key: str) -> Process:
    """A person takes an item away."""
    cloud.table.rows.pop(key, None)
    return
    yield 0.0, False


def told_too_early() -> list[str]:
    """An event tells the end of a run that goes on: its job is left alone."""
    cloud = calm_cloud(3)
    execution = begin(cloud, "goes-on", CALM)
    while not cloud.world.sagemaker.jobs and cloud.world.step():
        pass
    event = {"executionArn": execution.arn, "executionName": execution.name, "status": "FAILED", "reason": "event"}
    cloud.world.tear_down(event, 300)
    outcome = finish(cloud, "told too early")
    stopped = [name for name, job in cloud.world.sagemaker.jobs.items() if job.stop_asked]
    return outcome.wrong + outcome.money + [f"{name} was stopped though its run went on" for name in stopped]


def billed_after_the_settlement() -> list[str]:
    """A job that came into being an hour after its run was settled is found, ended and booked."""
    cloud = calm_cloud(4)
    execution = begin(cloud, "late", CALM)
    while not any(keys.run_in(key) for key in cloud.table.rows) and cloud.world.step():
        pass
    cloud.world.finish(execution, "ABORTED")

    def creation() -> Process:
        begun, end = cloud.world.now, cloud.world.now + timedelta(hours=1)
        job = Job("captune-late", "captune-late", Fraction("1.515"), begun, begun, end, "Completed", "", 120)
        job.tags = owned("captune-late")
        cloud.world.sagemaker.jobs[job.name] = job
        return
        yield 0.0, False

    cloud.world.spawn(creation(), 3600)
    outcome = finish(cloud, "billed after the settlement")
    return outcome.wrong + outcome.money


def outages(service: str, seconds: int = 6 * 3600, trials: int = 12) -> list[str]:
    """What an outage of one service breaks."""
    return storms.broken(service, seconds, storms.cell(service, seconds, trials))


def accident(name: str, trials: int = 6) -> list[str]:
    """What one line of the accidents breaks."""
    return accidents.broken(name, accidents.row(name, trials))
