"""What a run may take of what is left, to the cent and to the second, and what ReserveBudget sets aside."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import BudgetExceeded, DeployInProgress, PlanExpired, ServiceUnreachable
from common.ledger.ledger import Ledger
from common.pricing import costs
from common.pricing.costs import RunCost, asking_cents, checkpoint_cents, worst_case
from common.pricing.durations import (
    MINIMUM_DEADLINE_SECONDS,
    MINIMUM_TRAINING_SECONDS,
    TEAR_DOWN_ALLOWANCE_SECONDS,
    UNBILLED_ALLOWANCE_SECONDS,
)
from common.pricing.prices import Price
from preflight import money
from reserve import handler
from tests.doubles.lambda_fakes import NOW, arn, refusal
from tests.doubles.ledger_fakes import DETAILS, FakeLedger, reservation

EARLY = datetime(2026, 11, 10, 12, tzinfo=UTC)
LATE = datetime(2026, 11, 30, 20, tzinfo=UTC)
CAP, AMPLE = 2500, 100_000
TRAINING = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
HOSTING = Price("ml.g6.2xlarge", "Hosting", Decimal("1.222"), "test")
# Of training: its start and its stop.
BESIDE = 720 + 180 + 420
# Small items, and Ask for an hour.
SMALL = 23 + 5
CHECKPOINTS = {"lora_rank": 64, "checkpoint_minutes": 10}
# An item that nobody can read.
LOST = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}


def ledger_with(cents: int, *months: str) -> Ledger:
    """A ledger in which so many cents are committed."""
    ledger = FakeLedger()
    if cents:
        ledger.reserve(reservation("earlier", cents, *months), 10**9, EARLY)
    return ledger


def allow(
    cap: int = CAP,
    committed: int = 0,
    *months: str,
    training: int = 7200,
    keep: int = 0,
    now: datetime = EARLY,
    **more: int,
) -> money.Allowance:
    ledger = ledger_with(committed, *months)
    return money.allow(
        ledger, cap, money.Wanted(TRAINING, HOSTING, training, 3600, keep_seconds=keep, **(CHECKPOINTS | more)), now
    )


def with_seconds(allowance: money.Allowance, training: int = 0, endpoint: int = 0) -> RunCost:
    """The worst case of an allowance with some seconds more."""
    worst, months = allowance.worst, len(allowance.months)
    more = worst_case(TRAINING, HOSTING, worst.training_seconds + training, worst.endpoint_seconds + endpoint, months)
    return replace(more, other_cents=worst.other_cents)


class TestEnough:
    def test_a_run_that_fits_gets_all_it_requested(self) -> None:
        allowance = allow(keep=600)

        assert (allowance.training_seconds, allowance.deadline_seconds, allowance.keep_seconds) == (7200, 3600, 600)
        assert (allowance.clamped, allowance.months) == (False, ("2026-11",))
        assert allowance.worst.training_seconds == 7200 + BESIDE
        assert allowance.worst.endpoint_seconds == 3600 + 600 + TEAR_DOWN_ALLOWANCE_SECONDS
        # 8,520 seconds at $1.515 and 6,600 at $1.222 an hour, small items, Ask, checkpoints of rank 64.
        assert allowance.worst.cents == 359 + 225 + 23 + 6 + 56
        assert allowance.tear_down_at == EARLY + timedelta(seconds=7200 + 3600 + UNBILLED_ALLOWANCE_SECONDS)

    def test_a_run_that_trains_nothing_pays_for_no_training(self) -> None:
        allowance = allow(training=0, lora_rank=16)

        assert (allowance.training_seconds, allowance.worst.training_seconds) == (0, 0)
        assert (allowance.worst.training_cents, allowance.worst.other_cents) == (0, SMALL)

    def test_answers_are_reserved_in_each_month(self) -> None:
        assert allow(answers_cents=17).worst.other_cents == allow().worst.other_cents + 17
        assert allow(answers_cents=17, now=LATE).worst.other_cents == allow(now=LATE).worst.other_cents + 34

    @pytest.mark.parametrize(
        ("wanted", "seconds", "rank", "minutes"),
        [
            ({"lora_rank": 16}, BESIDE, 16, 10),
            ({"checkpoint_minutes": 1}, BESIDE, 64, 1),
            ({"checkpoint_minutes": 60}, BESIDE, 64, 60),
            # A spot job may write one at each of its starts, and more where the setting says so.
            ({"checkpoint_minutes": 2, "spot_wait_seconds": 3600}, 3600 + 420, 64, 2),
            ({"checkpoint_minutes": 6, "spot_wait_seconds": 3600}, 3600 + 420, 64, 6),
            ({"checkpoint_minutes": 60, "spot_wait_seconds": 3600}, 3600 + 420, 64, 6),
        ],
    )
    def test_checkpoints_are_reserved_by_rank_and_interval(
        self, wanted: dict[str, Any], seconds: int, rank: int, minutes: int
    ) -> None:
        assert allow(**wanted).worst.other_cents == SMALL + checkpoint_cents(7200 + seconds, rank, minutes)


class TestClamped:
    @given(
        left=st.integers(0, 3000),
        training=st.integers(1800, 21600),
        deadline=st.integers(MINIMUM_DEADLINE_SECONDS, 14400),
        keep=st.integers(0, 14400),
        hourly=st.decimals("0.2", "20", places=3),
        now=st.sampled_from([EARLY, LATE]),
    )
    @example(left=83, training=1800, deadline=6600, keep=0, hourly=Decimal("0.200"), now=EARLY)
    def test_the_worst_case_fits_what_is_left_and_wastes_almost_none(
        self, left: int, training: int, deadline: int, keep: int, hourly: Decimal, now: datetime
    ) -> None:
        ledger, price = ledger_with(3000 - left), replace(TRAINING, hourly_usd=hourly)
        try:
            allowance = money.allow(ledger, 3000, money.Wanted(price, price, training, deadline, 64, 10, keep), now)
        except BudgetExceeded:
            return

        assert allowance.worst.cents <= left
        assert MINIMUM_TRAINING_SECONDS <= allowance.training_seconds <= training
        assert MINIMUM_DEADLINE_SECONDS <= allowance.deadline_seconds <= deadline
        if allowance.clamped:
            # What is left over does not buy another second and its rounding. An endpoint that is cut to less than the
            # small items hold also frees what Ask would have cost with it, and that stays unspent.
            given_seconds = allowance.worst.endpoint_seconds
            wanted_seconds = given_seconds - allowance.deadline_seconds + deadline
            freed = asking_cents(wanted_seconds) - asking_cents(given_seconds)
            assert left - allowance.worst.cents <= price.cents(1) + 3 + freed * len(allowance.months)
        # What was allowed can be reserved.
        ledger.reserve(reservation("a", allowance.worst.cents, *allowance.months), 3000, now)

    def test_the_shortest_useful_run_gets_the_last_cent(self) -> None:
        last = allow(367)

        assert (last.worst.cents, last.training_seconds) == (367, MINIMUM_TRAINING_SECONDS)
        assert MINIMUM_DEADLINE_SECONDS <= last.deadline_seconds < MINIMUM_DEADLINE_SECONDS + 60
        with pytest.raises(BudgetExceeded, match=r": \$0\.01 is missing"):
            allow(366)

    @pytest.mark.parametrize("now", [EARLY, LATE])
    @pytest.mark.parametrize("short", [1, 50, 100, 137])
    def test_a_clamped_training_is_as_long_as_the_cap_allows(self, now: datetime, short: int) -> None:
        cap = allow(AMPLE, now=now).worst.cents - short
        allowance = allow(cap, now=now)

        assert allowance.training_seconds > MINIMUM_TRAINING_SECONDS
        assert (allowance.clamped, allowance.deadline_seconds) == (True, 3600)
        assert allow(cap + short, now=now) == allow(AMPLE, now=now)
        assert allowance.worst.cents <= cap < with_seconds(allowance, training=1).cents

    @pytest.mark.parametrize("now", [EARLY, LATE])
    @pytest.mark.parametrize("short", [1, 10, 20])
    def test_a_clamped_deadline_is_as_long_as_the_cap_allows(self, now: datetime, short: int) -> None:
        # With training cut to the least; its checkpoints are reserved as for the requested training.
        whole, cut = allow(AMPLE, now=now).worst, allow(AMPLE, training=MINIMUM_TRAINING_SECONDS, now=now).worst
        enough = replace(cut, other_cents=whole.other_cents).cents
        allowance = allow(enough - short, now=now)

        assert allow(enough, now=now).deadline_seconds == 3600
        assert allowance.training_seconds == MINIMUM_TRAINING_SECONDS
        assert allowance.clamped and MINIMUM_DEADLINE_SECONDS < allowance.deadline_seconds < 3600
        seconds = MINIMUM_TRAINING_SECONDS + allowance.deadline_seconds + UNBILLED_ALLOWANCE_SECONDS
        assert allowance.tear_down_at == now + timedelta(seconds=seconds)
        assert allowance.worst.cents <= enough - short < with_seconds(allowance, endpoint=1).cents


class TestRefused:
    @pytest.mark.parametrize(
        ("cap", "committed", "words"),
        [
            (CAP, CAP - 100, "cost $3.67, but $1.00 of the cap's $25.00 for runs is left in 2026-11: $2.67 is missing"),
            (CAP, CAP - 100, "start a new execution on 2026-12-01"),
            (200, 0, "Set budget_usd in cdk.json to at least 5 and run make deploy"),  # waiting would not help
            (500, 2000, "but $0.00 of the cap's $5.00 for runs is left"),
        ],
    )
    def test_the_missing_amount_and_the_way_out_are_named(self, cap: int, committed: int, words: str) -> None:
        with pytest.raises(BudgetExceeded, match=words.replace("$", r"\$")):
            allow(cap, committed)

    def test_an_unreadable_item_takes_this_cap_and_no_other(self) -> None:
        ledger = FakeLedger()
        ledger.table.rows["RUN#captune-lost"] = LOST
        with pytest.raises(BudgetExceeded, match=r"\$3\.67 is missing.*items of captune-lost are damaged"):
            money.allow(ledger, 500, money.Wanted(TRAINING, HOSTING, 7200, 3600, 64, 10), EARLY)


class TestTheEndOfTheMonth:
    @pytest.mark.parametrize("keep", [0, 3600])
    def test_a_run_lies_in_each_month_that_it_may_reach(self, keep: int) -> None:
        # The endpoint's deadline may begin as late as the tear-down of the whole run is due.
        longest = 7200 + UNBILLED_ALLOWANCE_SECONDS + 2 * (3600 + TEAR_DOWN_ALLOWANCE_SECONDS) + keep
        last = datetime(2026, 12, 1, tzinfo=UTC) - timedelta(seconds=longest)
        # And ReserveBudget may come half an hour later.
        both, before = (allow(now=last - timedelta(seconds=1800 + more), keep=keep) for more in (0, 1))

        assert (before.months, before.reserve_by) == (("2026-11",), last)
        assert (both.months, both.reserve_by) == (("2026-11", "2026-12"), last + timedelta(days=31))

    def test_the_fuller_of_the_two_months_decides(self) -> None:
        with pytest.raises(BudgetExceeded, match="left in 2026-11 and 2026-12.*start a new execution on 2027-01-01"):
            allow(CAP, CAP - 100, "2026-12", now=LATE)

    def test_crossing_it_costs_the_rounding_and_the_small_items_twice(self) -> None:
        assert allow(now=LATE).worst.cents == allow().worst.cents + 1 + 1 + SMALL + 56


PLAN: Any = {
    "startedAt": "2026-11-24T11:00:00+00:00",
    "runName": "captune-abc",
    "executionArn": arn("abc"),
    "definitionVersion": "v1",
    "budget": {"worstCaseCents": 600, "months": ["2026-11"], "ledgerDetails": {**DETAILS, "execution_name": "abc"}},
}
# What a month of this cap costs beside its runs.
STANDING = 65


def reserve(cents: int = 600, **changes: Any) -> Any:
    """ReserveBudget, with a plan of whatever form; None removes a field."""
    details = {**PLAN["budget"]["ledgerDetails"], "other_cents": cents - 594}
    plan: Any = {**PLAN, **changes, "budget": {**PLAN["budget"], "worstCaseCents": cents, "ledgerDetails": details}}
    plan = {key: value for key, value in plan.items() if value is not None}
    return handler.handle(plan, None)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    ledger = FakeLedger()
    monkeypatch.setattr(handler, "client", {"dynamodb": ledger.table}.__getitem__)
    monkeypatch.setattr(handler, "now", lambda: NOW)
    for name, value in {"LEDGER_TABLE": "ledger", "CAP_CENTS": "1000", "DEFINITION_VERSION": "v1"}.items():
        monkeypatch.setenv(name, value)
    return ledger


def test_the_worst_case_is_set_aside(ledger: FakeLedger, capsys: pytest.CaptureFixture[str]) -> None:
    assert reserve() == {"reservedCents": 600, "committedCents": 600 + STANDING, "capCents": 1000}
    item: Any = ledger.run("captune-abc")
    assert (item["state"], item["execution_arn"], item["execution_name"]) == ("reserved", arn("abc"), "abc")
    assert item.items() >= DETAILS.items()
    line, metric = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line == {
        "message": "reserved", "run": "captune-abc", "cents": 600, "committed_cents": 600 + STANDING, "cap_cents": 1000,
    }  # fmt: skip
    assert (metric["CommittedCents"], metric["CapCents"]) == (600 + STANDING, 1000)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Captune"


def test_a_damaged_item_counts_as_the_whole_cap_of_this_deployment(ledger: FakeLedger) -> None:
    reserve()
    ledger.table.rows["RUN#captune-lost"] = LOST
    assert ledger.committed_cents("2026-11", 1000) == 1000 + 600
    assert reserve()["committedCents"] == 1000 + 600 + STANDING


@pytest.mark.parametrize(("late", "fits"), [(0, True), (1, False)])
def test_a_plan_whose_months_no_longer_fit_reserves_nothing(ledger: FakeLedger, late: int, fits: bool) -> None:
    last = (NOW - timedelta(seconds=late)).isoformat()
    plan: Any = {**PLAN, "budget": {**PLAN["budget"], "months": ["2026-11", "2026-12"], "reserveBy": last}}
    words = "planned at 2026-11-24T11.* for 2026-11 and 2026-12. "
    with nullcontext() if fits else pytest.raises(PlanExpired, match=words):
        handler.handle(plan, None)
    assert bool(ledger.table.rows) is fits


@pytest.mark.parametrize("version", ["v0", "", None])
def test_a_plan_of_another_deployment_reserves_nothing(ledger: FakeLedger, version: str | None) -> None:
    with pytest.raises(DeployInProgress, match="start a new execution"):
        reserve(definitionVersion=version)
    assert ledger.table.rows == {}


def test_the_projects_own_cost_is_set_aside_before_any_run(ledger: FakeLedger) -> None:
    assert costs.standing_cents(1000) == STANDING
    with pytest.raises(BudgetExceeded, match=r"cap's \$9.35 for runs is left .* budget_usd in cdk.json to at least 11"):
        reserve(1000 - STANDING + 1)
    assert ledger.run("captune-abc") is None
    assert reserve(1000 - STANDING)["committedCents"] == 1000


def test_a_ledger_that_rejects_the_function_is_named_with_its_reason(ledger: FakeLedger) -> None:
    def denied(operation: str) -> str:
        raise refusal("AccessDeniedException", "not authorized to perform dynamodb:PutItem")

    ledger.table.trouble = denied
    with pytest.raises(ServiceUnreachable, match="Reserving the money in the ledger failed .*dynamodb:PutItem"):
        reserve()
