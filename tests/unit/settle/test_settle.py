"""SettleLedger: whose run is settled, what it reports and mails, and what it does when a service does not answer."""

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from common.clock import from_iso
from common.errors import InvalidInput, ServiceUnreachable
from common.names import run_name
from settle import notice
from settle.billing import StillRunning
from tests.doubles.lambda_fakes import MACHINE, NOW, arn, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.run_end import START, job, visit
from tests.doubles.run_end import SettledSite as Site

# What a month costs beside its runs, under a cap of 25 dollars.
STANDING = 100
# As AWS words it.
UNKNOWN_FIELD = (
    "An error occurred while executing the state 'StartTraining' (entered at the event id #32). The Parameters '{…}' could not be used to "
    'start the Task: [The field "InstancePreferences" is not supported by Step Functions]'
)
NAMELESS: dict[str, Any] = dict.fromkeys(("executionArn", "executionName", "runName", "status", "reason"))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


class TestTheAnswer:
    def test_a_success_releases_what_was_not_billed(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        site.with_report()
        outcome = site.settle()
        # 600 seconds at $1.515 an hour are 25.25 cents, rounded up; 6 cents for everything else.
        assert outcome["result"] == {
            "run": "captune-abc",
            "status": "SUCCEEDED",
            "verdict": "improved",
            "actualCents": 32,
            "leftCents": 2468 - STANDING,
        }
        assert outcome["subject"] == "Captune: improved on held-out documents, $0.32 (captune-abc)"
        assert outcome["record"] == {
            "run": "captune-abc", "executionArn": arn("abc"), "ownsPrefix": True, "status": "SUCCEEDED", "error": "",
            "cause": "", "verdict": "improved", "reason": "The loss fell.",
            "secondsByState": {"Preflight": 5.0, "DescribeTraining": 1.0}, "unreserved": [], "leftAlone": [],
            "cost": {
                "reserved_cents": 600, "actual_cents": 32, "training_cents": 26, "endpoint_cents": 0, "other_cents": 6,
                "training_seconds": 600, "endpoint_seconds": 0, "remaining_cents": 2468 - STANDING, "cap_cents": 2500,
                "month": "2026-11",
            },
        }  # fmt: skip
        assert site.ledger.committed_cents("2026-11") == 32
        kept = ("status", "training_seconds", "endpoint_seconds", "training_cents", "endpoint_cents", "other_cents")
        assert [site.item[name] for name in kept] == ["SUCCEEDED", 600, 0, 26, 0, 6]
        (line,) = logged(capsys, "cost recorded")
        recorded = {key: outcome["record"][key] for key in ("run", "status", "cost", "unreserved")}
        assert line == {"message": "cost recorded", **recorded}

    def test_resources_that_were_not_removed_are_named(self, site: Site) -> None:
        outcome = site.settle(leftAlone=["model captune-abc, because it has no tag project"])
        assert outcome["record"]["leftAlone"] == ["model captune-abc, because it has no tag project"]
        assert outcome["message"].endswith(
            "\nNot removed: model captune-abc, because it has no tag project. If it is yours, delete it in the SageMaker console."
        )

    def test_a_second_recording_changes_no_cent_and_reports_the_same(self, site: Site) -> None:
        site.with_report()
        del site.sagemaker.jobs["captune-abc"]["BillableTimeInSeconds"]
        del site.sagemaker.jobs["captune-abc"]["TrainingEndTime"]
        first, committed = site.settle(), site.ledger.committed_cents("2026-11")
        site.now += timedelta(hours=3)
        again = site.settle()
        assert (again["result"], again["message"]) == (first["result"], first["message"])
        assert site.ledger.committed_cents("2026-11") == committed

    def test_a_run_that_reserved_nothing_cost_nothing(self, site: Site) -> None:
        site.ledger.table.rows.clear()
        site.fails("EulaNotAccepted", "Read the licence.")
        outcome = site.settle(status="FAILED")
        assert (outcome["result"]["status"], outcome["result"]["verdict"]) == ("FAILED", "not shown")
        assert (outcome["result"]["actualCents"], outcome["result"]["leftCents"]) == (0, 2500 - STANDING)
        assert outcome["record"]["error"] == "EulaNotAccepted"
        assert outcome["record"]["cost"] == {
            "reserved_cents": 0, "actual_cents": 0, "training_cents": 0, "endpoint_cents": 0, "other_cents": 0,
            "remaining_cents": 2500 - STANDING, "cap_cents": 2500, "month": "2026-11",
        }  # fmt: skip

    def test_a_list_that_step_functions_does_not_know_is_told_with_its_fix(self, site: Site) -> None:
        site.fails("States.Runtime", UNKNOWN_FIELD)
        message = site.settle(status="FAILED")["message"]
        assert UNKNOWN_FIELD in message and "set one type in training_instance_type" in message

    @pytest.mark.parametrize(("reported", "status"), [("FAILED", "FAILED"), ("UNKNOWN", "UNKNOWN"), (None, "UNKNOWN")])
    def test_a_forgotten_execution_ended_as_reported(self, site: Site, reported: str | None, status: str) -> None:
        site.step_functions.executions.clear()
        for _ in range(2):
            record = site.settle(status=reported, reason="sweeper")["record"]
            assert (record["status"], record["cost"]["actual_cents"], record["secondsByState"]) == (status, 32, {})
            assert (record["error"], record["cause"], record["verdict"], record["reason"]) == ("", "", "not shown", "")

    @pytest.mark.parametrize(
        ("other_cents", "jobs", "published"),
        [
            (6, [["captune-abc"]] * 2, [32]),
            (0, [[]] * 2, [0]),
            (6, [["captune-abc"], *[["captune-abc", "captune-abc-try2"]] * 2], [32, 26]),
        ],
    )
    def test_each_cent_is_published_once(
        self, site: Site, capsys: pytest.CaptureFixture[str], other_cents: int, jobs: Any, published: list[int]
    ) -> None:
        site.reserve(other_cents=other_cents)
        for names in jobs:
            site.sagemaker.jobs = {name: job() for name in names}
            site.settle()
        metrics = logged(capsys, "metric")
        assert [(one["ActualCents"], one["UnreservedInstances"]) for one in metrics] == [(one, 0) for one in published]
        assert site.ledger.committed_cents("2026-11") == site.item["actual_cents"] == sum(published)
        assert (metrics[-1]["CommittedCents"], metrics[-1]["CapCents"]) == (sum(published) + STANDING, 2500)

    def test_a_damaged_item_counts_as_the_whole_cap_in_what_is_left(self, site: Site) -> None:
        site.ledger.table.rows["RUN#captune-lost"] = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}
        assert site.settle()["result"]["leftCents"] == 2500 - STANDING - 32 - 2500


