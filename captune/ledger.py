"""`captune ledger`: every month and run, and what is wrong with an item that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from captune import account
from captune.account import Region, output
from common.ledger import keys
from common.ledger.changes import Month
from common.ledger.ledger import HIGHEST_CAP_CENTS, dollars
from common.ledger.rows import RunRow, cents_by_month, read_row, whole_number
from common.ledger.table import RawItem, Table
from common.pricing.costs import looks_bound, standing_cents

_WAY_OUT = (
    "An item that cannot be read counts as the dearest case: as a run in flight, with all that it may have reserved. Put right what is "
    "named, in the DynamoDB console or with aws dynamodb update-item, or restore the table to a moment before and copy the item from there."
)


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    region: Region = None,
) -> None:
    """Prints the ledger."""
    print(show(account.session(region), account.settings().cap_cents, as_json))


def show(session: Any, cap_cents: int, as_json: bool = False) -> str:
    """Every month and run of the ledger, newest first. `cap_cents` is the cap in cdk.json."""
    items = Table(session.client("dynamodb"), output(session, "LedgerTable")).scan()
    return json.dumps(written(items), indent=2) if as_json else table(items, cap_cents)


def written(items: Sequence[RawItem]) -> list[dict[str, Any]]:
    """The items as JSON holds them, with what is wrong in `problems` and what a month's runs add up to in `runs_cents`."""
    rows = _rows(items)
    months = [{"pk": keys.of_month(m.name), "committed_cents": whole_number(m.as_read), "runs_cents": m.by_runs, "damaged_runs": list(m.damaged)}
              for m in _months(items, rows)]  # fmt: skip
    starts = [{"pk": keys.of_starts(month), "starts": count} for month, count in _starts(items).items()]
    runs = [{**row.item, **({"problems": list(row.problems)} if row.is_damaged else {})} for row in rows]
    return [*months, *starts, *runs]


def table(items: Sequence[RawItem], cap_cents: int) -> str:
    """The items as aligned lines: months with what is committed, runs with what they reserved and did cost."""
    if not items:
        return "The ledger is empty: nothing was reserved or spent yet."
    rows, starts = _rows(items), _starts(items)
    lines = [line for month in _months(items, rows) for line in _month(month, starts.get(month.name, 0))]
    lines.append(
        f"Besides, {dollars(standing_cents(cap_cents))} of the {dollars(cap_cents)} a month are set aside for what runs on by itself and for executions "
        f"that are refused, of which {looks_bound(cap_cents)} are looked at."
    )
    lines += ["", f"{'run':<58}  {'state':<9} {'reserved':>9} {'training':>9} {'endpoint':>9} {'actual':>9}  status"]
    lines += [_run(row) for row in rows if not row.is_damaged]
    damaged = [row for row in rows if row.is_damaged]
    if damaged:
        lines += ["", "Items that cannot be read:"]
        lines += [f"  {keys.of_run(row.run)}: {'; '.join(row.problems)}" for row in damaged]
        lines.append(_WAY_OUT)
    return "\n".join(lines)


def _month(month: Month, starts: int) -> list[str]:
    told = whole_number(month.as_read)
    lines = [f"{month.name}   committed {dollars(max(told or 0, month.by_runs)):>8}   {starts} executions looked at"]
    if told != month.by_runs:
        says = "has no readable item" if told is None else f"says {dollars(told)}"
        lines.append(
            f"          its runs add up to {dollars(month.by_runs)}, and the month's own item {says}. The larger counts; the next reservation "
            "repairs an item that says less."
        )
    if month.damaged:
        lines.append(f"          besides, up to all of the cap may be held by {', '.join(month.damaged)}, see below")
    return lines


def _run(row: RunRow) -> str:
    run = row.item
    spent = [dollars(run[key]) if key in run else "-" for key in ("training_cents", "endpoint_cents", "actual_cents")]
    return (
        f"{row.run:<58}  {run['state']:<9} {dollars(run['reserved_cents']):>9} {spent[0]:>9} {spent[1]:>9} {spent[2]:>9}  "
        f"{run.get('status', '')}"
    ).rstrip()


def _key(item: RawItem) -> str:
    return str(item["pk"]["S"])


def _rows(items: Sequence[RawItem]) -> list[RunRow]:
    """The runs, newest first; those without a readable date before all."""
    rows = [read_row(item) for item in items if keys.run_in(_key(item)) is not None]
    return sorted(rows, key=lambda row: (str(row.item.get("reserved_at", "~")), row.run), reverse=True)


def _months(items: Sequence[RawItem], rows: Sequence[RunRow]) -> list[Month]:
    """The months that have an item or a run, newest first."""
    as_read = {month: item.get("committed_cents") for item in items if (month := keys.month_in(_key(item))) is not None}
    of_runs = {month for row in rows for month in row.item.get("months", "").split(",") if month}
    of_runs |= {month for row in rows for month in cents_by_month(row.item)}
    names = sorted({*as_read, *of_runs, *_starts(items)}, reverse=True)
    return [Month.of(name, as_read.get(name), rows, HIGHEST_CAP_CENTS) for name in names]


def _starts(items: Sequence[RawItem]) -> dict[str, int]:
    found = {month: item.get("starts") for item in items if (month := keys.starts_in(_key(item))) is not None}
    return {month: whole_number(value) or 0 for month, value in found.items()}
