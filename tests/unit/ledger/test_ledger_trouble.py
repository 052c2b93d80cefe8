"""The ledger when items are damaged, and when calls collide, are throttled, lose their answers, or meet."""

from datetime import timedelta, timezone
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from common.clock import written
from common.errors import BudgetExceeded, ExtensionRefused, LedgerDamaged, ServiceUnreachable
from common.ledger import keys
from common.ledger.changes import Booking, ending
from common.ledger.seal import opened, sealed
from tests.doubles.lambda_fakes import NOW, refusal
from tests.doubles.ledger_fakes import CAP, DETAILS, FakeLedger, booking, reservation
from verification.simulation.faults import CONFLICT, LOST_ANSWER

KEPT: Any = {**DETAILS, "keep_endpoint_seconds": 60, "keep_until": (NOW + timedelta(hours=1)).isoformat()}


def refusing(operation: str, code: str, *reasons: str) -> FakeLedger:
    """A ledger over a table that refuses an operation with a code of DynamoDB."""

    def refuse(**request: Any) -> Any:
        more: Any = {"CancellationReasons": [{"Code": reason} for reason in reasons]} if reasons else {}
        raise refusal(code, **more)

    ledger = FakeLedger()
    setattr(ledger.table, operation, refuse)
    return ledger


class TestTrouble:
    def test_collisions_are_repeated_after_pauses_that_double(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: (low, high))
        collisions = iter([CONFLICT] * 11)
        ledger = FakeLedger()
        ledger.table.trouble = lambda called: next(collisions, None) if called == "TransactWriteItems" else None
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587
        assert ledger.pauses == [(0, longest) for longest in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 5)]

    @pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_a_ledger_that_is_always_busy_says_so(self, code: str) -> None:
        ledger = refusing("transact_write_items", "TransactionCanceledException", "None", code)
        with pytest.raises(ServiceUnreachable, match="^The ledger was busy .* Try again in a minute.$"):
            ledger.reserve(reservation("a", 587), CAP, NOW)

    def test_a_month_that_changes_in_every_attempt_is_called_busy(self) -> None:
        ledger = FakeLedger()

        def another_run_reserves(operation: str) -> None:
            if operation == "TransactWriteItems":
                changed = {"pk": "MONTH#2026-11", "committed_cents": len(ledger.pauses)}
                ledger.table.rows["MONTH#2026-11"] = sealed(changed)

        ledger.table.pause = another_run_reserves
        with pytest.raises(ServiceUnreachable, match="busy"):
            ledger.reserve(reservation("a", 1), CAP, NOW)
        assert len(ledger.pauses) == 12

    @pytest.mark.parametrize(
        "code",
        ["InternalServerError", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ServiceUnavailable",
         "ThrottlingException", "TransactionInProgressException"],
    )  # fmt: skip
    def test_passing_errors_of_dynamodb_are_retried_by_the_state_machine(self, code: str) -> None:
        with pytest.raises(ServiceUnreachable):
            refusing("get_item", code).run("captune-a")

    @pytest.mark.parametrize("code", ["AccessDeniedException", "TransactionCanceledException"])
    def test_other_errors_of_dynamodb_are_not_hidden(self, code: str) -> None:
        with pytest.raises(ClientError, match=code):
            refusing("transact_write_items", code).reserve(reservation("a", 587), CAP, NOW)

    @pytest.mark.parametrize("operation", ["GetItem", "Scan", "TransactWriteItems"])
    def test_trouble_of_any_call_is_named(self, operation: str) -> None:
        ledger = FakeLedger()
        ledger.table.trouble = lambda called: LOST_ANSWER if called == operation else None
        with pytest.raises(ServiceUnreachable, match="did not answer"):
            ledger.reserve(reservation("a", 587), CAP, NOW)


class TestTwoRunsAtOnce:
    """Each race with its one moment."""

    @pytest.mark.parametrize("deleted", [True, False])
    def test_a_run_reserved_between_reading_and_writing_counts(self, deleted: bool) -> None:
        ledger = FakeLedger()
        ledger.reserve(reservation("earlier", 1500), CAP, NOW)
        if deleted:
            del ledger.table.rows["MONTH#2026-11"]
        ledger.before_a_write(lambda: ledger.reserve(reservation("rival", 700), CAP, NOW))

        with pytest.raises(BudgetExceeded, match=r"\$3.00 of the cap's \$25.00 for runs is left"):
            ledger.reserve(reservation("mine", 700), CAP, NOW)
        assert ledger.table.rows["MONTH#2026-11"]["committed_cents"] == {"N": "2200"}

    def test_a_run_reserved_while_an_endpoint_is_extended_counts(self) -> None:
        ledger = FakeLedger()
        ledger.reserve(reservation("a", 600, **KEPT), CAP, NOW)
        ledger.before_a_write(lambda: ledger.reserve(reservation("rival", 700), CAP, NOW))

        item: Any = ledger.extend("captune-a", 60, CAP, NOW)
        assert ledger.table.rows["MONTH#2026-11"]["committed_cents"] == {"N": str(700 + item["reserved_cents"])}
        assert len(ledger.pauses) == 1

    @pytest.mark.parametrize("before", [None, 91])
    def test_of_recordings_that_meet_the_second_goes_by_what_the_first_noted(self, before: int | None) -> None:
        ledger = FakeLedger()
        ledger.reserve(reservation("a", 587), CAP, NOW)
        if before:
            ledger.settle("captune-a", booking({"2026-11": before}), NOW)

        def noting(job: str) -> Any:
            """A settlement that knows one job, at ten cents each."""

            def book(item: Any) -> Booking:
                known = sorted({job, *item.get("training_jobs", "").split()})
                return Booking({"2026-11": 10 * len(known)}, {"training_jobs": " ".join(known)})

            return book

        ledger.before_a_write(lambda: ledger.settle("captune-a", noting("theirs"), NOW))
        item: Any = ledger.settle("captune-a", noting("mine"), NOW)
        assert (item["training_jobs"], item["actual_cents"]) == ("mine theirs", 20)
        assert ledger.committed_cents("2026-11") == 20


