"""The ledger, printed for a person."""

from __future__ import annotations

import json
from typing import Any

from common.ledger import Ledger, dollars
from operations.deployed import output


def show(session: Any, as_json: bool = False) -> str:
    """Every month and run of the ledger, newest first."""
    items = Ledger(session.client("dynamodb"), output(session, "LedgerTable")).items()
    return json.dumps(items, indent=2) if as_json else table(items)


def table(items: list[dict[str, Any]]) -> str:
    """The items as aligned lines: months with what is committed, runs with what they reserved and did cost."""
    months = sorted((i for i in items if i["pk"].startswith("MONTH#")), key=lambda i: i["pk"], reverse=True)
    runs = sorted((i for i in items if i["pk"].startswith("RUN#")), key=lambda i: i["reserved_at"], reverse=True)
    lines = [
        f"{month['pk'].removeprefix('MONTH#')}   committed {dollars(month['committed_cents']):>8}" for month in months
    ]
    lines += ["", f"{'run':<58}  {'state':<9} {'reserved':>9} {'training':>9} {'endpoint':>9} {'actual':>9}  status"]
    for run in runs:
        spent = [
            dollars(run[key]) if key in run else "-" for key in ("training_cents", "endpoint_cents", "actual_cents")
        ]
        name = run["pk"].removeprefix("RUN#")
        lines.append(
            f"{name:<58}  {run['state']:<9} {dollars(run['reserved_cents']):>9} {spent[0]:>9} {spent[1]:>9} {spent[2]:>9}  {run.get('status', '')}"
        )
    return "\n".join(lines) if items else "The ledger is empty: nothing was reserved or spent yet."
