"""Short trials in a worse world, for the controls: each leaves one line of defence alone and answers what was broken."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from proof import accidents, storms
from proof.outages import Outage
from proof.scenarios import CALM
from proof.trial import begin, calm_cloud, finish, when


def nothing_but_the_schedule() -> list[str]:
    """A run that hangs, while no event is delivered and the sweeper is not called: its own schedule ends it in time."""
    cloud = calm_cloud(1)
    execution = begin(cloud, "alone", replace(CALM, hanging=1.0))

    def strike() -> None:
        now = cloud.world.now
        cloud.world.outages.append(Outage("EventBridge", now, now + timedelta(days=1)))

    when(cloud, execution, "endpoint", strike, spread=1)
    outcome = finish(cloud, "nothing but the schedule")
    return outcome.wrong + outcome.money


def nothing_but_the_sweeper() -> list[str]:
    """A run that was stopped before it had a schedule, and whose end nobody heard of: the sweeper settles it."""
    cloud = calm_cloud(2)
    execution = begin(cloud, "unheard", CALM)
    cloud.world.lost_events = 1.0
    while not any(key.startswith("RUN#") for key in cloud.table.rows) and cloud.world.step():
        pass
    cloud.world.finish(execution, "ABORTED")
    # Should the call that makes the schedule have been under way, it did not get through.
    soon = cloud.world.now + timedelta(minutes=2)
    while cloud.world.now < soon and cloud.world.step():
        pass
    cloud.scheduler.entries.clear()
    outcome = finish(cloud, "nothing but the sweeper")
    return outcome.wrong + outcome.money


def outages(service: str, seconds: int = 6 * 3600, trials: int = 12) -> list[str]:
    """What an outage of one service breaks."""
    return storms.broken(service, seconds, storms.cell(service, seconds, trials))


def accident(name: str, trials: int = 6) -> list[str]:
    """What one line of the accidents breaks."""
    return accidents.broken(name, accidents.row(name, trials))
