"""Control experiments: one line of defence is taken away at a time, and something has to notice. A check that never failed proves nothing.

Nothing is edited on disk: a control replaces an attribute or a definition for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from unittest.mock import patch

from common import environment, names
from common.contracts.tear_down import Removed, TearDownEvent
from common.endpoint_lives import Seen
from common.errors import PriceUnknown, RunNameTaken
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.ledger import rows as ledger_rows
from common.ledger import table as ledger_table
from common.ledger.changes import Change, Month
from common.ledger.ledger import Ledger
from common.ledger.rows import RunItem
from common.ledger.seal import SEAL, Item, RawItem
from common.ledger.table import Replacement, Table
from common.pricing import prices
from common.pricing.prices import Price
from common.resources import Resource
from preflight import money
from settle import billing
from sweeper.leftovers import Sweep
from teardown.removal import Removal
from verification.simulation import ledger_stories, months, rows, stories, threads
from verification.simulation.definitions import Definition, edited
from verification.simulation.lambdas import loaded
from verification.simulation.trial import Result
from verification.simulation.world import DEFENCES

Broken = list[str]
# Months until a control has to be noticed, unless it says otherwise.
PATIENCE = 600
_HOURS = 6 * 3600


@dataclass(frozen=True)
class Control:
    """What is taken away, and what has to notice. `caught()` answers what it saw broken; an empty list is a miss."""

    name: str
    removed: Callable[[], AbstractContextManager[None]]
    caught: Callable[[], Broken]


CONTROLS: list[Control] = []


def register(name: str, removed: Callable[[], AbstractContextManager[None]], caught: Callable[[], Broken]) -> None:
    """Adds a control."""
    CONTROLS.append(Control(name, removed, caught))


@contextmanager
def everywhere(original: Any, value: Any) -> Iterator[None]:
    """Replaces a function in every module of the Lambdas that imported it by its name."""
    name = original.__name__
    with ExitStack() as stack:
        for module in loaded():
            if vars(module).get(name) is original:
                stack.enter_context(patch.object(module, name, value))
        yield


def replacing(owner: Any, attribute: str, value: Any) -> Callable[[], AbstractContextManager[None]]:
    """Replaces an attribute of a module, class or object for a while, to be begun later."""
    return lambda: patch.object(owner, attribute, value)


def without_a_last_moment(
    removed: Callable[[], AbstractContextManager[None]],
) -> Callable[[], AbstractContextManager[None]]:
    """Takes something away, and with it the refusal of a plan whose months no longer fit, which would notice it first."""

    @contextmanager
    def both() -> Iterator[None]:
        with removed(), patch.object(money, "start_after", lambda month: datetime(9999, 1, 1, tzinfo=UTC)):
            yield

    return both


def without(defence: str) -> Callable[[], AbstractContextManager[None]]:
    """Takes one of the machinery's defences away."""
    return replacing(DEFENCES, defence, False)


def row(name: str) -> Callable[[], Broken]:
    """What a row of the table of failures finds wrong."""
    return lambda: rows.check(rows.table()[name])


def random_months(count: int = PATIENCE, first_seed: int = 1) -> Callable[[], Broken]:
    """Looks for a broken promise in random months, one after the other."""

    def look() -> Broken:
        for seed in range(first_seed, first_seed + count):
            wrong = months.simulate(seed).wrong
            if wrong:
                return wrong
        return []

    return look


_put, _replace = Table.put, Table.replace


def _unconditional(prefix: str) -> Callable[[], AbstractContextManager[None]]:
    """Puts the items of some keys whatever is there."""

    def put(self: Table, item: Item, as_read: RawItem | None) -> Any:
        write = _put(self, item, as_read)
        if not item["pk"].startswith(prefix):
            return write
        return {"Put": {name: value for name, value in write["Put"].items() if name in ("TableName", "Item")}}

    return replacing(Table, "put", put)


def _one_by_one(self: Table, items: Iterable[Replacement]) -> bool:
    return all(_replace(self, [one]) for one in items)


_reserve, _settle, _update = Ledger.reserve, Ledger.settle, Ledger.update
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