def test_what_stays_as_it_was_read_is_not_written() -> None:
    ledger = FakeLedger()
    ledger.reserve(reservation("a", 600), CAP, NOW)
    booked: Any = booking({"2026-11": 40}, {"training_jobs": "captune-a"}), NOW
    item = ledger.settle("captune-a", *booked)
    changes: list[Any] = []
    ledger.table.observe = changes.append
    assert ledger.settle("captune-a", *booked) == ledger.update("captune-a", dict) == item
    assert changes == []


def test_an_unsealed_item_is_accepted_as_it_is_at_the_moment_of_writing() -> None:
    ledger = FakeLedger()
    ledger.reserve(reservation("a", 600), CAP, NOW)
    item: Any = ledger.run("captune-a")
    ledger.damage("RUN#captune-a", "seal", {})
    ledger.before_a_write(lambda: ledger.accept("RUN#captune-a", lambda row: {**item, "note": "theirs"}))

    accepted = ledger.accept("RUN#captune-a", lambda row: (row and row.item) or item)
    assert accepted == ledger.run("captune-a") == {**item, "note": "theirs"}


def test_an_extension_between_a_recordings_read_and_its_write_is_given_back() -> None:
    ledger = FakeLedger()
    ledger.reserve(reservation("a", 600, **KEPT), CAP, NOW)
    ledger.before_a_write(lambda: ledger.extend("captune-a", 1800, CAP, NOW))

    ledger.settle("captune-a", booking({"2026-11": 40}), NOW)
    assert ledger.table.rows["MONTH#2026-11"]["committed_cents"] == {"N": "40"}


def test_a_removal_that_begins_ends_what_may_be_extended() -> None:
    begun: Any = {"state": "reserved", "reserved_at": "2026-11-24T11:00:00+00:00"}
    ended: Any = {**begun, "keep_until": begun["reserved_at"]}
    kept: Any = {**begun, "keep_until": "2026-11-24T12:30:00+00:00"}
    assert ending(kept, NOW) == ending(begun, NOW) == ended
    assert ending(ended, NOW + timedelta(minutes=31)) == ended
    assert ending({"state": "settled"}, NOW) == {"state": "settled"}


def test_an_unsealed_item_that_appears_before_a_write_is_not_overwritten() -> None:
    ledger = FakeLedger()
    unsealed = {"pk": {"S": "RUN#captune-a"}, "note": {"S": "by hand"}}
    ledger.before_a_write(lambda: ledger.table.rows.update({"RUN#captune-a": unsealed}))
    with pytest.raises(LedgerDamaged):
        ledger.reserve(reservation("a", 600), CAP, NOW)
    assert ledger.table.rows["RUN#captune-a"] == unsealed


def test_a_stop_between_an_extensions_read_and_its_write_wins() -> None:
    ledger = FakeLedger()
    ledger.reserve(reservation("a", 600, **KEPT), CAP, NOW)
    later = NOW + timedelta(seconds=5)  # the extension has read its clock before
    ledger.before_a_write(lambda: ledger.update("captune-a", lambda item: ending(item, later)))

    with pytest.raises(ExtensionRefused, match="it is over"):
        ledger.extend("captune-a", 60, CAP, NOW)
    assert ledger.committed_cents("2026-11") == 600


class TestSeals:
    ITEM: ClassVar[dict[str, Any]] = {"pk": "MONTH#2026-11", "committed_cents": 587}

    def test_the_seals_of_existing_tables_stay(self) -> None:
        raw = {"pk": {"S": "MONTH#2026-11"}, "committed_cents": {"N": "587"}}
        whole: Any = {**raw, "seal": {"S": "0b6d60eb5701262ef8d9d151646d08c1"}}
        assert sealed(self.ITEM) == whole
        assert opened(dict(reversed(whole.items()))) == self.ITEM

    @pytest.mark.parametrize(
        "change",
        [{"pk": {"S": "MONTH#2026-12"}}, {"committed_cents": {"S": "587"}}, {"committed_cents": {"N": "588"}}, {"more": {"N": "1"}}],
    )  # fmt: skip
    def test_a_seal_fits_nothing_else(self, change: Any) -> None:
        assert opened({**sealed(self.ITEM), **change}) is None


def test_the_keys_of_existing_tables_stay() -> None:
    names = [keys.of_run("captune-a"), keys.of_month("2026-11"), keys.of_starts("2026-11"), "XRUN#"]
    assert {name: (keys.run_in(name), keys.month_in(name), keys.starts_in(name)) for name in names} == {
        "RUN#captune-a": ("captune-a", None, None),
        "MONTH#2026-11": (None, "2026-11", None),
        "STARTS#2026-11": (None, None, "2026-11"),
        "XRUN#": (None, None, None),
    }


def test_moments_are_written_in_utc() -> None:
    assert written(NOW.astimezone(timezone(timedelta(hours=9)))) == "2026-11-24T12:00:00+00:00"
