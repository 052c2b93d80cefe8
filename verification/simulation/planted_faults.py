"""Faults that this project once had, planted again as further control experiments: the random months alone have to find each."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

from captune import serving
from common.contracts import tear_down
from common.endpoint_lives import Seen
from common.errors import PriceUnknown, TooManyStarts
from common.ledger import keys
from common.ledger import rows as ledger_rows
from common.ledger.changes import Change, settlement
from common.ledger.ledger import Ledger
from common.ledger.rows import Row, RunItem
from common.ledger.seal import SEAL, Item, RawItem
from common.pricing import prices
from common.pricing.prices import Price
from preflight import money
from settle import billing
from sweeper import evidence
from teardown import endpoint_lifetimes
from teardown.removal import Removal
from verification.simulation.control_experiments import Control, everywhere, replacing, together
from verification.simulation.lambdas import _UNDER_WAY


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


_uses, _one_pass = billing.endpoint_uses, Removal.one_pass


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


def _settles_what_it_read_first(self: Ledger, run: str, actual: Any, details: Any, now: datetime, **more: Any) -> Any:
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
        closed, cents = settlement(held, actual, details, now)
        for month, amount in cents.items():
            change.add(month, amount)
        change.put(closed)
        return closed

    return self._change(make)


def _any_trouble_is_too_many(self: Ledger, month: str, bound: int) -> int:
    raw = self._table.read(keys.of_starts(month))
    found = int(_whatever_the_seal(raw)["starts"]) if raw else 0
    if found >= bound:
        raise TooManyStarts("too many")
    return _count_start(self, month, bound) if raw is None or not Row.from_raw(raw).is_damaged else found + 1


_count_start = Ledger.count_start


def _asks_the_ledger_first(deployment: serving.Deployment, run: str, moment: datetime) -> Any:
    deployment.ledger.run(run)
    return _stop(deployment, run, moment)


_stop = serving.stop


def _only_what_runs(job: Any, row: Any) -> bool:
    return False


def _as_planned(month: str) -> datetime:
    return datetime(9999, 1, 1, tzinfo=UTC)


def _not_ending(item: Any, now: datetime) -> dict[str, Any]:
    return {**item}


# fmt: off
FAULTS = [
    Control("planted 1: damage in one attribute raises", replacing(ledger_rows, "opened", _whatever_the_seal)),
    Control("planted 2: what can be read is believed", replacing(ledger_rows, "opened", _found_by_its_type)),
    Control("planted 3: no look bounds an endpoint that nobody saw", replacing(billing, "endpoint_uses", _no_look_bounds)),
    Control("planted 4: a list that says too little is believed", replacing(money, "find_price", _listed_or_pinned)),
    Control("planted 5: a job that came late and went is not booked", together(replacing(evidence, "_is_unbooked", _only_what_runs), replacing(Removal, "_may_have_reserved", lambda self: False))),
    Control("planted 6: an endpoint has one life", replacing(billing, "endpoint_uses", _first_life_only)),
    Control("planted 7: a run's own name may be foreign", replacing(Removal, "_is_foreign", _foreign_without_a_beginning)),
    Control("planted 8: any execution of the name is stopped", lambda: everywhere(tear_down.refuse_another_machine, lambda event, arn: None)),
    Control("planted 9: a plan has no last moment", replacing(money, "start_after", _as_planned)),
    Control("planted 10: an extension meets a settlement", together(replacing(Ledger, "settle", _settles_what_it_read_first), replacing(endpoint_lifetimes, "ending", _not_ending))),
    Control("planted 11: what is stopped is extended", together(replacing(serving, "ending", _not_ending), replacing(endpoint_lifetimes, "ending", _not_ending))),
    Control("planted 12: an endpoint has gone when the pass began", replacing(Removal, "one_pass", _at_the_beginning)),
    Control("planted 13: a damaged count is an unnamed error", replacing(Ledger, "count_start", _any_trouble_is_too_many)),
    Control("planted 14: captune stop needs the ledger", replacing(serving, "stop", _asks_the_ledger_first)),
]
# fmt: on
