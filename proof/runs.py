"""One run as the FineTuning machine makes it, with everything that can happen to it; Preflight's money, the ledger and the plan are the real code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

from botocore.exceptions import ClientError

from common import ledger as ledger_module
from common import names, prices
from common.errors import CaptuneError, ServiceUnreachable
from preflight import money, plan, surroundings
from proof import luck
from proof.cloud import Cloud, Wishes
from proof.defences import DEFENCES
from proof.orchestration import REGION
from proof.world import Execution, Process, Steps

# What Preflight answers: the time and money, what to reserve, and the true prices of an hour by type.
Plan = tuple[money.Allowance, ledger_module.Reservation, list[str]]


class Stopped(Exception):
    """The run goes to StopWithReason."""


@dataclass
class FineTuning:
    """One execution of the FineTuning machine."""

    cloud: Cloud
    execution: Execution
    wishes: Wishes

    def __post_init__(self) -> None:
        self.world, self.random = self.cloud.world, self.cloud.world.random
        self.run = names.run_name(self.execution.name)

    def process(self) -> Process:
        """The whole execution, from Preflight to Done or StopWithReason."""
        try:
            yield self.random.uniform(1, 10), False
            allowance, reservation, hourly_usd = yield from self._planned()
            yield self._short(0.1, 1200), False
            yield from self._reserve(reservation)
            yield self._short(0.1, 60), True
            self._schedule(self.cloud.scheduler.create, allowance.tear_down_at)
            yield from self._try_hosting()
            yield from self._train(allowance, hourly_usd)
            yield from self._serve(allowance, hourly_usd)
        except (CaptuneError, Stopped) as problem:
            self.cloud.tally.add(type(problem).__name__)
            self.world.finish(self.execution, "FAILED")
        else:
            self.cloud.tally.add("succeeded")
            self.world.finish(self.execution, "SUCCEEDED")

    def _planned(self) -> Steps[Plan]:
        for attempt in range(6):
            try:
                return self._plan()
            except ServiceUnreachable:
                if attempt == 5:
                    raise
            yield self.random.uniform(0, 20), False
        raise Stopped

    def _plan(self) -> Plan:
        wishes, ledger = self.wishes, self.cloud.ledger()
        if surroundings.leftovers(self.world.sagemaker, ledger):
            raise Stopped
        training, hosting = (
            [money.find_price(self.cloud.price_list, REGION, one, use) for one in wishes.instance_types]
            for use in ("Training", "Hosting")
        )
        hourly_usd = [self._true_price(one) for one in wishes.instance_types]
        allowance = money.allow(
            ledger, self.world.cap_cents, prices.dearest(training), prices.dearest(hosting), wishes.training_seconds,
            wishes.deadline_seconds, wishes.keep_seconds, self.world.now,
        )  # fmt: skip
        if allowance.clamped:
            self.cloud.tally.add("clamped")
        found = SimpleNamespace(allowance=allowance, training_prices=training, hosting_prices=hosting)
        details = plan.ledger_details({"executionName": self.execution.name}, found)  # type: ignore[arg-type]
        reservation = ledger_module.Reservation(
            self.run, self.execution.arn, allowance.worst.cents, allowance.months, details
        )
        return allowance, reservation, hourly_usd

    def _true_price(self, instance_type: str) -> str:
        """What AWS takes today, looked up apart from the Lambda's own way. Without the Price List the pinned table is right."""
        if instance_type == "ml.unheard.of":
            return "9.99"
        if self.cloud.price_list.answers and instance_type in self.cloud.price_list.hourly_usd:
            return self.cloud.price_list.hourly_usd[instance_type]
        return str(prices.pinned(REGION, instance_type, "Training").hourly_usd)

    def _reserve(self, reservation: ledger_module.Reservation) -> Process:
        planned_cap = self.world.cap_cents
        for attempt in range(6):
            if self.random.random() < 0.03:
                # The Lambda is slow: the state machine gives up on this attempt, which goes on and may come second.
                self.world.spawn(self._late_reserve(reservation), self.random.uniform(0, 30))
            else:
                try:
                    self._reserve_once(reservation, planned_cap)
                    self.cloud.tally.add("reserved")
                    return
                except ServiceUnreachable:
                    if attempt == 5:
                        raise
            yield self.random.uniform(0, 20), False
        raise Stopped

    def _late_reserve(self, reservation: ledger_module.Reservation) -> Process:
        with suppress(CaptuneError):
            self._reserve_once(reservation, self.world.cap_cents)
        return
        yield 0.0, False

    def _reserve_once(self, reservation: ledger_module.Reservation, planned_cap: int) -> None:
        self.cloud.audit.begin_reserve(reservation.run)
        try:
            cap = self.world.cap_cents if DEFENCES.current_cap else planned_cap
            self.cloud.ledger().reserve(reservation, cap, self.world.now)
        finally:
            self.cloud.audit.end_reserve(reservation.run)

    def _schedule(self, call: Callable[[str, datetime, dict[str, str]], None], at: datetime) -> None:
        event = {
            "executionArn": self.execution.arn,
            "executionName": self.execution.name,
            "status": "UNKNOWN",
            "reason": "schedule",
        }
        if self._unlucky(0.1):
            raise Stopped
        try:
            call(self.run, at.replace(microsecond=0), event)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise Stopped from None

    def _train(self, allowance: money.Allowance, hourly_usd: list[str]) -> Process:
        for number, attempt in enumerate(("", "-try2", "-try3")):
            yield self.random.uniform(1, 8), True
            seconds = allowance.training_seconds if DEFENCES.clamped_training_time else self.wishes.training_seconds
            turn = number % len(hourly_usd)
            job = luck.job(
                self.world,
                self.wishes,
                f"{self.run}{attempt}",
                self.run,
                seconds,
                hourly_usd[turn],
                self.wishes.instance_types[turn],
            )
            if job.name not in self.world.sagemaker.jobs:
                self.world.sagemaker.jobs[job.name] = job
                self.cloud.audit.started(self.run, self.execution.arn, self.cloud.table)
            job = self.world.sagemaker.jobs[job.name]
            while job.status(self.world.now) in {"InProgress", "Stopping"}:
                wait = (job.end - self.world.now) / timedelta(seconds=1)
                yield max(1.0, wait + self.random.uniform(0, 30)), False
            if job.final == "Completed" or job.reason == "cut, with its adapter":
                return
            if "capacity" not in job.reason:
                raise Stopped
            yield 300.0 if number + 1 >= len(hourly_usd) else 5.0, False
        raise Stopped

    def _serve(self, allowance: money.Allowance, hourly_usd: list[str]) -> Process:
        maker = self.world.sagemaker
        yield from self._make(maker.models, self.run)
        if DEFENCES.endpoint_deadline:
            yield from self._set_deadline(allowance)
        for number, attempt in enumerate(("", "-try2", "-try3")):
            name = f"{self.run}{attempt}"
            yield from self._make(maker.configurations, name)
            yield self._short(0.2, 110), True
            self.execution.endpoint_requested = self.execution.endpoint_requested or self.world.now
            if self._unlucky(0.1) or name not in maker.configurations:
                raise Stopped
            endpoint = luck.endpoint(self.world, self.wishes, name, self.run, hourly_usd[number % len(hourly_usd)])
            maker.endpoints[endpoint.name] = endpoint
            self.cloud.audit.started(self.run, self.execution.arn, self.cloud.table)
            if self.random.random() < 0.03:
                # The answer is lost; the repeated calls are refused because the endpoint exists, and the run goes on with it.
                yield self.random.uniform(20, 110), True
            while endpoint.status(self.world.now) == "Creating":
                wait = (endpoint.ready - self.world.now) / timedelta(seconds=1)
                yield wait + self.random.uniform(0, 30), False
            if endpoint.works:
                break
            if endpoint.bills or endpoint.status(self.world.now) != "Failed":
                raise Stopped
            maker.delete_endpoint(EndpointName=endpoint.name)
            yield 300.0 if number + 1 >= len(hourly_usd) else 5.0, False
        else:
            raise Stopped
        yield self.random.uniform(100, 3000), False
        if self._unlucky(0.05) and endpoint.status(self.world.now) == "InService":
            # A person deletes the endpoint by hand, so no tear-down will ever see it.
            maker.delete_endpoint(EndpointName=endpoint.name)
            yield 120.0, False
            raise Stopped
        if self.random.random() < self.wishes.hanging:
            yield 1e7, False
        if self._unlucky(0.3):
            raise Stopped
        yield self.random.uniform(1, 60), False

    def _try_hosting(self) -> Process:
        """The trial of model and configuration, which is taken away again, or left for TearDown where that fails."""
        maker, name = self.world.sagemaker, names.trial_name(self.run)
        for things in (maker.models, maker.configurations):
            yield from self._make(things, name)
        for things in (maker.configurations, maker.models):
            yield self._short(0.1, 60), True
            if not self._unlucky(0.1):
                things.discard(name)

    def _make(self, things: set[str], name: str) -> Process:
        yield self._short(0.1, 60), True
        if self._unlucky(0.1):
            raise Stopped
        things.add(name)

    def _set_deadline(self, allowance: money.Allowance) -> Process:
        asked = self.world.now
        yield self._short(0.1, 60), True
        self._schedule(self.cloud.scheduler.update, asked + timedelta(seconds=allowance.deadline_seconds))

    def _unlucky(self, share: float) -> bool:
        return self.random.random() < share * self.wishes.failing

    def _short(self, share: float, longest: float) -> float:
        """Mostly seconds; in some share of the calls retries make it longer."""
        return self.random.uniform(0.1, longest if self.random.random() < share else 4)