def _last_end_stays(self: Ledger, run: str, make: Callable[[Any], Any]) -> Any:
    return _update(self, run, lambda item: make({name: value for name, value in item.items() if name != "keep_until"}))


def _whatever_the_seal(raw: RawItem) -> Item:
    return {name: int(value["N"]) if "N" in value else value["S"] for name, value in raw.items() if name != SEAL}


def _not_clamped(ledger: Ledger, cap_cents: int, *rest: Any) -> money.Allowance:
    return _allow(ledger, 10**9, *rest)


def _keep_outside(
    ledger: Ledger, cap: int, training: Price, hosting: Price, wanted: int, deadline: int, keep: int, *rest: Any
) -> Any:
    allowed = _allow(ledger, cap, training, hosting, wanted, deadline, 0, *rest)
    worst = replace(allowed.worst, endpoint_seconds=allowed.worst.endpoint_seconds + keep)
    return replace(allowed, worst=worst, keep_seconds=keep)


def _nothing_small(*of: Any) -> Any:
    return replace(_worst_case(*of), other_cents=0)


def _unknown_is_free(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    try:
        return _find_price(pricing, region, instance_type, use)
    except PriceUnknown:
        return Price(instance_type, use, prices.CHEAPEST, "none")


def _one_name_for_several(name: str) -> str:
    return f"{names.PREFIX}-{name.replace('.', '-')}"


def _waits_unreserved(*of: Any) -> money.Allowance:
    return _allow(*of[:-2], 0, of[-1])


_stays, _jobs, _bill = billing.stays, billing._training_jobs, billing.bill


def _assumed_saving(*of: Any) -> Any:
    """As if every spot job saved the 70 % that is read of them."""
    for name, used in _jobs(*of):
        yield name, replace(used, seconds=used.seconds * 3 // 10)


def _one_instance_of_each(*of: Any) -> Any:
    for name, used in _jobs(*of):
        yield name, replace(used, count=1)


def _seen_only(seen: Seen, requested_at: datetime | None, *rest: Any) -> Any:
    return _stays(seen, None, *rest)


def _deleted_jobs_are_nothing(
    sagemaker: Any, run: str, item: RunItem, entered_at: dict[str, datetime], *rest: Any
) -> Any:
    return _bill(
        sagemaker, run, item, {name: at for name, at in entered_at.items() if name != "WaitForTraining"}, *rest
    )


def _at_most_as_reserved(sagemaker: Any, run: str, item: RunItem, *rest: Any) -> Any:
    longest = timedelta(seconds=item["max_endpoint_seconds"])

    def stays(*of: Any) -> Any:
        return [replace(there, end=min(there.end, there.start + longest)) for there in _stays(*of)]

    with patch.object(billing, "stays", stays):
        return _bill(sagemaker, run, item, *rest)


def _quiet_passes(number: int) -> Any:
    def edit(definition: Definition) -> None:
        for rule in definition["States"]["AllGone?"]["Choices"]:
            rule["Condition"] = rule["Condition"].replace("($cutOff ? 3 : 2)", str(number))

    return edited("tear_down", edit)


def _floor(self: Price, seconds: int | Fraction) -> int:
    return int(Fraction(self.hourly_usd) * 100 * seconds / 3600)


_one_pass, _delete_endpoints, _items = Removal.one_pass, Removal._delete_endpoints, Ledger.items


def _ledger_first(self: Removal, event: TearDownEvent) -> Removed:
    self.ledger.run(self.run)
    return _one_pass(self, event)


def _only_what_can_go(self: Removal) -> None:
    _delete_endpoints(self)
    self.found = [one for one in self.found if not one.endswith(": Creating")]


def _one_blinds_all(self: Ledger) -> list[Any]:
    return [row for row in _items(self) if row.sound()]


def _settled_is_settled(self: Ledger, run: str, *rest: Any, **more: Any) -> Any:
    item = self.run(run)
    return item if item is not None and item["state"] == "settled" else _settle(self, run, *rest, **more)


def _month_believed(self: Ledger, change: Change, names: Sequence[str], cap_cents: int) -> dict[str, Month]:
    return {name: Month.of(name, change.row(keys.of_month(name)), [], cap_cents) for name in names}


def _only_its_tag(self: Removal, resource: Resource) -> bool:
    return bool(self._tags.why_foreign(resource))


def _told(self: Removal, execution_arn: str | None, event: Mapping[str, Any]) -> str:
    return str(event.get("status"))


def _gives_up(state: str) -> Any:
    def edit(definition: Definition) -> None:
        body = definition["States"][state]
        body["Retry"] = [
            {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 10, "MaxAttempts": 20, "MaxDelaySeconds": 300}
        ]
        body["Catch"] = [rule for rule in body.get("Catch", []) if rule["ErrorEquals"] != ["States.ALL"]]

    return edited("tear_down", edit)


def _types_of_the_definition(definition: Definition) -> None:
    states = definition["States"]
    states["StartTraining"]["Arguments"]["ResourceConfig"] = {
        "InstanceType": "${TrainingInstanceType}", "InstanceCount": "{% $plan.training.instanceCount %}", "VolumeSizeInGB": 100,
    }  # fmt: skip
    for state in ("TryEndpointConfig", "CreateEndpointConfig"):
        variants = states[state]["Arguments"]["ProductionVariants"]
        variants[:] = [
            one.replace("$plan.hosting.instances", "{'InstanceType': '${HostingInstanceType}'}") for one in variants
        ]


@contextmanager
def _unversioned() -> Iterator[None]:
    """As before the plan carried everything and definition and functions compared their versions."""
    with (
        edited("fine_tuning", _types_of_the_definition)(),
        everywhere(environment.refuse_another_deployment, lambda version: None),
    ):
        yield


# Edits of definitions: what stands at a path in place of what is deployed.
_LONG = 5 * 86400
_NEVER_CLAMPED = {"StartTraining.Arguments.StoppingCondition.MaxRuntimeInSeconds": _LONG}
_NEVER_ENDS_WAITING = {"StartSpotTraining.Arguments.StoppingCondition.MaxWaitTimeInSeconds": _LONG}
_WITHOUT_DEADLINE = {"CreateModel.Next": "CreateEndpointConfig"}
_SCHEDULES_OFF = {f"{state}.Arguments.State": "DISABLED" for state in ("ScheduleTearDown", "SetEndpointDeadline")}
_NO_PATIENCE: dict[str, Any] = {
    f"{name}.{rules}": [] for name in ("RemoveResources", "SettleLedger") for rules in ("Retry", "Catch")
}
_NOT_RESERVED = {"reservedCents": 1, "committedCents": 1, "capCents": 1}
_NO_RESERVATION = {"Preflight.Next": "ScheduleTearDown", "Preflight.Assign.reservation": _NOT_RESERVED}
_UNCHECKED = {"ReserveBudget.Assign.reservation": "{% $states.result.Payload %}"}
_SETTLE_FIRST = {"Begin.Next": "SettleLedger", "Begin.Assign.removal": {"runName": "captune-none", "keep": False}}

# fmt: off
register("ledger: the month's condition", _unconditional(keys.of_month("")), ledger_stories.room_for_one)
register("ledger: the month's condition, with threads", _unconditional(keys.of_month("")), lambda: threads.race(2).wrong)
register("ledger: one run, one item", _unconditional(keys.of_run("")), ledger_stories.one_name_in_two_months)
register("ledger: settled once", _unconditional(""), ledger_stories.settled_by_two)
register("ledger: settled once, with threads", _unconditional(keys.of_run("")), lambda: threads.race(2).wrong)
register("ledger: all or nothing", replacing(Table, "replace", _one_by_one), random_months())
register("ledger: the cap compared on the first reservation", replacing(Ledger, "reserve", _first_reservation_unchecked), ledger_stories.room_for_none)
register("ledger: the cap in force, not the planned one", without("current_cap"), random_months(first_seed=56))
register("ledger: a collision is tried again", replacing(ledger_table, "_PASSING_REASONS", set()), ledger_stories.collision)
register("ledger: repeated by the same execution", replacing(Ledger, "reserve", _no_repetition), ledger_stories.repeated_after_a_lost_answer)
register("ledger: settled with what was billed", replacing(Ledger, "settle", _settled_for_nothing), random_months())
register("ledger: the first end stays", replacing(Ledger, "update", _last_end_stays), stories.kept_once)
register("money: the clamp", replacing(money, "allow", _not_clamped), ledger_stories.clamped_to_what_is_left)
register("money: the clamped time reaches the job", edited("fine_tuning", _NEVER_CLAMPED), random_months())
register("money: the clock of a spot job reaches it", edited("fine_tuning", _NEVER_ENDS_WAITING), random_months())
register("money: all that a spot job may wait", replacing(money, "allow", _waits_unreserved), random_months())
register("money: rounded up", replacing(Price, "cents", _floor), random_months())
register("money: rounded up in each month", replacing(money, "worst_case", lambda *of: _worst_case(*of[:4])), random_months(first_seed=42))
register("money: both months at the month's end", without_a_last_moment(replacing(money, "months_between", lambda start, end: _months_between(start, start))), random_months())
register("money: waiting time in the months", without_a_last_moment(replacing(money, "months_between", lambda start, end: _months_between(start, end - timedelta(seconds=9000)))), stories.last_moment_deadline)
register("money: the deadline that begins last", without_a_last_moment(replacing(money, "months_between", lambda start, end: _months_between(start, end - timedelta(seconds=14400 + 2400)))), stories.last_moment_deadline)
register("money: the tear-down allowance", replacing(money, "TEAR_DOWN_ALLOWANCE_SECONDS", 0), random_months())
register("money: the start and stop allowance", replacing(money, "TRAINING_STOP_ALLOWANCE_SECONDS", -money.TRAINING_START_ALLOWANCE_SECONDS), random_months())
register("money: keepEndpointMinutes in the reservation", replacing(money, "allow", _keep_outside), random_months(first_seed=26))
register("money: small items and checkpoints", replacing(money, "worst_case", _nothing_small), random_months())
register("money: every instance of a job", replacing(Price, "times", lambda self, instances: self), stories.two_machines)
register("prices: unknown is not free", replacing(money, "find_price", _unknown_is_free), random_months())
register("prices: the dearest of several", replacing(prices, "max", min), ledger_stories.two_prices)
register("billing: each month its share", replacing(billing, "month_shares", lambda start, end: {start.strftime("%Y-%m"): Fraction(1)}), random_months())
register("billing: every instance of a job", replacing(billing, "_training_jobs", _one_instance_of_each), stories.two_machines)
register("billing: the endpoint that nobody saw", replacing(billing, "stays", _seen_only), stories.deleted_by_hand)
register("billing: the job that a person deleted", replacing(billing, "bill", _deleted_jobs_are_nothing), stories.job_deleted_by_hand)
register("billing: an endpoint that nobody saw go has no ceiling", replacing(billing, "bill", _at_most_as_reserved), lambda: stories.outage("ledger + Step Functions", 2 * _HOURS, 6))
register("billing: nothing is settled that still runs", replacing(billing, "_training_jobs", lambda *of: []), stories.settled_too_early)
register("billing: what a spot job waited is of no month", replacing(billing, "timedelta", lambda seconds: timedelta(days=99)), stories.waited_into_the_next_month)
register("billing: seconds as SageMaker tells them, not a saving", replacing(billing, "_training_jobs", _assumed_saving), random_months())
register("workflow: the dead man's switch", without("dead_mans_switch"), stories.nothing_but_the_schedule)
register("workflow: the endpoint's own deadline", edited("fine_tuning", _WITHOUT_DEADLINE), stories.nothing_but_the_schedule)
register("workflow: the event rule", without("event_rule"), stories.removed_promptly)
register("workflow: the sweeper", without("sweeper"), stories.nothing_but_the_sweeper)
register("workflow: the second quiet pass", _quiet_passes(1), stories.created_after_the_abort)
register("workflow: a name of its own for each run", lambda: everywhere(names.run_name, _one_name_for_several), random_months())
register("removal: the ledger is not asked first", replacing(Removal, "one_pass", _ledger_first), lambda: stories.outage("ledger", _HOURS))
register("removal: it never gives up", _gives_up("RemoveResources"), lambda: stories.outage("Lambda", _HOURS))
register("removal: a running execution's end is not believed", replacing(Removal, "_status", _told), stories.told_too_early)
register("removal: what is still being created is not gone", replacing(Removal, "_delete_endpoints", _only_what_can_go), row("CreateEndpoint x aborted"))
register("settlement: it never gives up", _gives_up("SettleLedger"), lambda: stories.outage("ledger", 2 * _HOURS))
register("settlement: what comes later is booked later", replacing(Ledger, "settle", _settled_is_settled), stories.billed_after_the_settlement)
register("ledger: each item is read by itself", replacing(Ledger, "items", _one_blinds_all), stories.an_odd_item_and_the_sweeper)
register("ledger: a month is added up from its runs", replacing(Ledger, "_months", _month_believed), lambda: stories.accident("the month's item deleted", 12))
register("deploy: what is started is what was reserved", _unversioned, lambda: stories.accident("deploy, before it reserves", 12))
register("deployed: the dead man's switch never fires", edited("fine_tuning", _SCHEDULES_OFF), row("DescribeTraining x event lost"))
register("deployed: no schedule is made before training", edited("fine_tuning", {"ReserveBudget.Next": "StartTraining"}), row("StartTraining x event lost"))
register("deployed: the event rule is off", without("event_rule"), row("CreateModel x refused"))
register("deployed: the sweeper is off", without("sweeper"), row("ScheduleTearDown x event lost"))
register("deployed: SetEndpointDeadline is skipped", edited("fine_tuning", _WITHOUT_DEADLINE), row("DescribeEndpoint x hangs"))
register("deployed: TearDown trusts one quiet pass", _quiet_passes(1), row("TryModel x abort and late"))
register("deployed: TearDown waits for no late call", _quiet_passes(2), row("StartTraining x abort and very late"))
register("removal: the sweeper removes by itself", replacing(Sweep, "_remove", lambda *of: True), lambda: stories.outage("TearDown's function", _HOURS))
register("removal: what a run made is its own whatever its tag", replacing(Removal, "_is_foreign", _only_its_tag), lambda: stories.accident("another tag, endpoint", 4))
register("ledger: what it did not write is damage", replacing(ledger_rows, "opened", _whatever_the_seal), lambda: stories.accident("ledger item with half the price", 8))
register("deployed: TearDown gives up", edited("tear_down", _NO_PATIENCE), row("RemoveResources x throttled"))
register("deployed: ReserveBudget is skipped", edited("fine_tuning", _NO_RESERVATION), row("CreateModel x refused"))
register("deployed: MaxRuntimeInSeconds is not clamped", edited("fine_tuning", _NEVER_CLAMPED), row("LookForAdapter x throttled"))
register("deployed: a reservation is believed unread", edited("fine_tuning", _UNCHECKED), row("ReserveBudget x nonsense"))
register("deployed: TearDown removes nothing", edited("tear_down", _SETTLE_FIRST), row("DescribeEndpoint x aborted"))
# fmt: on


def check(number: int) -> str:
    """Runs a control, by its place: controls do not travel between processes. Answers what noticed it, or nothing."""
    control = CONTROLS[number]
    with control.removed():
        broken = control.caught()
    return broken[0] if broken else ""


def _everything_in_its_place() -> Broken:
    return [f"{name}: {words}" for name, story in stories.STORIES.items() for words in story()]


def prove(pool: Executor) -> Result:
    """The controls as a part of the proof, and that no story is broken while everything is in its place."""
    told = pool.submit(_everything_in_its_place)
    noticed = list(pool.map(check, range(len(CONTROLS))))
    missed = [one.name for one, words in zip(CONTROLS, noticed, strict=True) if not words]
    lines = [("caught", f"{len(CONTROLS) - len(missed)}/{len(CONTROLS)}"), ("stories", f"{len(stories.STORIES)}")]
    lines += [(f"  {one.name}", words[:100]) for one, words in zip(CONTROLS, noticed, strict=True)]
    wrong = [f"nothing noticed that this was taken away: {name}" for name in missed]
    return Result("Control experiments", lines, [*wrong, *(f"story {words}" for words in told.result())])
