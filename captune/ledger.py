"""`captune ledger`: every month and run, which items are damaged, and how you accept or correct one."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from captune import account
from captune.account import Refused, output
from captune.flags import AsJson, Region
from common.ledger import keys
from common.ledger.changes import Month
from common.ledger.ledger import Ledger, dollars
from common.ledger.rows import Row, cents_by_month, contradictions, faults, is_number
from common.ledger.seal import SEAL, Item
from common.pricing.costs import looks_bound, standing_cents
from rehearsal.programs import as_typed

_WAY_OUT = (
    "Their seal does not fit: the ledger did not write them so. Each counts as the whole cap until you have looked at it. captune ledger "
    "--accept KEY takes an item as it is; --change NAME=VALUE corrects an attribute first, and --change NAME= removes one."
)
_REQUIRED = {
    "state", "execution_arn", "reserved_cents", "months", "reserved_at", "training_prices", "hosting_prices", "price_source",
    "training_instances", "max_training_seconds", "max_endpoint_seconds", "other_cents", "keep_endpoint_seconds",
}  # fmt: skip
_COSTS = {
    "training_cents", "endpoint_cents", "booked_other_cents", "training_seconds", "endpoint_seconds", "actual_cents",
    "settled_at",
}  # fmt: skip


def command(
    accept: Annotated[
        str, typer.Option(metavar="KEY", help="Accept a damaged item, for example RUN#captune-….", show_default=False)
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            metavar="NAME=VALUE",
            help="Correct an attribute of this item; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    region: Region = None,
) -> None:
    """Prints the ledger, or accepts an item of it."""
    session, cap_cents = account.session(region), account.settings().cap_cents
    if accept:
        ledger = Ledger(session.client("dynamodb"), output(session, "LedgerTable"))
        print(accepted(ledger, accept, dict(_change(one) for one in changes or []), cap_cents))
    elif changes:
        raise Refused("--change corrects an item that is accepted: name it with --accept KEY.")
    else:
        shown = show(session, cap_cents, as_json)
        print(shown if as_json else as_typed(shown))


def accepted(ledger: Ledger, key: str, changes: Mapping[str, str], cap_cents: int) -> str:
    """Seals an item again, corrected as told; a month is the sum of its runs unless told otherwise. Raises Refused."""
    before = _months(ledger.items(), cap_cents)

    def make(row: Row | None) -> Item:
        if row is None:
            raise Refused(f"The ledger has no item {key}. captune ledger shows the keys of the damaged ones.")
        item = {name: _plain(value) for name, value in row.raw.items() if name != SEAL}
        item |= {name: _number(text) if is_number(name) else text for name, text in changes.items()}
        item = {name: value for name, value in item.items() if value != ""} | {"pk": key}
        if (month := keys.month_in(key)) is not None and "committed_cents" not in changes:
            item = {"pk": key, "committed_cents": before[month].by_runs}
        if wrong := _faults(key, item):
            raise Refused(f"{key} cannot be used like this: {'; '.join(wrong)}. Correct it with --change NAME=VALUE.")
        return item

    ledger.accept(key, make)
    lines = [f"Accepted {key}."]
    for name, month in sorted(_months(ledger.items(), cap_cents).items()):
        was = before[name].committed_cents if name in before else 0
        lines.append(f"  {name}: {dollars(was)} counted as committed before, {dollars(month.committed_cents)} now")
    return "\n".join(lines)


def _change(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise Refused(f"--change takes NAME=VALUE, not {text!r}.")
    if name in ("pk", SEAL):
        raise Refused(f"--change cannot set {name}, which the ledger writes. Leave it out.")
    return name, value


def _plain(value: Mapping[str, Any]) -> Any:
    """What an attribute holds: a whole number where it is one, a text, or what no item of the ledger holds."""
    if set(value) == {"N"}:
        number = _number(value["N"])
        return number if isinstance(number, int) else value
    return value["S"] if set(value) == {"S"} else value


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch("-?[0-9]{1,38}", text) else text


def _faults(key: str, item: Mapping[str, Any]) -> list[str]:
    """What keeps the rest of the project from working with an item."""
    run, settled = keys.run_in(key) is not None, item.get("state") == "settled"
    needed = (
        _REQUIRED | (_COSTS if settled else set()) if run else {"starts" if keys.starts_in(key) else "committed_cents"}
    )
    wrong = [f"{name} is missing" for name in sorted(needed - item.keys())] + faults(item)
    return wrong or (contradictions(item) if run else [])


def show(session: Any, cap_cents: int, as_json: bool = False) -> str:
    """Every month and run of the ledger, newest first. `cap_cents` is the cap in cdk.json."""
    items = Ledger(session.client("dynamodb"), output(session, "LedgerTable")).items()
    return json.dumps(written(items, cap_cents), indent=2) if as_json else table(items, cap_cents)


def written(items: Sequence[Row], cap_cents: int) -> list[dict[str, Any]]:
    """The items as JSON holds them; a damaged one as DynamoDB does, in `damaged`. `runs_cents` are what a month's runs add up to."""
    months = [
        {"pk": keys.of_month(m.name), "committed_cents": m.by_item, "runs_cents": m.by_runs, "damaged": list(m.damaged)}
        for m in _newest_first(items, cap_cents)
    ]
    starts = [{"pk": keys.of_starts(month), "starts": count} for month, count in _starts(items).items()]
    runs = [row.item for row in _runs(items)]
    damaged = [{"pk": row.key, "damaged": row.raw} for row in items if row.is_damaged]
    return [*months, *starts, *runs, *damaged]


