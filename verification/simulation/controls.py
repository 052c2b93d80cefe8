"""Control experiments: one line of defence is taken away at a time, or an earlier fault planted, and something has to notice."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, get_type_hints
from unittest.mock import patch

from captune import serving
from common import environment, names
from common.clock import start_after
from common.contracts import tear_down
from common.contracts.tear_down import Removed, TearDownEvent
from common.endpoint_lives import Seen
from common.errors import PriceUnknown, TooManyStarts
from common.ledger import keys
from common.ledger import ledger as ledger_module
from common.ledger import rows as ledger_rows
from common.ledger.changes import Booking, Change, Month, settlement
from common.ledger.ledger import Ledger, Reservation
from common.ledger.rows import Row, RunItem
from common.ledger.seal import SEAL, Item, RawItem
from common.ledger.table import Replacement, Table
from common.pricing import prices
from common.pricing.prices import Price
from preflight import money
from preflight.account import other_runs
from settle import billing
from sweeper import evidence
from sweeper.leftovers import Sweep
from teardown import endpoint_lifetimes
from teardown.removal import Removal
from verification.simulation import Result
from verification.simulation.control_experiments import (
    HOURS,
    Control,
    Patch,
    at_a_months_end,
    everywhere,
    from_month,
    outage,
    replacing,
    row,
    together,
    without,
)
from verification.simulation.definitions import Definition, edited
from verification.simulation.lambdas import _UNDER_WAY

_put, _replace = Table.put, Table.replace


def _unconditional(prefix: str) -> Patch:
    """Puts the items of some keys whatever is there."""

    def put(self: Table, item: Item, as_read: RawItem | None) -> Any:
        write = _put(self, item, as_read)
        if not item["pk"].startswith(prefix):
            return write
        return {"Put": {name: value for name, value in write["Put"].items() if name in ("TableName", "Item")}}

    return replacing(Table, "put", put)


def _one_by_one(self: Table, items: Iterable[Replacement]) -> bool:
    return all(_replace(self, [one]) for one in items)


_reserve, _settle = Ledger.reserve, Ledger.settle
_allow: Callable[..., money.Allowance] = money.allow
_months_between, _find_price, _worst_case = money.months_between, money.find_price, money.worst_case


def _first_reservation_unchecked(self: Ledger, asked: Reservation, cap_cents: int, now: datetime) -> Any:
    empty = not any(self.committed_cents(month) for month in asked.months)
    return _reserve(self, asked, max(cap_cents, asked.cents) if empty else cap_cents, now)


def settled_for_nothing(self: Ledger, run: str, book: Any, now: datetime) -> Any:
    """A settlement that books nothing."""

    def nothing(item: RunItem) -> Booking:
        made: Booking = book(item)
        return replace(made, by_month=dict.fromkeys(made.by_month, 0))

    return _settle(self, run, nothing, now)


def _keep_outside(ledger: Ledger, cap: int, wanted: money.Wanted, now: datetime) -> money.Allowance:
    allowed = _allow(ledger, cap, replace(wanted, keep_seconds=0), now)
    worst = replace(allowed.worst, endpoint_seconds=allowed.worst.endpoint_seconds + wanted.keep_seconds)
    return replace(allowed, worst=worst, keep_seconds=wanted.keep_seconds)


def _nothing_small(*of: Any) -> Any:
    return replace(_worst_case(*of), other_cents=0)


def _unknown_is_free(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    try:
        return _find_price(pricing, region, instance_type, use)
    except PriceUnknown:
        return Price(instance_type, use, prices.CHEAPEST, "none")


def _one_name_for_several(name: str) -> str:
    return f"{names.PREFIX}-{name.replace('.', '-')}"


def _waits_unreserved(ledger: Ledger, cap: int, wanted: money.Wanted, now: datetime) -> money.Allowance:
    return _allow(ledger, cap, replace(wanted, spot_wait_seconds=0), now)


_uses, _jobs, _bill = billing.endpoint_uses, billing._training_jobs, billing.bill


def _assumed_saving(*of: Any) -> Any:
    """As if every spot job saved the 70 % that is read of them."""
    for name, used in _jobs(*of):
        yield name, replace(used, billed_seconds=used.seconds * 3 // 10)


def _one_instance_of_each(*of: Any) -> Any:
    for name, used in _jobs(*of):
        yield name, replace(used, count=1)


def _seen_only(seen: Seen, requested_at: datetime | None, *rest: Any) -> Any:
    return _uses(seen, None, *rest)


def _at_most_as_reserved(sagemaker: Any, run: str, item: RunItem, *rest: Any) -> Any:
    longest = timedelta(seconds=item["max_endpoint_seconds"])

    def uses(*of: Any) -> Any:
        return [replace(there, end=min(there.end, there.start + longest)) for there in _uses(*of)]

    with patch.object(billing, "endpoint_uses", uses):
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


def _month_believed(self: Ledger, change: Change, names: Sequence[str], cap_cents: int) -> dict[str, Month]:
    return {name: Month.added_up(name, change.row(keys.of_month(name)), [], cap_cents) for name in names}


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


# Faults that this project once had.
_count_start, _stop = Ledger.count_start, serving.stop


def _whatever_the_seal(raw: RawItem) -> Item:
    return {
        name: int(value["N"]) if "N" in value else str(next(iter(value.values())))
        for name, value in raw.items()
        if name != SEAL
    }


_KINDS = {"committed_cents": int, "starts": int, **get_type_hints(RunItem)}
_NEEDED = {"state", "months", "reserved_cents", "reserved_at", "execution_arn", "training_prices", "hosting_prices"}


def _found_by_its_type(raw: RawItem) -> Item | None:
    """Damage is an attribute of the wrong type, or one that is missing."""
    item = _whatever_the_seal(raw)
    right = all(type(value) is _KINDS.get(name, int if "cents" in name else str) for name, value in item.items())
    complete = keys.run_in(raw["pk"]["S"]) is None or item.keys() >= _NEEDED
    return item if right and complete and len(item) > 1 else None


def _listed_or_pinned(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    try:
        return prices.listed(pricing, region, instance_type, use) or prices.pinned(region, instance_type, use)
    except PriceUnknown:
        raise
    except Exception:
        return prices.pinned(region, instance_type, use)


def _no_look_bounds(seen: Seen, *rest: Any) -> Any:
    return _uses({"lives": seen["lives"]} if "lives" in seen else {}, *rest)


def _first_life_only(seen: Seen, *rest: Any) -> Any:
    return _uses(seen, *rest)[:1]


def _foreign_without_a_beginning(self: Removal, resource: Any) -> bool:
    why = self._tags.why_foreign(resource)
    return bool(why) and not any(begun <= resource.created for begun in self._beginnings())


def _at_the_beginning(self: Removal, event: Any) -> Any:
    moment = self.clock()
    self.clock = lambda: moment
    return _one_pass(self, event)


def _settles_what_it_read_first(self: Ledger, run: str, book: Any, now: datetime) -> Any:
    """The months are those of now, the run's reservation that of before."""
    early = self.run(run)
    world = _UNDER_WAY[-1].account.world
    for _ in range(20):
        world.now += timedelta(seconds=3)
        world.interleave("slow")

    def make(change: Change) -> Any:
        item = change.item(keys.of_run(run))
        if early is None or item is None:
            return item
        held: Any = {**item, "reserved_cents": early["reserved_cents"]} if item["state"] == "reserved" else item
        closed, cents = settlement(held, book(item), now)
        for month, amount in cents.items():
            change.add(month, amount)
        change.put(closed)
        return closed

    return self._change(make)


