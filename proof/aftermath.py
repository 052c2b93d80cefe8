"""What follows a run: the TearDown machine with the real removal and billing code, the sweeper, and the kill switch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from common import names
from common.clock import from_iso
from proof.cloud import Cloud
from proof.defences import DEFENCES
from proof.orchestration import MACHINE
from proof.world import Process, Steps
from settle import billing, claim
from sweeper import leftovers
from teardown import removal

T = TypeVar("T")
SWEEP_SECONDS = 1800


@dataclass
class TearDown:
    """One execution of the TearDown machine."""

    cloud: Cloud
    event: dict[str, str]

    def process(self) -> Process:
        """Removes until two passes found nothing, settles, and deletes the schedule."""
        quiet_passes = 0
        while quiet_passes < (2 if DEFENCES.second_quiet_pass else 1):
            outcome = yield from self._patiently(self._one_pass)
            if outcome["keep"]:
                if (yield from self._kept(outcome)):
                    return
                continue
            quiet_passes = quiet_passes + 1 if outcome["quiet"] else 0
            yield 30.0, False
        yield from self._patiently(self._settle)
        yield self.cloud.world.random.uniform(0.1, 2), False
        self.cloud.scheduler.delete(outcome["runName"])

    def _one_pass(self) -> dict[str, Any]:
        world = self.cloud.world
        world.actor = self.event["executionArn"]
        try:
            return removal.Removal(
                run=names.run_name(self.event["executionName"]),
                sagemaker=world.sagemaker,
                step_functions=self.cloud.step_functions,
                ledger=self.cloud.ledger(),
                now=world.now,
            ).one_pass(self.event)
        finally:
            world.actor = ""

    def _kept(self, outcome: dict[str, Any]) -> Steps[bool]:
        yield self.cloud.world.random.uniform(0.1, 2), False
        event = self.event | {"reason": "schedule"}
        try:
            self.cloud.scheduler.update(outcome["runName"], from_iso(outcome["keepUntil"]), event)
        except ClientError:
            self.event = event
            return False
        self.cloud.tally.add("kept")
        return True

    def _settle(self) -> None:
        """As settle.handler does: find the reservation, bill, settle."""
        world, ledger = self.cloud.world, self.cloud.ledger()
        run, item = claim.reservation(ledger, self.event)
        if item is None:
            return
        execution = world.executions[self.event["executionArn"]]
        until = world.now if item["state"] == "reserved" else from_iso(item["settled_at"])
        bill = billing.bill(world.sagemaker, run, item, execution.endpoint_requested, until)
        facts: dict[str, str | int] = {
            "status": execution.status,
            "training_cents": bill.training_cents,
            "endpoint_cents": bill.endpoint_cents,
        }
        ledger.settle(run, bill.by_month, facts, world.now)

    def _patiently(self, call: Callable[[], T]) -> Steps[T]:
        """The state machine's retries: 20 of them, from 10 seconds on."""
        for attempt in range(20):
            try:
                return call()
            except Exception:
                self.cloud.tally.add("tear-down retries")
            yield self.cloud.world.random.uniform(0, min(300.0, 10 * 1.5**attempt)), False
        raise RuntimeError(f"the tear-down of {self.event['executionName']} gave up")


def sweep(cloud: Cloud) -> leftovers.Sweep:
    """The real sweeper over this cloud."""
    return leftovers.Sweep(
        sagemaker=cloud.world.sagemaker,
        step_functions=cloud.step_functions,
        ledger=cloud.ledger(),
        fine_tuning_arn=MACHINE,
        tear_down_arn=f"{MACHINE}-tear-down",
        now=cloud.world.now,
    )


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
        try:
            cloud.tally.add("sweeps")
            for _ in sweep(cloud).remove_leftovers():
                cloud.tally.add("swept")
        except Exception:
            cloud.tally.add("failed sweeps")
        over = [e.stop for e in world.executions.values() if e.stop is not None]
        if len(over) == len(world.executions) and max(over) + timedelta(hours=2) < world.now and _all_settled(cloud):
            cloud.sweeping = False
            return


def _all_settled(cloud: Cloud) -> bool:
    rows = cloud.table.rows
    runs = [key.removeprefix("RUN#") for key in rows if key.startswith("RUN#")]
    return all(rows[f"RUN#{run}"]["state"]["S"] == "settled" for run in runs) and not any(
        cloud.world.sagemaker.still_there(run) for run in runs
    )


def killing(cloud: Cloud) -> Process:
    """The kill switch: everything of this project ends now."""
    for _ in range(5):
        try:
            sweep(cloud).end_everything()
            return
        except Exception:
            yield 60.0, False