def table(items: Sequence[Row], cap_cents: int) -> str:
    """The items as aligned lines: months with what is committed, runs with what they reserved and did cost."""
    if not items:
        return "The ledger is empty: nothing was reserved or spent yet."
    starts = _starts(items)
    lines = [line for month in _newest_first(items, cap_cents) for line in _month(month, starts.get(month.name, 0))]
    lines.append(
        f"Besides, {dollars(standing_cents(cap_cents))} of the {dollars(cap_cents)} a month are set aside for what runs on by itself and for executions "
        f"that are rejected, of which {looks_bound(cap_cents)} are looked at."
    )
    lines += ["", f"{'run':<58}  {'state':<9} {'reserved':>9} {'training':>9} {'endpoint':>9} {'actual':>9}  status"]
    lines += [_run(row) for row in _runs(items)]
    if damaged := [row for row in items if row.is_damaged]:
        lines += ["", "Damaged items, as they are:"]
        for row in damaged:
            content = {name: _plain(value) for name, value in row.raw.items() if name not in ("pk", SEAL)}
            lines.append(f"  {row.key}: {json.dumps(content, sort_keys=True)}")
        lines.append(_WAY_OUT)
    return "\n".join(lines)


def _month(month: Month, starts: int) -> list[str]:
    lines = [f"{month.name}   committed {dollars(month.committed_cents):>8}   {starts} executions looked at"]
    if month.damaged:
        lines.append(f"          damaged, and so all of the cap counts: {', '.join(month.damaged)}, see below")
    elif month.by_item != month.by_runs:
        says = "has no item" if month.by_item is None else f"'s own item says {dollars(month.by_item)}"
        lines.append(
            f"          its runs add up to {dollars(month.by_runs)}, and the month{says}. The larger counts; the next reservation "
            "repairs an item that says less."
        )
    return lines


def _run(row: Row) -> str:
    run = row.item
    spent = [dollars(run[key]) if key in run else "-" for key in ("training_cents", "endpoint_cents", "actual_cents")]
    return (
        f"{row.run:<58}  {run['state']:<9} {dollars(run['reserved_cents']):>9} {spent[0]:>9} {spent[1]:>9} {spent[2]:>9}  "
        f"{run.get('status', '')}"
    ).rstrip()


def _runs(items: Sequence[Row]) -> list[Row]:
    rows = [row for row in items if row.run and not row.is_damaged]
    return sorted(rows, key=lambda row: (row.item["reserved_at"], row.run), reverse=True)


def _newest_first(items: Sequence[Row], cap_cents: int) -> list[Month]:
    return [month for _, month in sorted(_months(items, cap_cents).items(), reverse=True)]


def _months(items: Sequence[Row], cap_cents: int) -> dict[str, Month]:
    of_items = {month: row for row in items if (month := keys.month_in(row.key)) is not None}
    runs = [row for row in items if row.run]
    names = {*of_items, *_starts(items)}
    for row in _runs(items):
        names |= {*row.item["months"].split(","), *cents_by_month(row.item)}
    return {name: Month.added_up(name, of_items.get(name), runs, cap_cents) for name in names}


def _starts(items: Sequence[Row]) -> dict[str, int]:
    found = {month: row.item.get("starts", 0) for row in items if (month := keys.starts_in(row.key)) is not None}
    return dict(sorted(found.items()))
