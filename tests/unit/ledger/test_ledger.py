"""The ledger's arithmetic and its conditional writes, over moto's DynamoDB and over the simulation's table."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import boto3
import pytest
from moto import mock_aws

from common.errors import BudgetExceeded, ExtensionRefused, LedgerDamaged, RunNameTaken, TooManyStarts
from common.ledger.ledger import HIGHEST_CAP_CENTS, dollars, way_out
from common.ledger.rows import Row, cents_by_month
from common.ledger.seal import _digest
from stacks.configuration.settings import Settings, SettingsError
from tests.doubles.lambda_fakes import NOW
from tests.doubles.ledger_fakes import CAP, DETAILS, FakeLedger, booking, empty_table, reservation

NOON, LATER = "2026-11-24T12:00:00+00:00", "2026-11-24T13:00:00+00:00"
BOTH = ("2026-11", "2026-12")


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    """A client of an empty account: making one takes longer than a test."""
    with mock_aws():
        yield boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


@pytest.fixture(params=["moto", "in memory"])
def ledger(request: pytest.FixtureRequest, account: Any) -> FakeLedger:
    return FakeLedger(empty_table(account) if request.param == "moto" else None)


def written_cents(ledger: FakeLedger, month: str = "2026-11") -> Any:
    """What the item of a month holds."""
    key = {"pk": {"S": f"MONTH#{month}"}}
    return ledger.table.get_item(TableName="ledger", Key=key, ConsistentRead=True)["Item"]["committed_cents"]


def committed(ledger: FakeLedger) -> tuple[int, int]:
    return ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")


def by_month(cents: tuple[int, int | None]) -> dict[str, int]:
    """Cents by month; None for a month in which nothing was billed."""
    return {month: each for month, each in zip(BOTH, cents, strict=True) if each is not None}


class TestReserving:
    @pytest.mark.parametrize(
        ("earlier", "cents", "cap", "fits"),
        [
            (2000, 500, CAP, True),
            (2000, 501, CAP, False),
            (0, CAP, CAP, True),
            (0, CAP + 1, CAP, False),
            (2000, 1000, 3000, True),  # a raised cap counts at once, and so does a lowered one
            (2000, 1, 1000, False),
        ],
    )
    def test_the_last_cent_of_the_cap_can_be_reserved(
        self, ledger: FakeLedger, earlier: int, cents: int, cap: int, fits: bool
    ) -> None:
        if earlier:
            ledger.reserve(reservation("earlier", earlier), CAP, NOW)
        left = rf"\{dollars(max(0, cap - earlier))} of the cap's \{dollars(cap)} for runs is left"
        with nullcontext() if fits else pytest.raises(BudgetExceeded, match=left):
            ledger.reserve(reservation("a", cents), cap, NOW)

        assert ledger.committed_cents("2026-11") == earlier + fits * cents
        assert len(ledger.rows()) == bool(earlier) + fits

    @pytest.mark.parametrize(("cents", "later_cap"), [(587, CAP), (CAP, CAP), (2000, 100)])
    def test_a_repeated_reservation_changes_nothing(self, ledger: FakeLedger, cents: int, later_cap: int) -> None:
        first = ledger.reserve(reservation("a", cents), CAP, NOW)

        assert ledger.reserve(reservation("a", cents), later_cap, NOW.replace(hour=19)) == first
        assert ledger.committed_cents("2026-11") == cents

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_used_run_name_is_rejected(self, ledger: FakeLedger, settled: bool) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        if settled:
            ledger.settle("captune-a", booking({"2026-11": 40}), NOW)
        with pytest.raises(RunNameTaken, match=r"already uses the run name captune-a.* other letters and digits\.$"):
            ledger.reserve(reservation("a", 100, execution="a" if settled else "other"), CAP, NOW)

        assert ledger.committed_cents("2026-11") == (40 if settled else 100)

    def test_a_run_over_the_months_end_needs_room_in_both_months(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 2400, "2026-12"), CAP, NOW)
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(reservation("b", 200, *BOTH), CAP, NOW)

        assert committed(ledger) == (0, 2400)
        assert str(refused.value) == (
            "This run may cost up to $2.00, but $1.00 of the cap's $25.00 for runs is left in 2026-11 and 2026-12: $1.00 is missing. Wait until a "
            "run in flight ends, raise budget_usd in cdk.json and run make deploy, or start a new execution on 2027-01-01."
        )
        ledger.reserve(reservation("c", 100, *BOTH), CAP, NOW)
        assert committed(ledger) == (100, 2500)

    @pytest.mark.parametrize(
        ("cents", "in_months", "advice"),
        [
            (CAP + 1, {"2026-11": 0}, "Set budget_usd in cdk.json to at least 27 and run make deploy."),
            (CAP, {"2026-11": 1}, "start a new execution on 2026-12-01."),
            (100, {"2026-11": 2450, "2026-12": 0}, "start a new execution on 2026-12-01."),
            (100, {"2026-11": 2450, "2026-12": 2500}, "start a new execution on 2027-01-01."),
            (200, {"2026-11": CAP - 199, "2026-12": CAP - 200}, "start a new execution on 2026-12-01."),
        ],
    )
    def test_waiting_is_advised_only_where_it_helps(self, cents: int, in_months: dict[str, int], advice: str) -> None:
        words = way_out(cents, CAP, in_months)

        assert words.endswith(advice)
        assert ("Wait until a run in flight" in words) == (cents <= CAP)

    @pytest.mark.parametrize(("cents", "words"), [(0, "$0.00"), (7, "$0.07"), (1234, "$12.34"), (-250, "-$2.50")])
    def test_cents_are_shown_as_dollars(self, cents: int, words: str) -> None:
        assert dollars(cents) == words


class TestExtending:
    """An endpoint that is kept until one o'clock, with two dollars set aside beside its hours."""

    def keep(self, ledger: FakeLedger, *months: str, **details: Any) -> None:
        seconds = {"max_training_seconds": 0, "max_endpoint_seconds": 9600, "keep_endpoint_seconds": 3600}
        kept: Any = {**DETAILS, **seconds, "other_cents": 196, "keep_until": LATER, **details}
        ledger.reserve(reservation("a", 600, *months, **kept), HIGHEST_CAP_CENTS, NOW)

    @pytest.mark.parametrize(("months", "more"), [(BOTH[:1], 76 + 3), (BOTH, 76 + 2 * 3)])
    def test_more_is_set_aside_in_each_month_and_the_end_moves(
        self, ledger: FakeLedger, months: tuple[str, ...], more: int
    ) -> None:
        self.keep(ledger, *months)
        before: Any = ledger.run("captune-a")

        item: Any = ledger.extend("captune-a", 1800, CAP, NOW)

        money = {"reserved_cents": 600 + more, "other_cents": 196 + more - 76}
        seconds = {"keep_endpoint_seconds": 5400, "max_endpoint_seconds": 11_400}
        longer = before | money | seconds | {"keep_until": "2026-11-24T13:30:00+00:00"}
        assert item == ledger.run("captune-a") == longer
        assert committed(ledger) == (600 + more, 600 + more if len(months) == 2 else 0)
        assert [written_cents(ledger, month) for month in months] == [{"N": str(600 + more)}] * len(months)

    def test_the_dearest_type_counts(self, ledger: FakeLedger) -> None:
        self.keep(ledger, hosting_prices="ml.g6.2xlarge=1.222 ml.g5.2xlarge=1.515")
        assert ledger.extend("captune-a", 1800, CAP, NOW)["reserved_cents"] == 679

    @pytest.mark.parametrize(("earlier", "fits"), [(CAP - 679, True), (CAP - 678, False)])
    def test_the_last_cent_of_the_cap_can_be_set_aside(self, ledger: FakeLedger, earlier: int, fits: bool) -> None:
        self.keep(ledger)
        ledger.reserve(reservation("other", earlier), HIGHEST_CAP_CENTS, NOW)
        before = ledger.run("captune-a")
        words = r"^The longer stay .* up to \$0.79, but \$0.78 of .* \$0.01 is missing"
        with nullcontext() if fits else pytest.raises(BudgetExceeded, match=words):
            ledger.extend("captune-a", 1800, CAP, NOW)
        assert (ledger.run("captune-a") == before) is not fits
        assert ledger.committed_cents("2026-11") == 600 + earlier + 79 * fits

    @pytest.mark.parametrize(
        ("details", "seconds", "words"),
        [
            ({"keep_until": NOON}, 60, "^captune-a keeps no endpoint now: it is over. Check it with captune ledger, "),
            ({"keep_endpoint_seconds": 14_400}, 60, "is kept for 240 minutes. 1 more exceed the maximum of 240"),
            ({}, 10_801, "exceed the maximum of 240"),
            ({}, 10_800, ""),
            # Hours after it was reserved.
            ({"keep_until": "2026-11-25T04:20:00+00:00"}, 2401, "exceed the maximum of 240"),
            ({"keep_until": "2026-11-25T04:20:00+00:00"}, 2400, ""),
        ],
    )
    def test_the_last_second_that_may_be_kept_is_and_no_further_one(
        self, ledger: FakeLedger, details: dict[str, Any], seconds: int, words: str
    ) -> None:
        self.keep(ledger, **details)
        with pytest.raises(ExtensionRefused, match=words) if words else nullcontext():
            ledger.extend("captune-a", seconds, CAP, NOW)
        assert (ledger.committed_cents("2026-11") == 600) is bool(words)

    @pytest.mark.parametrize("settled", [True, False])
    def test_without_a_kept_endpoint_nothing_is_set_aside(self, ledger: FakeLedger, settled: bool) -> None:
        with pytest.raises(ExtensionRefused, match="captune-a has reserved nothing"):
            ledger.extend("captune-a", 60, CAP, NOW)
        if settled:
            self.keep(ledger)
            ledger.settle("captune-a", booking({"2026-11": 40}), NOW)
        else:
            ledger.reserve(reservation("a", 40), CAP, NOW)
        words = "over" if settled else "is not in service yet, or has keepEndpointMinutes 0. "
        with pytest.raises(ExtensionRefused, match=words):
            ledger.extend("captune-a", 60, CAP, NOW)
        assert ledger.committed_cents("2026-11") == 40

    @pytest.mark.parametrize("months", [["2026-11"], ["2026-10", "2026-11"]])
    def test_a_month_in_which_nothing_was_reserved_is_not_entered(self, ledger: FakeLedger, months: list[str]) -> None:
        late = NOW.replace(day=30, hour=22)
        kept: Any = {**DETAILS, "keep_endpoint_seconds": 60, "keep_until": "2026-11-30T22:59:00+00:00"}
        ledger.reserve(reservation("a", 600, *months, **kept), CAP, late)
        ledger.extend("captune-a", 1200, CAP, late)  # and forty minutes in which it is removed
        with pytest.raises(ExtensionRefused, match=f"money only for {' and '.join(months)}"):
            ledger.extend("captune-a", 60, CAP, late)