class TestWhoseRunItIs:
    @pytest.mark.parametrize("reserved", [True, False])
    @pytest.mark.parametrize(
        "name", [{"executionArn": arn("abc")}, {"executionName": "abc"}, {"runName": "captune-abc"}]
    )
    def test_one_name_is_enough(self, site: Site, name: dict[str, str], reserved: bool) -> None:
        if not reserved:
            site.ledger.table.rows.clear()
        outcome = site.settle(**{**NAMELESS, **name})
        assert (outcome["record"]["executionArn"], outcome["result"]["run"]) == (arn("abc"), "captune-abc")
        assert (outcome["result"]["status"], outcome["result"]["actualCents"]) == ("SUCCEEDED", 32 if reserved else 0)

    @pytest.mark.parametrize("reserved", [True, False])
    def test_only_the_ledger_knows_the_execution_behind_a_hashed_name(self, site: Site, reserved: bool) -> None:
        run = run_name("My.Run")
        site.ledger.table.rows = FakeLedger().with_run("My.Run", run).table.rows if reserved else {}
        site.step_functions.executions[arn("My.Run")] = {"status": "FAILED", "error": "E", "startDate": START}
        record = site.settle(**{**NAMELESS, "runName": run})["record"]
        found = (record["executionArn"], record["status"], record["error"])
        assert found == ((arn("My.Run"), "FAILED", "E") if reserved else ("", "UNKNOWN", ""))

    def test_an_execution_that_does_not_own_the_run_is_rejected(self, site: Site) -> None:
        for told in (arn("abc").replace("123456789012", "999999999999"), arn("abc").replace("fine-tuning", "other")):
            with pytest.raises(
                InvalidInput, match=f"^{told} is not an execution of {MACHINE}. TearDown stopped nothing. Pass "
            ):
                site.settle(executionArn=told, runName="captune-abc")
        assert site.item["state"] == "reserved"

    @pytest.mark.parametrize(("later", "is_another"), [(timedelta(0), False), (timedelta(days=91), True)])
    def test_a_name_used_again_records_nothing_and_keeps_the_earlier_report(
        self, site: Site, capsys: pytest.CaptureFixture[str], later: timedelta, is_another: bool
    ) -> None:
        """Step Functions allows it after 90 days. The ledger refuses the run; its tear-down leaves the earlier one alone."""
        site.with_report()
        site.end()
        # Twice what was settled: whoever asks again what the run billed has something to book.
        site.sagemaker.jobs["captune-abc"] = job(seconds=1200)
        site.step_functions.executions[arn("abc")] = {
            "status": "FAILED", "error": "RunNameTaken", "cause": "Taken.", "startDate": NOW + later,
        }  # fmt: skip
        site.now = NOW + later + timedelta(minutes=5)
        rows, files = copy.deepcopy(site.ledger.table.rows), dict(site.s3.objects)
        capsys.readouterr()
        outcome = site.end(status="FAILED")
        assert "RunNameTaken: Taken." in outcome["message"]
        assert (site.ledger.table.rows == rows, site.s3.objects == files) == (is_another, is_another)
        assert (logged(capsys, "metric") == []) is is_another
        assert outcome["result"]["actualCents"] == (0 if is_another else 57)
        assert ("this run's name belongs to an earlier run" in outcome["message"]) is is_another
        assert outcome["subject"].endswith(f" RunNameTaken, ${'0.00' if is_another else '0.57'} (captune-abc)")