def _never_goes_down(item: RunItem, booking: Booking, now: datetime) -> Any:
    return settlement(item, replace(booking, complete=False), now)


def _any_trouble_is_too_many(self: Ledger, month: str, bound: int) -> int:
    raw = self._table.read(keys.of_starts(month))
    found = int(_whatever_the_seal(raw)["starts"]) if raw else 0
    if found >= bound:
        raise TooManyStarts("too many")
    return _count_start(self, month, bound) if raw is None or not Row.from_raw(raw).is_damaged else found + 1


def _asks_the_ledger_first(deployment: serving.Deployment, run: str, moment: datetime) -> Any:
    deployment.ledger.run(run)
    return _stop(deployment, run, moment)


def _only_what_runs(job: Any, row: Any) -> bool:
    return False


def _as_planned(month: str) -> datetime:
    return datetime(9999, 1, 1, tzinfo=UTC)


def _not_ending(item: Any, now: datetime) -> dict[str, Any]:
    return {**item}


# Edits of definitions: what stands at a path in place of what is deployed.
_LONG = 5 * 86400
_NEVER_CLAMPED = {"StartTraining.Arguments.StoppingCondition.MaxRuntimeInSeconds": _LONG}
_NEVER_ENDS_WAITING = {"StartSpotTraining.Arguments.StoppingCondition.MaxWaitTimeInSeconds": _LONG}
_WITHOUT_DEADLINE = {"CreateModel.Next": "CreateEndpointConfig"}
_DEADLINE_WHATEVER_THE_TIME = {
    "SetEndpointDeadline.Arguments.ScheduleExpression": "{% 'at(' & $fromMillis($millis() + $plan.hosting.deadlineSeconds * 1000, "
    "'[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01]') & ')' %}"
}
_SCHEDULES_OFF = {f"{state}.Arguments.State": "DISABLED" for state in ("ScheduleTearDown", "SetEndpointDeadline")}
_NO_PATIENCE: dict[str, Any] = {
    f"{name}.{rules}": [] for name in ("RemoveResources", "SettleLedger") for rules in ("Retry", "Catch")
}
_NOT_RESERVED = {"reservedCents": 1, "committedCents": 1, "capCents": 1}
_NO_RESERVATION = {"Preflight.Next": "ScheduleTearDown", "Preflight.Assign.reservation": _NOT_RESERVED}
_UNCHECKED = {"ReserveBudget.Assign.reservation": "{% $states.result.Payload %}"}
_SETTLE_FIRST = {"Begin.Next": "SettleLedger", "Begin.Assign.removal": {"runName": "captune-none", "keep": False}}

