"""`captune ledger` and `captune prices`: what a person reads of the ledger whatever is in it, and when the pinned prices change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from captune import ledger as listing
from captune import prices
from captune.account import Refused
from tests.doubles.aws_account import Account, Answers, deployed, price_list
from tests.doubles.lambda_fakes import NOW
from tests.doubles.ledger_fakes import FakeLedger, reservation


def lines(ledger: FakeLedger) -> list[str]:
    return listing.show(deployed(ledger), 2500).splitlines()


def test_months_and_runs_are_printed_newest_first() -> None:
    assert lines(FakeLedger()) == ["The ledger is empty: nothing was reserved or spent yet."]
    ledger = FakeLedger().with_run("a").settled("captune-a")
    ledger.reserve(reservation("b", 587, "2026-11", "2026-12"), 2500, NOW.replace(hour=23))
    ledger.count_start("2026-11", 9)
    printed = lines(ledger)
    assert printed[:2] == [
        "2026-12   committed    $5.87   0 executions looked at",
        "2026-11   committed    $6.19   1 executions looked at",
    ]
    assert "$1.00 of the $25.00 a month" in printed[2]
    assert [line.split() for line in printed[5:]] == [
        ["captune-b", "reserved", "$5.87", "-", "-", "-"],
        ["captune-a", "settled", "$6.00", "$0.26", "$0.00", "$0.32", "FAILED"],
    ]


def test_a_damaged_item_is_named_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.table.rows["RUN#captune-a"] |= {"reserved_cents": {"N": "6.5"}, "reserved_at": {"BOOL": False}}
    ledger.table.rows["RUN#captune-c"]["status"] = {"NULL": True}
    printed = lines(ledger)
    assert [line.split()[0] for line in printed if line.startswith("captune-")] == ["captune-b"]
    at = printed.index("Items that cannot be read:")
    first = "RUN#captune-a: reserved_cents is 6.5"
    assert first in printed[at + 1] and "reserved_at is of the type BOOL" in printed[at + 1]
    assert "RUN#captune-c: status is of the type NULL" in printed[at + 2]
    assert any("may be held by captune-a, captune-c" in line for line in printed)


@pytest.mark.parametrize(
    ("item", "committed", "told"),
    [({"N": "100"}, "$6.00", "$1.00"), ({"N": "700"}, "$7.00", "$7.00"), ({"S": "much"}, "$6.00", "no readable item")],
)
def test_a_month_that_differs_from_its_runs_counts_the_larger(item: Any, committed: str, told: str) -> None:
    ledger = FakeLedger().with_run("a")
    assert "add up to" not in lines(ledger)[1]
    ledger.table.rows["MONTH#2026-11"]["committed_cents"] = item
    first, second = lines(ledger)[:2]
    assert f"committed    {committed}" in first and "add up to $6.00" in second and told in second


def test_json_leaves_nothing_out() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").settled("captune-b")
    ledger.count_start("2026-11", 9)
    ledger.table.rows["RUN#captune-a"]["state"] = {"BOOL": True}
    ledger.table.rows["MONTH#2026-11"]["committed_cents"] = {"S": "much"}
    found = {item["pk"]: item for item in json.loads(listing.show(deployed(ledger), 2500, as_json=True))}
    month = {"pk": "MONTH#2026-11", "committed_cents": None, "runs_cents": 32, "damaged_runs": ["captune-a"]}
    assert found["MONTH#2026-11"] == month and found["STARTS#2026-11"] == {"pk": "STARTS#2026-11", "starts": 1}
    assert found["RUN#captune-a"]["problems"] == ["state is of the type BOOL; the ledger holds whole numbers and texts"]
    assert (found["RUN#captune-a"]["reserved_cents"], found["RUN#captune-b"]["actual_cents"]) == (600, 32)
    assert "problems" not in found["RUN#captune-b"]


def priced(hourly: str | None, file: Path, types: list[str]) -> str:
    """What `captune prices` prints of a list that knows all types but ml.gone."""
    kinds = {"us-east-1": {"ml.a": "1.0", "ml.gone": "2.0"}}
    file.write_text(json.dumps({"source": "x", "date": "2026-01-01", "hourly_usd": kinds}))
    known = {"PriceList": price_list(hourly).products}

    def listed(ServiceCode: str, Filters: list[dict[str, str]]) -> Any:
        return {"PriceList": []} if "ml.gone" in [one["Value"] for one in Filters] else known

    return prices.refresh(Account(pricing=Answers("pricing", get_products=listed)), types, [], file)


def test_refreshed_prices_drop_what_the_list_no_longer_knows(tmp_path: Path) -> None:
    text = priced("1.25", tmp_path / "prices.json", ["ml.new"])
    table = json.loads((tmp_path / "prices.json").read_text())
    assert (table["source"], table["hourly_usd"]) == (
        "AWS Price List",
        {"us-east-1": {"ml.a": "1.25", "ml.new": "1.25"}},
    )
    assert "ml.gone: not listed" in text and "(was 1.0)" in text


def test_a_list_without_any_price_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no price at all"):
        priced(None, tmp_path / "prices.json", [])
    assert json.loads((tmp_path / "prices.json").read_text())["source"] == "x"