class TestWhatIsNotSettled:
    @pytest.mark.parametrize("reported", ["SUCCEEDED", "TIMED_OUT", "ABORTED", None])
    def test_a_running_execution_is_never_recorded(self, site: Site, reported: str | None) -> None:
        # Whatever a caller says: what the execution creates afterwards would never be booked.
        site.step_functions.executions[arn("abc")]["status"] = "RUNNING"
        with pytest.raises(StillRunning, match=r"abc is still RUNNING"):
            site.settle(status=reported)
        assert (site.item["state"], site.ledger.committed_cents("2026-11")) == ("reserved", 600)

    @pytest.mark.parametrize("status", ["InProgress", "Stopping"])
    def test_a_job_that_still_bills_is_not_recorded(self, site: Site, status: str) -> None:
        site.sagemaker.jobs["captune-abc"] = job(status)
        with pytest.raises(StillRunning, match=f"captune-abc is {status} and still bills"):
            site.settle()
        assert site.item["state"] == "reserved"

    @pytest.mark.parametrize(
        ("service", "operation", "words"),
        [
            ("step_functions", "describe_execution", "^Asking Step Functions how the execution ended"),
            ("step_functions", "get_execution_history", "^Asking Step Functions how the execution ended"),
            ("sagemaker", "list_training_jobs", "^Asking SageMaker what the run billed"),
            ("sagemaker", "describe_training_job", "^Asking SageMaker what the run billed"),
        ],
    )
    def test_a_silent_service_records_nothing(self, site: Site, service: str, operation: str, words: str) -> None:
        getattr(site, service).troubles[operation] = [refusal("ThrottlingException")]
        with pytest.raises(ServiceUnreachable, match=words):
            site.settle()
        assert site.item["state"] == "reserved"


def test_jobs_and_history_are_asked_for_what_is_needed_alone(site: Site) -> None:
    site.settle()
    listed = site.sagemaker.called("list_training_jobs")
    assert {one["CreationTimeAfter"] for one in listed} == {from_iso(site.item["reserved_at"]) - timedelta(days=1)}
    # The history is read for its times; the data of a long run is many pages.
    calls = site.step_functions.called("get_execution_history")
    assert {(call["executionArn"], call["includeExecutionData"]) for call in calls} == {(arn("abc"), False)}