# The refusal of a plan whose months no longer fit would notice first what they lack: it comes five hours later.
_LATER_LAST_MOMENT = replacing(money, "start_after", lambda month: start_after(month) + timedelta(hours=5))


def _months_until(seconds: float | None) -> Patch:
    """Plans the months of a run up to so many seconds before its end; without any, the month of its start alone."""

    def between(start: datetime, end: datetime) -> list[str]:
        return _months_between(start, start if seconds is None else end - timedelta(seconds=seconds))

    return together(replacing(money, "months_between", between), _LATER_LAST_MOMENT)


# fmt: off
CONTROLS = [
    Control("ledger: the month's condition", _unconditional(keys.of_month("")), from_month(430)),
    Control("ledger: one run, one item", _unconditional(keys.of_run(""))),
    Control("ledger: all or nothing", replacing(Table, "replace", _one_by_one)),
    Control("ledger: the cap compared on the first reservation", replacing(Ledger, "reserve", _first_reservation_unchecked)),
    Control("ledger: the cap in force, not the planned one", without("current_cap")),
    Control("ledger: recorded as billed", replacing(Ledger, "settle", settled_for_nothing)),
    Control("ledger: each item is read by itself", replacing(Ledger, "items", _one_blinds_all)),
    Control("ledger: a month is added up from its runs", replacing(Ledger, "_months", _month_believed)),
    Control("money: the clamped time reaches the job", edited("fine_tuning", _NEVER_CLAMPED)),
    Control("money: the clock of a spot job reaches it", edited("fine_tuning", _NEVER_ENDS_WAITING)),
    Control("money: all that a spot job may wait", replacing(money, "allow", _waits_unreserved)),
    Control("money: rounded up", replacing(Price, "cents", _floor)),
    Control("money: rounded up in each month", replacing(money, "worst_case", lambda *of: _worst_case(*of[:4]))),
    Control("money: both months at the month's end", _months_until(None), from_month(730)),
    Control("money: the deadline that begins last", _months_until(14400 + 2400), from_month(1380)),
    Control("money: the teardown allowance", replacing(money, "TEAR_DOWN_ALLOWANCE_SECONDS", 0)),
    Control("money: the start and stop allowance", replacing(money, "TRAINING_STOP_ALLOWANCE_SECONDS", -money.TRAINING_START_ALLOWANCE_SECONDS)),
    Control("money: keepEndpointMinutes in the reservation", replacing(money, "allow", _keep_outside)),
    Control("money: small items and checkpoints", replacing(money, "worst_case", _nothing_small)),
    Control("money: every instance of a job", replacing(Price, "times", lambda self, instances: self)),
    Control("prices: unknown is not free", replacing(money, "find_price", _unknown_is_free)),
    Control("billing: each month its share", replacing(billing, "month_shares", lambda start, end: {start.strftime("%Y-%m"): Fraction(1)})),
    Control("billing: every instance of a job", replacing(billing, "_training_jobs", _one_instance_of_each)),
    Control("billing: the endpoint that no pass saw", replacing(billing, "endpoint_uses", _seen_only), from_month(1545)),
    Control("billing: an endpoint without a seen end has no ceiling", replacing(billing, "bill", _at_most_as_reserved), outage("ledger + Step Functions", 2 * HOURS, 6)),
    Control("billing: no cost is recorded while a run bills", replacing(billing, "_training_jobs", lambda *of: []), from_month(480)),
    Control("billing: seconds as SageMaker tells them, not a saving", replacing(billing, "_training_jobs", _assumed_saving)),
    Control("workflow: no endpoint after the time of the run", edited("fine_tuning", _DEADLINE_WHATEVER_THE_TIME), at_a_months_end),
    Control("workflow: a name of its own for each run", lambda: everywhere(names.run_name, _one_name_for_several)),
    Control("removal: the ledger is not asked first", replacing(Removal, "one_pass", _ledger_first), outage("ledger")),
    Control("removal: it never gives up", _gives_up("RemoveResources"), outage("Lambda")),
    Control("removal: what is still being created is not gone", replacing(Removal, "_delete_endpoints", _only_what_can_go), row("CreateEndpoint x aborted")),
    Control("removal: the sweeper removes by itself", replacing(Sweep, "_remove", lambda *of: True), outage("TearDown's function")),
    Control("recording the cost: it never gives up", _gives_up("SettleLedger"), outage("ledger", 2 * HOURS)),
    Control("deploy: what is started is what was reserved", _unversioned),
    Control("deployed: the dead man's switch never fires", edited("fine_tuning", _SCHEDULES_OFF), row("DescribeTraining x event lost")),
    Control("deployed: no schedule is made before training", edited("fine_tuning", {"ReserveBudget.Next": "StartTraining"}), row("StartTraining x event lost")),
    Control("deployed: the event rule is off", without("event_rule"), row("CreateModel x refused")),
    Control("deployed: the sweeper is off", without("sweeper"), row("ScheduleTearDown x event lost")),
    Control("deployed: SetEndpointDeadline is skipped", edited("fine_tuning", _WITHOUT_DEADLINE), row("DescribeEndpoint x hangs")),
    Control("deployed: TearDown trusts one quiet pass", _quiet_passes(1), row("TryModel x abort and late")),
    Control("deployed: TearDown waits for no late call", _quiet_passes(2), row("StartTraining x abort and very late")),
    Control("deployed: TearDown gives up", edited("tear_down", _NO_PATIENCE), row("RemoveResources x throttled")),
    Control("deployed: ReserveBudget is skipped", edited("fine_tuning", _NO_RESERVATION), row("CreateModel x refused")),
    Control("deployed: MaxRuntimeInSeconds is not clamped", edited("fine_tuning", _NEVER_CLAMPED), row("LookForAdapter x throttled")),
    Control("deployed: a reservation is believed unread", edited("fine_tuning", _UNCHECKED), row("ReserveBudget x nonsense")),
    Control("deployed: TearDown removes nothing", edited("tear_down", _SETTLE_FIRST), row("DescribeEndpoint x aborted")),
    # Faults that this project once had: the random months have to find each.
    Control("planted 1: damage in one attribute raises", replacing(ledger_rows, "opened", _whatever_the_seal), from_month(340)),
    Control("planted 2: what can be read is believed", replacing(ledger_rows, "opened", _found_by_its_type), from_month(1155)),
    Control("planted 3: no look bounds an unseen endpoint", replacing(billing, "endpoint_uses", _no_look_bounds), from_month(345)),
    Control("planted 4: a list that says too little is believed", replacing(money, "find_price", _listed_or_pinned), from_month(660)),
    Control("planted 5: a late job that went is not recorded", together(replacing(evidence, "_is_unbooked", _only_what_runs), replacing(Removal, "_may_have_reserved", lambda self: False))),
    Control("planted 6: an endpoint has one life", replacing(billing, "endpoint_uses", _first_life_only), from_month(1480)),
    Control("planted 7: a run's own name may be foreign", replacing(Removal, "_is_foreign", _foreign_without_a_beginning)),
    Control("planted 8: any execution of the name is stopped", lambda: everywhere(tear_down.refuse_another_machine, lambda event, arn: None)),
    Control("planted 9: a plan has no last moment", replacing(money, "start_after", _as_planned), from_month(195)),
    Control("planted 10: an extension meets the recording of a cost", together(replacing(Ledger, "settle", _settles_what_it_read_first), replacing(endpoint_lifetimes, "ending", _not_ending)), from_month(645)),
    Control("planted 11: what is stopped is extended", together(replacing(serving, "ending", _not_ending), replacing(endpoint_lifetimes, "ending", _not_ending))),
    Control("planted 12: an endpoint has gone when the pass began", replacing(Removal, "one_pass", _at_the_beginning)),
    Control("planted 13: a damaged count is an unnamed error", replacing(Ledger, "count_start", _any_trouble_is_too_many)),
    Control("planted 14: captune stop needs the ledger", replacing(serving, "stop", _asks_the_ledger_first), from_month(420)),
    Control("planted 15: a recorded cost never goes down", replacing(ledger_module, "settlement", _never_goes_down), from_month(455)),
    Control("planted 16: only training jobs tell of a lost ledger", replacing(other_runs, "_forgotten", lambda *of: []), from_month(2020)),
]
# fmt: on


def check(number: int) -> str:
    """Runs a control, by its place: controls do not travel between processes. Answers what noticed it, or nothing."""
    control = CONTROLS[number]
    with control.removed():
        return control.caught()


def prove(pool: Executor) -> Result:
    """The controls and the planted faults as a part of the proof."""
    noticed = list(pool.map(check, range(len(CONTROLS))))
    missed = [one.name for one, words in zip(CONTROLS, noticed, strict=True) if not words]
    lines = [("caught", f"{len(CONTROLS) - len(missed)}/{len(CONTROLS)}")]
    lines += [(f"  {one.name}", words[:100]) for one, words in zip(CONTROLS, noticed, strict=True)]
    return Result("Control experiments", lines, [f"nothing noticed that this was taken away: {one}" for one in missed])
