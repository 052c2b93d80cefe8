"""What either account shows of a row of the table of failures, in a form that can be compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from verification.simulation import rows
from verification.simulation.rows import Row

# The two branches take turns, and how far one is when the other is cut goes by the second. It may not even have begun, so
# whether one of the two began is compared.
_ASKS = ("AskBaseModel", "AskFineTunedModel")
_BRANCHES = (*_ASKS, "BaseModel", "FineTunedModel")
# What goes by the second: moments, cents and seconds, and whether a pass saw an endpoint long enough to describe its instances.
_BY_THE_CLOCK = ("_at", "_by", "_cents", "_seconds", "_instance_type", "_instance_count")


@dataclass(frozen=True)
class Seen:
    """How a row went: the ends, the states and the errors on the way, what the ledger holds and what the owner was told."""

    run: tuple[str, str]
    tear_down: tuple[str, str]
    states: frozenset[tuple[str, str]]
    tear_down_states: frozenset[tuple[str, str]]
    errors: frozenset[str]
    ledger: tuple[tuple[str, ...], ...]
    reports: frozenset[str]
    mailed: bool


def states_of(entered: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Which state followed which; how often a loop went round counts for nothing."""
    names = list(entered)
    outside = [name for name in names if not name.startswith(_BRANCHES)]
    inside = {("in a branch", "an ask") for name in names if name in _ASKS}
    return frozenset(zip(outside, outside[1:], strict=False)) | inside


def ledger_of(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    """Of each run: its state, its reservation, whether training and endpoint cost anything, and what else is noted of it."""
    found = []
    for item in items:
        cost = tuple(
            f"{part} {'cost' if int(item.get(f'{part}_cents', 0)) else 'free'}" for part in ("training", "endpoint")
        )
        noted = sorted(name for name in item if not name.endswith(_BY_THE_CLOCK) and "20" not in name)
        found.append((str(item["state"]), str(item["reserved_cents"]), *cost, *noted))
    return tuple(sorted(found))


def simulated(row: Row, at: datetime) -> Seen:
    """What the simulated account shows of a row that begins at a moment."""
    account, execution, _ = rows.play(row, at)
    downs = list(account.tear_downs.values())
    reports = "runs/captune-one/report/"
    return Seen(
        run=(execution.status, execution.error),
        tear_down=(downs[0].status, downs[0].error) if downs else ("", ""),
        states=states_of(execution.states()),
        tear_down_states=states_of([name for one in downs for name in one.states()]),
        errors=frozenset(error for one in (execution, *downs) for error in one.errors()),
        ledger=ledger_of([row.item for row in account.ledger().rows()]),
        reports=frozenset(key.removeprefix(reports) for key in account.storage.objects if key.startswith(reports)),
        mailed=bool(account.topic.messages),
    )