class TestSettling:
    @pytest.mark.parametrize(
        ("months", "settlements", "booked"),
        [
            (BOTH[:1], [(91, None)], (91, None)),
            (BOTH, [(100, 50)], (100, 50)),
            (BOTH, [(100, None)], (100, None)),  # a reserved month that cost nothing is freed
            (BOTH[:1], [(100, 7)], (100, 7)),  # billed in a month that nobody foresaw
            (BOTH[:1], [(91, None), (10, None)], (10, None)),  # what was booked too high goes back
            (BOTH, [(91, 60), (95, None)], (95, 0)),  # to the month in which it was booked
            (BOTH, [(91, None), (120, 7)], (120, 7)),  # what came later is added
            (BOTH[:1], [(10, None), (20, None), (30, None), (30, None)], (30, None)),
        ],
    )
    def test_each_month_gets_what_was_billed_in_it(
        self, ledger: FakeLedger, months: Any, settlements: Any, booked: tuple[int, int | None]
    ) -> None:
        ledger.reserve(reservation("a", 587, *months), CAP, NOW)
        for each in settlements:
            item: Any = ledger.settle("captune-a", booking(by_month(each)), NOW)

        assert committed(ledger) == (booked[0], booked[1] or 0)
        assert cents_by_month(item) == by_month(booked)
        assert {month: int(written_cents(ledger, month)["N"]) for month in by_month(booked)} == by_month(booked)
        assert (item["actual_cents"], item["reserved_cents"]) == (sum(filter(None, booked)), 587)
        assert item["state"] == "settled"

    def test_a_recording_that_knows_less_gives_nothing_back(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", booking({"2026-11": 91, "2026-12": 7}, {"endpoint_seconds": 60}), NOW)
        lower = booking({"2026-11": 50, "2026-12": 9}, complete=False)
        item: Any = ledger.settle("captune-a", lower, NOW)
        assert (cents_by_month(item), item["actual_cents"]) == ({"2026-11": 91, "2026-12": 9}, 100)
        nothing = booking({}, {"endpoint_seconds": 0, "training_jobs": "one"}, complete=False)
        assert ledger.settle("captune-a", nothing, NOW) == {**item, "training_jobs": "one"}

    def test_a_later_recording_keeps_both_dates(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", booking({"2026-11": 91}, {"status": "ABORTED"}), NOW)
        again = NOW.replace(hour=20)
        item: Any = ledger.settle("captune-a", booking({"2026-11": 95}, {"status": "FAILED"}), again)

        assert (item["settled_at"], item["settled_again_at"]) == (NOW.isoformat(), again.isoformat())
        assert item["status"] == "FAILED"

    def test_what_is_recorded_is_known_though_it_cost_nothing(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", booking({"2026-11": 91}, {"training_jobs": "one"}), NOW)
        known = {"training_jobs": "one two", "endpoint_seen": '{"noneAt": "2026-11-24T12:00:00+00:00"}'}
        item: Any = ledger.settle("captune-a", booking({"2026-11": 91}, {**known, "status": "x"}), NOW)

        assert known.items() <= item.items()
        assert (item["status"], "settled_again_at" in item) == ("x", False)
        assert ledger.run("captune-a") == item

    def test_a_run_that_reserved_nothing_is_neither_recorded_nor_changed(self, ledger: FakeLedger) -> None:
        assert ledger.settle("captune-a", booking({"2026-11": 91}), NOW) is None
        assert ledger.update("captune-a", lambda item: {**item, "keep_until": NOON}) is None

        assert (ledger.rows(), ledger.run("captune-a"), committed(ledger)) == ([], None, (0, 0))

    def test_a_recording_holds_on_its_months_though_it_changes_none(self) -> None:
        ledger, written = FakeLedger(), list[Any]()
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.table.observe = written.extend
        ledger.settle("captune-a", booking({"2026-11": 587}), NOW)

        assert {key for key, _, _ in written} == {"RUN#captune-a", "MONTH#2026-11"}


def test_rejected_starts_are_bounded_and_are_no_runs(ledger: FakeLedger) -> None:
    assert [ledger.count_start("2026-11", 3) for _ in range(3)] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(
            TooManyStarts, match="3 executions started in 2026-11.*until 2026-12-01.*STARTS#2026-11 .*reset the count.$"
        ):
            ledger.count_start("2026-11", 3)
    assert ledger.count_start("2026-12", 3) == 1
    assert ledger.count_start("2026-11", 4) == 4
    assert (ledger.rows(), committed(ledger)) == ([], (0, 0))


class TestTheMonthsItem:
    """A month is what its runs add up to: an item that was deleted opens nothing."""

    def test_a_deleted_item_opens_nothing_and_is_repaired(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        ledger.delete("MONTH#2026-11")
        assert ledger.committed_cents("2026-11") == 1500
        with pytest.raises(BudgetExceeded, match=r"\$10.00 of the cap's \$25.00 .* left in 2026-11: \$0.01 is missing"):
            ledger.reserve(reservation("b", 1001), CAP, NOW)
        ledger.reserve(reservation("b", 1000), CAP, NOW)

        assert written_cents(ledger) == {"N": "2500"}

    def test_an_item_that_says_more_than_its_runs_is_believed(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 2000), CAP, NOW)
        ledger.delete("RUN#captune-a")
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("b", 501), CAP, NOW)
        ledger.reserve(reservation("b", 500), CAP, NOW)

        assert written_cents(ledger) == {"N": "2500"}

    def test_a_month_is_never_below_zero(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 700), CAP, NOW)
        ledger.delete("MONTH#2026-11")
        ledger.settle("captune-a", booking({"2026-11": 50}), NOW)
        assert (written_cents(ledger), ledger.committed_cents("2026-11")) == ({"N": "0"}, 50)

    def test_each_deleted_month_is_repaired_from_its_own_runs(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 700, *BOTH), CAP, NOW)
        ledger.reserve(reservation("b", 300, "2026-12"), CAP, NOW)
        ledger.delete("MONTH#2026-11")
        ledger.delete("MONTH#2026-12")
        assert committed(ledger) == (700, 1000)
        ledger.settle("captune-a", booking({"2026-11": 50, "2026-12": 20}), NOW)

        assert committed(ledger) == (50, 320)