class TestTheHistory:
    @pytest.mark.parametrize(
        ("events", "seconds"),
        [
            (visit("Wait", 10, 12) + visit("Wait", 20, 25), {"Wait": 7.0}),
            (visit("Wait", 10, 12, microseconds=123_456), {"Wait": 2.123}),
            (visit("Wait", 10, 12, microseconds=234_567), {"Wait": 2.235}),
            (visit("Ask", 400, None), {"Ask": 600.0}),  # until the execution's end
            (visit("Ask", 400, 410)[1:], {"Ask": 0.0}),
            ([{"id": 1, "type": "ExecutionStarted", "timestamp": START}, *visit("Ask", 400, 410)], {"Ask": 10.0}),
        ],
    )
    def test_the_seconds_of_each_state_are_added_up(self, site: Site, events: Any, seconds: dict[str, float]) -> None:
        site.step_functions.histories[arn("abc")] = events
        assert site.settle()["record"]["secondsByState"] == seconds

    def test_without_an_end_an_open_state_lasts_until_the_last_event(self, site: Site) -> None:
        site.step_functions.executions[arn("abc")] = {"status": "SUCCEEDED", "startDate": START}
        site.step_functions.histories[arn("abc")] = visit("Ask", 400, None) + visit("Other", 410, 470)
        assert site.settle()["record"]["secondsByState"] == {"Ask": 70.0, "Other": 60.0}

    @pytest.mark.parametrize("output", [None, "", "{", "[]", '"improved"', "7", '{"verdict": 5, "reason": null}'])
    def test_an_output_without_a_verdict_claims_nothing(self, site: Site, output: str | None) -> None:
        site.step_functions.executions[arn("abc")]["output"] = output
        record = site.settle()["record"]
        assert (record["verdict"], record["reason"]) == ("not shown", "")

    def test_a_long_cause_and_reason_are_cut(self, site: Site) -> None:
        site.step_functions.executions[arn("abc")]["output"] = json.dumps({"verdict": "v", "reason": "r" * 9000})
        assert site.settle()["record"]["reason"] == "r" * 8000
        site.fails("E", "c" * 9000)
        assert site.settle()["record"]["cause"] == "c" * 8000


COST = {
    "reserved_cents": 600, "actual_cents": 132, "training_cents": 26, "endpoint_cents": 100, "other_cents": 6,
    "remaining_cents": 2368, "cap_cents": 2500,
}  # fmt: skip
LINK = f"Execution: https://console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/{arn('abc')}"
MONEY = (
    "Cost: $1.32 of $6.00 reserved (training $0.26, endpoint $1.00, everything else $0.06).\nIt ran on two.\n"
    "Remaining budget this month: $23.68 of $25.00.\n"
    "TearDown found no further resources of this run."
)


def record(**changes: Any) -> Any:
    return {
        "run": "captune-abc", "status": "SUCCEEDED", "verdict": "improved", "reason": "The loss fell.",
        "error": "", "cause": "", "cost": COST, "unreserved": [], "leftAlone": [], "executionArn": arn("abc"), **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "improved on held-out documents"),
        ({"verdict": "not shown"}, "no improvement shown"),
        ({"verdict": "worse"}, "worse on held-out documents"),
        ({"verdict": "worse outside"}, "worse on the external test set"),
        ({"outcome": "improved, on the external test set too"}, "improved, on the external test set too"),
        ({"status": "TIMED_OUT"}, "timed out"),
        ({"status": "FAILED", "error": "QuotaTooLow"}, "failed with QuotaTooLow"),
    ],
)
def test_the_subject_has_outcome_or_error_cost_and_run(changes: dict[str, str], outcome: str) -> None:
    assert notice.subject(record(**changes)) == f"Captune: {outcome}, $1.32 (captune-abc)"


def test_a_subject_is_short_and_ascii_as_sns_demands() -> None:
    subject = notice.subject(record(run="x" * 200, verdict="é"))
    assert (len(subject), subject[:12]) == (99, "Captune: ?, ")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, "Verdict: improved. The loss fell.\nA smoke run."),
        ({"reason": ""}, "Verdict: improved.\nA smoke run."),
        ({"headline": "Improved on documents"}, "Verdict: Improved on documents. The loss fell.\nA smoke run."),
        # A run that only kept an endpoint has no verdict to limit.
        ({"verdict": "served", "reason": "The endpoint was kept."}, "The endpoint was kept."),
        ({"status": "FAILED", "verdict": "served", "error": "EndpointFailed", "cause": "See."}, "EndpointFailed: See."),
        ({"status": "FAILED", "error": "QuotaTooLow", "cause": "Ask for it."}, "QuotaTooLow: Ask for it."),
        ({"status": "FAILED", "cause": "Ask for it."}, "No error name: Ask for it."),
        ({"status": "FAILED", "error": "QuotaTooLow"}, "QuotaTooLow: no cause was given"),
    ],
)
def test_the_message_has_verdict_or_error_then_cost_then_report(changes: dict[str, str], lines: str) -> None:
    found: Any = record(unreserved=["It ran on two."], **changes)
    text = notice.message(found, ["A smoke run."], ["Report: there"])
    assert text == f"Run captune-abc ended as {found['status']}.\n{lines}\n\n{LINK}\n\n{MONEY}\n\nReport: there"
    assert notice.message(found).endswith("\nTearDown found no further resources of this run.")
