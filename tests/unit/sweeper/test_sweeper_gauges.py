"""The figures that the sweeper gives the alarms: ages of what is there, and how much of the ledger cannot be read."""

from __future__ import annotations

from datetime import timedelta

from common.ledger.rows import read_row
from sweeper.gauges import gauges
from tests.doubles.lambda_fakes import NOW
from tests.doubles.ledger_fakes import FakeLedger

HOUR = 3600


def test_where_nothing_is_there_every_figure_is_nought_so_that_an_alarm_ends() -> None:
    assert gauges([], [], NOW) == {
        "OldestEndpointSeconds": 0,
        "OldestReservationSeconds": 0,
        "DamagedLedgerItems": 0,
    }


def test_the_oldest_endpoint_counts() -> None:
    since = [NOW - timedelta(hours=1), NOW - timedelta(hours=9), NOW]
    assert gauges(since, [], NOW)["OldestEndpointSeconds"] == 9 * HOUR


def test_the_oldest_open_reservation_counts_and_no_settled_one() -> None:
    ledger = FakeLedger().with_run("old").with_run("open").settled("captune-old")
    later = NOW + timedelta(hours=17)
    assert gauges([], ledger.rows(), later)["OldestReservationSeconds"] == 17 * HOUR
    ledger.settled("captune-open")
    assert gauges([], ledger.rows(), later)["OldestReservationSeconds"] == 0


def test_a_damaged_item_is_counted_and_hides_no_age() -> None:
    ledger = FakeLedger().with_run("open")
    damaged = read_row({"pk": {"S": "RUN#captune-edited"}, "state": {"BOOL": True}})
    assert gauges([], [damaged, *ledger.rows()], NOW + timedelta(hours=2)) == {
        "OldestEndpointSeconds": 0,
        "OldestReservationSeconds": 2 * HOUR,
        "DamagedLedgerItems": 1,
    }


def test_a_damaged_item_that_may_be_open_is_as_old_as_its_reservation() -> None:
    damaged = read_row({"pk": {"S": "RUN#captune-edited"}, "reserved_at": {"S": NOW.isoformat()}})
    assert gauges([], [damaged], NOW + timedelta(hours=20))["OldestReservationSeconds"] == 20 * HOUR
