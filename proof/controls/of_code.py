"""The lines of defence of the ledger, the money and the billing code, each with what takes it away and what has to notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from common import names
from common.errors import PriceUnknown, RunNameTaken
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.ledger import table as ledger_table
from common.ledger.ledger import Ledger
from common.ledger.rows import RunItem
from common.ledger.table import Table, typed
from common.pricing import prices
from common.pricing.prices import Price
from preflight import money
from proof.controls import ledger_scenarios, scenarios, trials
from proof.controls.registry import everywhere, random_months, register, replacing, without
from proof.simulation import threads
from proof.simulation.aws.definitions import Definition, edited
from settle import billing

Write = dict[str, Any]


def _rewriting(change: Callable[[list[Write]], list[list[Write]]]) -> Callable[[], AbstractContextManager[None]]:
    """Changes what goes to DynamoDB: from one list of writes to the transactions that are made of it."""
    original = Table.transact

    def transact(self: Table, writes: list[Write]) -> bool:
        return all(original(self, part) for part in change(writes))

    return replacing(Table, "transact", transact)


def _unconditional(kind: str, prefix: str) -> Callable[[list[Write]], list[list[Write]]]:
    """Drops the condition of the writes to some keys, and the values that only the condition used."""

    def change(writes: list[Write]) -> list[list[Write]]:
        for write in writes:
            request = write.get(kind)
            if request is None or "ConditionExpression" not in request:
                continue
            key = request["Item" if kind == "Put" else "Key"]["pk"]["S"]
            if key.startswith(prefix):
                del request["ConditionExpression"]
                values = request.get("ExpressionAttributeValues", {})
                for name in [
                    name for name in values if name not in request["UpdateExpression"].replace(",", " ").split()
                ]:
                    if f"{name})" not in request["UpdateExpression"]:
                        del values[name]
                names = request.get("ExpressionAttributeNames", {})
                for name in [name for name in names if name not in request["UpdateExpression"].split()]:
                    del names[name]
        return [writes]

    return change


_reserve, _settle = Ledger.reserve, Ledger.settle
_allow: Callable[..., money.Allowance] = money.allow
_months_between, _find_price, _worst_case = money.months_between, money.find_price, money.worst_case


def _first_reservation_unchecked(self: Ledger, asked: ledger_module.Reservation, cap_cents: int, now: datetime) -> Any:
    empty = not any(self.committed_cents(month) for month in asked.months)
    return _reserve(self, asked, max(cap_cents, asked.cents) if empty else cap_cents, now)


def _no_repetition(self: Ledger, asked: ledger_module.Reservation, cap_cents: int, now: datetime) -> Any:
    if self.run(asked.run) is not None:
        raise RunNameTaken("the name was used before")
    return _reserve(self, asked, cap_cents, now)


def _settled_for_nothing(self: Ledger, run: str, actual: Mapping[str, int], *rest: Any) -> Any:
    return _settle(self, run, dict.fromkeys(actual, 0), *rest)


def _last_note_stays(self: Ledger, run: str, facts: Mapping[str, str | int]) -> None:
    for name, value in facts.items():
        self._table.change(keys.of_run(run), "SET #f = :v", "attribute_exists(pk)", typed({":v": value}), {"#f": name})


def _not_clamped(ledger: Ledger, cap_cents: int, *rest: Any) -> money.Allowance:
    return _allow(ledger, 10**9, *rest)


def _keep_outside(
    ledger: Ledger, cap: int, training: Price, hosting: Price, wanted: int, deadline: int, keep: int, *rest: Any
) -> Any:
    return replace(_allow(ledger, cap, training, hosting, wanted, deadline, 0, *rest), keep_seconds=keep)


def _nothing_small(*of: Any) -> Any:
    return replace(_worst_case(*of), other_cents=0)


def _unknown_is_free(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    try:
        return _find_price(pricing, region, instance_type, use)
    except PriceUnknown:
        return Price(instance_type, use, money.pinned(region, "ml.g5.2xlarge", use).hourly_usd / 10**6, "none")


def _one_name_for_several(name: str) -> str:
    return f"{names.PREFIX}-{name.replace('.', '-')}"


def _waits_unreserved(*of: Any) -> money.Allowance:
    return _allow(*of[:-1], 0)


_stays, _jobs = billing.stays, billing._training_jobs


def _assumed_saving(*of: Any) -> Any:
    """As if every spot job saved the 70 % that is read of them."""
    for name, used in _jobs(*of):
        yield name, replace(used, seconds=used.seconds * 3 // 10)


def _one_instance_of_each(*of: Any) -> Any:
    for name, used in _jobs(*of):
        yield name, replace(used, count=1)


def _seen_only(item: RunItem, seen: Any, requested_at: datetime | None, until: datetime, now: datetime) -> Any:
    return _stays(item, seen, None, until, now)


def _never_clamped(definition: Definition) -> None:
    stopping = definition["States"]["StartTraining"]["Arguments"]["StoppingCondition"]
    stopping["MaxRuntimeInSeconds"] = 5 * 86400


def _never_ends_waiting(definition: Definition) -> None:
    stopping = definition["States"]["StartSpotTraining"]["Arguments"]["StoppingCondition"]
    stopping["MaxWaitTimeInSeconds"] = 5 * 86400


def _without_deadline(definition: Definition) -> None:
    definition["States"]["CreateModel"]["Next"] = "CreateEndpointConfig"


def _one_quiet_pass(definition: Definition) -> None:
    for rule in definition["States"]["AllGone?"]["Choices"]:
        rule["Condition"] = rule["Condition"].replace("$quietPasses >= 2", "$quietPasses >= 1")


def _floor(self: Price, seconds: int | Fraction) -> int:
    return int(Fraction(self.hourly_usd) * 100 * seconds / 3600)


# fmt: off
register("ledger: the month's condition", _rewriting(_unconditional("Update", keys.of_month(""))), ledger_scenarios.room_for_one)
register("ledger: the month's condition, with threads", _rewriting(_unconditional("Update", keys.of_month(""))), lambda: threads.race(2).wrong)
register("ledger: one run, one item", _rewriting(_unconditional("Put", keys.of_run(""))), ledger_scenarios.one_name_in_two_months)
register("ledger: settled once", _rewriting(_unconditional("Update", keys.of_run(""))), ledger_scenarios.settled_by_two)
register("ledger: settled once, with threads", _rewriting(_unconditional("Update", keys.of_run(""))), lambda: threads.race(2).wrong)
register("ledger: all or nothing", _rewriting(lambda writes: [[write] for write in writes]), random_months())
register("ledger: the cap compared on the first reservation", replacing(Ledger, "reserve", _first_reservation_unchecked), ledger_scenarios.room_for_none)
register("ledger: the cap in force, not the planned one", without("current_cap"), random_months(first_seed=56))
register("ledger: a collision is tried again", replacing(ledger_table, "_PASSING_REASONS", set()), ledger_scenarios.collision)
register("ledger: repeated by the same execution", replacing(Ledger, "reserve", _no_repetition), ledger_scenarios.repeated_after_a_lost_answer)
register("ledger: settled with what was billed", replacing(Ledger, "settle", _settled_for_nothing), random_months())
register("ledger: the first note stays", replacing(Ledger, "note", _last_note_stays), scenarios.kept_once)
register("money: the clamp", replacing(money, "allow", _not_clamped), ledger_scenarios.four_dollars_left)
register("money: the clamped time reaches the job", edited("fine_tuning", _never_clamped), random_months())
register("money: the clock of a spot job reaches it", edited("fine_tuning", _never_ends_waiting), random_months())
register("money: all that a spot job may wait", replacing(money, "allow", _waits_unreserved), random_months())
register("money: rounded up", replacing(Price, "cents", _floor), random_months())
register("money: rounded up in each month", replacing(money, "worst_case", lambda *of: _worst_case(*of[:4])), random_months(first_seed=185))
register("money: both months at the month's end", replacing(money, "months_between", lambda start, end: _months_between(start, start)), random_months())
register("money: waiting time in the months", replacing(money, "months_between", lambda start, end: _months_between(start, end - timedelta(seconds=9000))), scenarios.last_moment_deadline)
register("money: the deadline that begins last", replacing(money, "months_between", lambda start, end: _months_between(start, end - timedelta(seconds=14400 + 2400))), scenarios.last_moment_deadline)
register("money: the tear-down allowance", replacing(money, "TEAR_DOWN_ALLOWANCE_SECONDS", 0), random_months())
register("money: the start and stop allowance", replacing(money, "TRAINING_STOP_ALLOWANCE_SECONDS", -money.TRAINING_START_ALLOWANCE_SECONDS), random_months())
register("money: keepEndpointMinutes in the reservation", replacing(money, "allow", _keep_outside), random_months(first_seed=36))
register("money: small items and checkpoints", replacing(money, "worst_case", _nothing_small), random_months())
register("money: every instance of a job", replacing(Price, "times", lambda self, instances: self), scenarios.two_machines)
register("prices: unknown is not free", replacing(money, "find_price", _unknown_is_free), random_months())
register("prices: the dearest of several", replacing(prices, "max", min), ledger_scenarios.two_prices)
register("billing: each month its share", replacing(billing, "month_shares", lambda start, end: {start.strftime("%Y-%m"): Fraction(1)}), random_months())
register("billing: every instance of a job", replacing(billing, "_training_jobs", _one_instance_of_each), scenarios.two_machines)
register("billing: the endpoint that nobody saw", replacing(billing, "stays", _seen_only), scenarios.deleted_by_hand)
register("billing: nothing is settled that still runs", replacing(billing, "_training_jobs", lambda *of: []), scenarios.settled_too_early)
register("billing: what a spot job waited is of no month", replacing(billing, "timedelta", lambda seconds: timedelta(days=99)), random_months(first_seed=550))
register("billing: seconds as SageMaker tells them, not a saving", replacing(billing, "_training_jobs", _assumed_saving), random_months())
register("workflow: the dead man's switch", without("dead_mans_switch"), trials.nothing_but_the_schedule)
register("workflow: the endpoint's own deadline", edited("fine_tuning", _without_deadline), trials.nothing_but_the_schedule)
register("workflow: the event rule", without("event_rule"), scenarios.prompt_removal)
register("workflow: the sweeper", without("sweeper"), trials.nothing_but_the_sweeper)
register("workflow: the second quiet pass", edited("tear_down", _one_quiet_pass), scenarios.created_after_the_abort)
register("workflow: a name of its own for each run", lambda: everywhere(names.run_name, _one_name_for_several), random_months())
