"""The words of the e-mail, from the settlement's record alone: they have to be enough where no report was written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from settle import notice
from settle.history import LONGEST_CAUSE
from tests.doubles.lambda_fakes import arn
from tests.doubles.settle_site import START, Site, visit

COST = {
    "reserved_cents": 600, "actual_cents": 132, "training_cents": 26, "endpoint_cents": 100, "other_cents": 6,
    "remaining_cents": 2368, "cap_cents": 2500,
}  # fmt: skip


def record(**changes: Any) -> Any:
    return {
        "run": "captune-abc", "status": "SUCCEEDED", "verdict": "improved", "reason": "The loss fell.", "error": "", "cause": "",
        "cost": COST, "unreserved": [], **changes,
    }  # fmt: skip


MONEY = (
    "Cost: $1.32 of $6.00 reserved (training $0.26, endpoint $1.00, everything else $0.06).\n"
    "Left of the cap of $25.00 this month: $23.68.\n"
    "Everything of this run that bills has been removed."
)


def test_a_success_tells_its_verdict_and_its_cost() -> None:
    assert notice.subject(record()) == "Captune: improved on held-out documents, $1.32 (captune-abc)"
    assert notice.message(record()) == (
        f"Run captune-abc ended as SUCCEEDED.\nVerdict: improved. The loss fell.\n\n{MONEY}"
    )


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"verdict": "not shown"}, "no improvement shown"),
        ({"verdict": "worse"}, "worse on held-out documents"),
        ({"verdict": "worse outside"}, "worse on text by others"),
        ({"outcome": "improved, on text by others too"}, "improved, on text by others too"),
    ],
)
def test_a_subject_says_on_which_text_or_what_was_found_more_closely(told: dict[str, str], outcome: str) -> None:
    assert notice.subject(record(**told)) == f"Captune: {outcome}, $1.32 (captune-abc)"


def test_the_headline_of_the_report_is_the_verdict_that_is_told() -> None:
    told = record(headline="Improved on held-out documents of the same corpus")
    assert "Verdict: Improved on held-out documents of the same corpus. The loss fell.\n" in notice.message(told)


def test_circumstances_stand_beside_the_verdict_and_the_report_at_the_end() -> None:
    assert notice.message(record(), ["A smoke run: nothing."], ["Report: there", "Fetch it: so"]) == (
        "Run captune-abc ended as SUCCEEDED.\nVerdict: improved. The loss fell.\nA smoke run: nothing.\n\n"
        f"{MONEY}\n\nReport: there\nFetch it: so"
    )


def test_a_verdict_without_a_reason_is_told_alone() -> None:
    assert "\nVerdict: improved.\n" in notice.message(record(reason=""))


@pytest.mark.parametrize(
    ("error", "cause", "line"),
    [
        ("QuotaTooLow", "Ask for it.", "QuotaTooLow: Ask for it."),
        ("", "Ask for it.", "No error name: Ask for it."),
        ("QuotaTooLow", "", "QuotaTooLow: no cause was given"),
    ],
)
def test_a_failure_tells_its_error_and_no_verdict(error: str, cause: str, line: str) -> None:
    told = record(status="TIMED_OUT", error=error, cause=cause)
    assert notice.subject(told) == "Captune: timed out, $1.32 (captune-abc)"
    # What limits a verdict says nothing where there is none.
    assert notice.message(told, ["A smoke run: nothing."]) == f"Run captune-abc ended as TIMED_OUT.\n{line}\n\n{MONEY}"


def test_what_was_not_reserved_stands_with_the_money() -> None:
    text = notice.message(record(unreserved=["It ran on two."]))
    assert "everything else $0.06).\nIt ran on two.\nLeft of the cap" in text


def test_a_subject_is_cut_to_what_sns_takes_and_keeps_to_ascii() -> None:
    subject = notice.subject(record(run="x" * 200, verdict="é"))
    assert (len(subject), subject[:12]) == (99, "Captune: ?, ")


def test_a_run_that_reserved_nothing_did_cost_nothing() -> None:
    assert notice.cost(None, 2500, 2500, "2026-11") == {
        "reserved_cents": 0, "actual_cents": 0, "training_cents": 0, "endpoint_cents": 0, "other_cents": 0,
        "remaining_cents": 2500, "cap_cents": 2500, "month": "2026-11",
    }  # fmt: skip


def test_the_cost_of_a_run_is_what_the_ledger_holds() -> None:
    parts = {"training_cents": 3, "endpoint_cents": 4, "other_cents": 5, "training_seconds": 6, "endpoint_seconds": 7}
    item: Any = {"reserved_cents": 1, "actual_cents": 2, **parts}
    assert notice.cost(item, 8, 9, "2026-11") == {**item, "remaining_cents": 8, "cap_cents": 9, "month": "2026-11"}
    del item["other_cents"]  # an item of the first deployments
    assert notice.cost(item, 8, 9, "2026-11")["other_cents"] == 0


class TestTheRecord:
    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        return Site(monkeypatch)

    def test_it_holds_what_the_report_needs(self, site: Site) -> None:
        site.with_report()
        told = site.settle()["record"]
        cost = told.pop("cost")
        assert told == {
            "run": "captune-abc", "executionArn": arn("abc"), "ownsPrefix": True, "status": "SUCCEEDED", "error": "",
            "cause": "", "verdict": "improved", "reason": "The loss fell.",
            "secondsByState": {"Preflight": 5.0, "DescribeTraining": 1.0}, "unreserved": [],
        }  # fmt: skip
        assert cost == {
            "reserved_cents": 600, "actual_cents": 32, "training_cents": 26, "endpoint_cents": 0, "other_cents": 6,
            "training_seconds": 600, "endpoint_seconds": 0, "remaining_cents": 2468 - 95, "cap_cents": 2500, "month": "2026-11",
        }  # fmt: skip

    def test_the_ledger_keeps_what_was_billed_for_what(self, site: Site) -> None:
        site.settle()
        item: Any = site.ledger.run("captune-abc") or {}
        kept = ("status", "training_seconds", "endpoint_seconds", "training_cents", "endpoint_cents", "other_cents")
        assert [item[name] for name in kept] == ["SUCCEEDED", 600, 0, 26, 0, 6]

    def test_a_state_that_was_entered_twice_adds_up_to_the_millisecond(self, site: Site) -> None:
        events = visit("Wait", 10, 12) + visit("Wait", 20, 25)
        site.step_functions.histories[arn("abc")] = events
        assert site.settle()["record"]["secondsByState"] == {"Wait": 7.0}

    def test_times_are_told_to_the_millisecond(self, site: Site) -> None:
        entered, left = visit("Wait", 10, 12)
        left["timestamp"] += timedelta(microseconds=123_456)
        site.step_functions.histories[arn("abc")] = [entered, left]
        assert site.settle()["record"]["secondsByState"] == {"Wait": 2.123}

    def test_the_history_is_read_without_what_the_states_said(self, site: Site) -> None:
        # It is looked at for its times, and the data of a long run is many pages.
        site.settle()
        calls = site.step_functions.called("get_execution_history")
        assert {(call["executionArn"], call["includeExecutionData"]) for call in calls} == {(arn("abc"), False)}

    def test_a_state_that_was_never_left_lasted_until_the_end(self, site: Site) -> None:
        site.step_functions.histories[arn("abc")] = visit("Ask", 400, None)
        assert site.settle()["record"]["secondsByState"] == {"Ask": 600.0}

    def test_without_an_end_it_lasted_until_the_last_event(self, site: Site) -> None:
        site.step_functions.executions[arn("abc")] = {"status": "SUCCEEDED", "startDate": START}
        site.step_functions.histories[arn("abc")] = visit("Ask", 400, None) + visit("Other", 410, 470)
        assert site.settle()["record"]["secondsByState"] == {"Ask": 70.0, "Other": 60.0}

    def test_an_exit_without_its_entry_lasted_no_time(self, site: Site) -> None:
        site.step_functions.histories[arn("abc")] = visit("Ask", 400, 410)[1:]
        assert site.settle()["record"]["secondsByState"] == {"Ask": 0.0}

    def test_events_of_another_kind_are_passed_over(self, site: Site) -> None:
        other = {"id": 1, "type": "ExecutionStarted", "timestamp": START}
        site.step_functions.histories[arn("abc")] = [other, *visit("Ask", 400, 410)]
        assert site.settle()["record"]["secondsByState"] == {"Ask": 10.0}

    def test_a_long_cause_and_reason_are_cut(self, site: Site) -> None:
        site.with_report()
        site.step_functions.executions[arn("abc")]["output"] = '{"verdict": "v", "reason": "' + "r" * 9000 + '"}'
        assert len(site.settle()["record"]["reason"]) == LONGEST_CAUSE
        site.fails("E", "c" * 9000)
        assert len(site.settle()["record"]["cause"]) == LONGEST_CAUSE

    def test_what_is_logged_names_the_run(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        site.settle()
        (line,) = [line for line in capsys.readouterr().out.splitlines() if '"settled"' in line]
        assert '"run": "captune-abc", "status": "SUCCEEDED"' in line and '"unreserved": []' in line

    @pytest.mark.parametrize("output", [None, "", "no JSON", "[]", "7", '{"verdict": 5}', '{"reason": null}'])
    def test_an_output_that_tells_no_verdict_claims_nothing(self, site: Site, output: str | None) -> None:
        site.step_functions.executions[arn("abc")]["output"] = output
        told = site.settle()["record"]
        assert (told["verdict"], told["reason"]) == ("not shown", "")