DAMAGES: list[tuple[str, Any]] = [
    # Each was once read as something else than damage: as an error that stopped every run, or as nothing spent.
    ("training_instances", {"S": "1"}), ("settlements", {"S": "1"}), ("months", {"S": "2031-01"}), ("actual_cents_2026-11", {}),
    ("actual_cents_1999-11", {"N": "100"}), ("state", {"BOOL": True}), ("note", {"NULL": True}), ("note", {"B": b"\x00"}),
    ("note", {"S": "\ud800"}), ("seal", {}), ("seal", {"N": "1"}),
]  # fmt: skip


class TestDamage:
    """Whatever of an item is changed: it counts as the whole cap of every month, until a person has looked at it."""

    @pytest.mark.parametrize(("name", "value"), DAMAGES)
    def test_a_changed_run_counts_as_the_whole_cap(self, name: str, value: Any) -> None:
        ledger = FakeLedger()
        ledger.reserve(reservation("a", 1000), CAP, NOW)
        ledger.settle("captune-a", booking({"2026-11": 100}), NOW)
        ledger.damage("RUN#captune-a", name, value)
        ledger.delete("MONTH#2026-11")

        assert [ledger.committed_cents(month, CAP) for month in ("2026-10", *BOTH)] == [CAP] * 3
        assert ledger.committed_cents("2026-11") == HIGHEST_CAP_CENTS
        with pytest.raises(BudgetExceeded, match=r"\$0.00 of .* for runs is left.* items of captune-a are damaged and"):
            ledger.reserve(reservation("b", 1), CAP, NOW)
        (row,) = ledger.rows()
        assert (row.run, row.is_damaged, row.is_open, row.item) == ("captune-a", True, True, {})

    def test_a_sealed_item_that_cannot_be_read_is_damaged(self) -> None:
        ledger = FakeLedger().with_run("a").noting("captune-a", state="open")
        assert ledger.rows()[0].is_damaged
        with pytest.raises(LedgerDamaged, match="RUN#captune-a"):
            ledger.run("captune-a")

    @pytest.mark.parametrize("value", [{"BOOL": True}, {"N": "6.5"}])
    def test_a_sealed_value_of_another_type_is_damage(self, value: Any) -> None:
        content = {"pk": {"S": "RUN#captune-a"}, "note": value}
        assert Row.from_raw({**content, "seal": {"S": _digest(content)}}).is_damaged

    def test_a_rejection_names_up_to_three_damaged_items(self, ledger: FakeLedger) -> None:
        for run in "abcd":
            ledger.reserve(reservation(run, 10), CAP, NOW)
        for run in "abcd":
            ledger.damage(f"RUN#captune-{run}", "reserved_cents", {"N": "9"})

        assert ledger.damaged(["2026-11"]) == [f"captune-{run}" for run in "abcd"]
        with pytest.raises(BudgetExceeded, match=" items of captune-a, captune-b, captune-c and 1 more are damaged"):
            ledger.reserve(reservation("z", 1), CAP, NOW)

    def test_a_damaged_run_is_not_written(self, ledger: FakeLedger) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        ledger.damage("RUN#captune-a", "settlements", {"S": "1"})
        for write in (
            lambda: ledger.reserve(reservation("a", 100), CAP, NOW),
            lambda: ledger.settle("captune-a", booking({"2026-11": 1}), NOW),
            lambda: ledger.extend("captune-a", 60, CAP, NOW),
            lambda: ledger.update("captune-a", lambda item: {**item, "keep_until": NOON}),
        ):
            with pytest.raises(
                LedgerDamaged, match="RUN#captune-a .* seal or an attribute is invalid.*--accept 'RUN#captune-a'"
            ):
                write()
        assert written_cents(ledger) == {"N": "100"}

    @pytest.mark.parametrize("value", [{"S": "much"}, {"N": "1"}])
    def test_a_damaged_month_is_full_and_named(self, ledger: FakeLedger, value: Any) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        ledger.damage("MONTH#2026-11", "committed_cents", value)
        assert (ledger.committed_cents("2026-11", CAP), ledger.committed_cents("2026-12", CAP)) == (CAP, 0)
        with pytest.raises(BudgetExceeded, match="items of MONTH#2026-11 are damaged"):
            ledger.reserve(reservation("b", 1), CAP, NOW)
        with pytest.raises(LedgerDamaged, match="MONTH#2026-11"):
            ledger.settle("captune-a", booking({"2026-11": 1}), NOW)

    def test_a_damaged_count_of_starts_is_named_and_no_bound(self, ledger: FakeLedger) -> None:
        ledger.count_start("2026-11", 3)
        ledger.damage("STARTS#2026-11", "starts", {"S": "many"})
        with pytest.raises(LedgerDamaged, match="STARTS#2026-11"):
            ledger.count_start("2026-11", 3)

    def test_no_cap_may_exceed_what_an_unreadable_item_counts_as(self) -> None:
        highest = HIGHEST_CAP_CENTS // 100
        assert Settings.from_context({"budget_usd": highest}).cap_cents == HIGHEST_CAP_CENTS
        with pytest.raises(SettingsError):
            Settings.from_context({"budget_usd": highest + 1})
