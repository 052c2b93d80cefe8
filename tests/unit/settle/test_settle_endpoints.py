"""Each endpoint of a run bills by itself, for as long as anyone saw it: the ledger's notes and the tear-down's own passes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.settle_site import START, Site, visit

CHEAP, DEAR = "ml.g6.2xlarge", "ml.g5.2xlarge"
PRICES = f"{CHEAP}=3.6 {DEAR}=36"  # a tenth of a cent and a cent a second


def at(seconds: int) -> datetime:
    answer: datetime = START + timedelta(seconds=seconds)
    return answer


def life(created: int, gone: int | None = None, **more: Any) -> dict[str, Any]:
    """One attempt as RemoveResources hands it on."""
    ended = {} if gone is None else {"goneAt": at(gone).isoformat()}
    return {"createdAt": at(created).isoformat(), **ended, **more}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(monkeypatch)
    made.sagemaker.jobs = {}
    made.ledger.table.rows = FakeLedger().with_run("abc", training_prices=PRICES, hosting_prices=PRICES).table.rows
    return made


def costs(site: Site, **event: Any) -> tuple[int, int]:
    """Endpoint seconds and cents."""
    cost = site.settle(**event)["record"]["cost"]
    return cost["endpoint_seconds"], cost["endpoint_cents"]


def test_two_endpoints_are_both_billed(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(99))
    site.ledger.note_endpoint("captune-abc", 2, at(50), at(149))
    assert costs(site) == (200, 10 + 100)


def test_two_endpoints_that_only_the_tear_down_saw_are_both_billed(site: Site) -> None:
    assert costs(site, seen={"1": life(0, 99), "2": life(50, 149)}) == (200, 10 + 100)


def test_what_the_ledger_and_the_tear_down_saw_of_one_endpoint_is_one_life(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(10), at(59))
    # The earliest creation and the latest end: it came back, or was not gone after all.
    assert costs(site, seen={"1": life(20, 109)}) == (100, 10)


@pytest.mark.parametrize(("noted", "seen"), [(59, None), (None, 59)])
def test_an_end_that_one_of_them_saw_is_the_end(site: Site, noted: int | None, seen: int | None) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), None if noted is None else at(noted))
    assert costs(site, seen={"1": life(0, seen)})[0] == 60


def test_an_endpoint_that_only_the_other_one_saw_is_billed_too(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(99))
    assert costs(site, seen={"2": life(200, 299)}) == (200, 10 + 100)


def test_an_endpoint_whose_end_nobody_saw_is_counted_until_it_is_settled(site: Site) -> None:
    assert costs(site, seen={"1": life(0)}) == (3600, 360)


def test_a_second_settlement_of_an_open_end_comes_to_the_same(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0))
    assert costs(site) == (3600, 360)
    site.now += timedelta(hours=5)
    assert costs(site) == (3600, 360)
    assert site.ledger.committed_cents("2026-11") == 366


def test_an_endpoint_that_came_after_the_settlement_is_booked_by_the_next_one(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(99))
    assert costs(site) == (100, 10)
    site.now += timedelta(hours=1)
    assert costs(site, seen={"1": life(0, 99), "2": life(4000, 4099)}) == (200, 10 + 100)
    assert site.ledger.committed_cents("2026-11") == 116


def test_an_endpoint_that_came_after_the_settlement_and_never_went_is_counted_until_now(site: Site) -> None:
    costs(site)
    site.now += timedelta(hours=1)
    assert costs(site, seen={"1": life(4000)})[0] == 3200


@pytest.mark.parametrize(("described", "cents"), [(CHEAP, 10), (DEAR, 100)])
def test_the_type_that_really_served_counts_and_not_that_of_the_attempt(site: Site, described: str, cents: int) -> None:
    assert costs(site, seen={"2": life(0, 99, instanceType=described, instanceCount=1)}) == (100, cents)


def test_the_type_in_the_ledger_counts_too_and_so_does_the_count(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 2, at(0), at(99), instance_type=CHEAP, instance_count=3)
    assert costs(site, seen={"2": life(0, 99)}) == (300, 30)


def test_the_most_instances_that_anyone_saw_count(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(99), instance_count=2)
    assert costs(site, seen={"1": life(0, 99, instanceType=CHEAP, instanceCount=4)}) == (400, 40)


@pytest.mark.parametrize(("attempt", "cents"), [(1, 10), (2, 100), (3, 10), (4, 100)])
def test_the_attempt_tells_the_type_of_an_endpoint_that_nobody_described(site: Site, attempt: int, cents: int) -> None:
    assert costs(site, seen={str(attempt): life(0, 99)}) == (100, cents)


def test_an_attempt_that_failed_was_over_when_the_next_one_was_requested(site: Site) -> None:
    lives = {"1": life(0, 999, failed=True), "2": life(100, 299)}
    assert costs(site, seen=lives) == (100 + 200, 10 + 200)


def test_an_attempt_that_failed_alone_is_counted_for_nobody_says_that_it_billed_nothing(site: Site) -> None:
    assert costs(site, seen={"1": life(0, 99, failed=True)}) == (100, 10)


def test_an_attempt_that_failed_after_the_last_one_is_counted_to_its_end(site: Site) -> None:
    assert costs(site, seen={"1": life(0, 99), "2": life(200, 299, failed=True)}) == (200, 10 + 100)


def test_an_attempt_that_worked_for_one_of_them_has_worked(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(199), failed=True)
    assert costs(site, seen={"1": life(0, 199, failed=False), "2": life(100, 199)}) == (300, 20 + 100)


def test_an_attempt_that_failed_for_both_of_them_has_failed(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(999), failed=True)
    assert costs(site, seen={"1": life(0, 999, failed=True), "2": life(100, 199)}) == (200, 10 + 100)


@pytest.mark.parametrize(("noted_failed", "seconds"), [(True, 200), (False, 1100)])
def test_what_was_noted_of_an_attempt_stays_where_the_tear_down_saw_it_only_go(
    site: Site, noted_failed: bool, seconds: int
) -> None:
    """Of two tear-downs at once the later one comes when the other has begun to delete."""
    site.ledger.note_endpoint("captune-abc", 1, at(0), at(999), failed=noted_failed)
    assert costs(site, seen={"1": life(0, 999), "2": life(100, 199)})[0] == seconds


def test_an_endpoint_that_both_saw_and_whose_end_nobody_saw_is_open(site: Site) -> None:
    site.ledger.note_endpoint("captune-abc", 1, at(0))
    assert costs(site, seen={"1": life(0)}) == (3600, 360)


def test_an_endpoint_of_the_very_second_of_the_settlement_ended_with_it(site: Site) -> None:
    costs(site)
    site.now += timedelta(hours=1)
    assert costs(site, seen={"1": life(3600)}) == (0, 0)


def test_what_nobody_described_is_not_held_against_a_run(site: Site) -> None:
    assert site.settle(seen={"1": life(0, 99)})["record"]["unreserved"] == []


def test_the_attempts_go_round_the_list_of_types(site: Site) -> None:
    three = f"{PRICES} ml.g6e.2xlarge=360"
    site.ledger.table.rows = FakeLedger().with_run("abc", training_prices=PRICES, hosting_prices=three).table.rows
    assert costs(site, seen={str(n): life(n * 100, n * 100 + 99) for n in (1, 2, 3, 4)})[1] == 10 + 100 + 1000 + 10


def test_the_longest_life_of_an_endpoint_that_nobody_saw_is_what_was_reserved(site: Site) -> None:
    site.step_functions.histories[next(iter(site.step_functions.histories))] = visit("CreateEndpoint", 600, 601)
    site.now = at(600 + 6001)
    # Nobody knows its type: the dearest.
    assert costs(site) == (6000, 6000)


def test_the_first_request_for_an_endpoint_counts_and_not_the_last(site: Site) -> None:
    history = site.step_functions.histories[next(iter(site.step_functions.histories))]
    history += visit("CreateEndpoint", 600, 601) + visit("CreateEndpoint", 1600, 1601)
    assert costs(site)[0] == 3000


def test_a_run_that_asked_for_no_endpoint_pays_for_none(site: Site) -> None:
    assert costs(site) == (0, 0)


class TestAnItemOfAnEarlierDeployment:
    def test_its_one_life_is_billed_by_the_attempt_in_its_name(self, site: Site) -> None:
        old = {"endpoint_created_at": at(0).isoformat(), "endpoint_gone_at": at(99).isoformat()}
        site.ledger.note("captune-abc", {**old, "endpoint_name": "captune-abc-try2"})
        assert costs(site) == (100, 100)

    def test_one_without_a_name_counts_as_the_dearest(self, site: Site) -> None:
        site.ledger.note("captune-abc", {"endpoint_created_at": at(0).isoformat()})
        assert costs(site) == (3600, 3600)

    def test_one_beside_the_lives_of_its_attempts_says_nothing_more(self, site: Site) -> None:
        # The tear-down goes on writing it, for a settlement of the earlier version.
        site.ledger.note("captune-abc", {"endpoint_created_at": at(0).isoformat()})
        site.ledger.note_endpoint("captune-abc", 1, at(0), at(99), failed=True)
        assert costs(site) == (100, 10)

    def test_a_tear_down_that_still_sees_it_tells_its_attempt(self, site: Site) -> None:
        site.ledger.note("captune-abc", {"endpoint_created_at": at(0).isoformat()})
        assert costs(site, seen={"1": life(0, 99)}) == (100, 10)
