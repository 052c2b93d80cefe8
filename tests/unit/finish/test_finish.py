"""What a person gets of a settled run: the report's status and cost, or a failure's reason, and the e-mail."""

import json
import sys

import pytest

from common.errors import ReportDamaged
from tests.doubles.lambda_fakes import arn
from tests.doubles.run_end import SettledSite as Site
from tests.doubles.run_end import visit

FOLDER = "runs/captune-abc/"
SUMMARY, PLAN = ("bucket", f"{FOLDER}report/summary.json"), ("bucket", f"{FOLDER}plan.json")
IDENTITY = {"execution_arn": arn("abc")}
DAMAGED = {
    "an empty summary": (SUMMARY, b""),
    "no text": (SUMMARY, b"\xff\xfe\x00"),
    "nested without end": (SUMMARY, b'{"a":' * 100_000),
    "a summary without its keys": (SUMMARY, json.dumps(IDENTITY).encode()),
    "a summary of another form": (SUMMARY, json.dumps({**IDENTITY, "cost": [], "prompts": 5}).encode()),
    "an empty plan": (PLAN, b""),
    "a plan of another form": (PLAN, json.dumps({"executionArn": arn("abc"), "budget": ["odd"]}).encode()),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Site:
    """A run that has ended and was not settled yet."""
    return Site(monkeypatch)


@pytest.fixture
def site(bare: Site) -> Site:
    """The same with the report that WriteReport made."""
    bare.with_report()
    return bare


class TestReport:
    def test_it_gets_status_cost_and_times(self, site: Site) -> None:
        repeated = [event for n in range(50) for event in visit("DescribeTraining", n * 30, n * 30 + 1)]
        site.step_functions.histories[arn("abc")] = [*visit("Preflight", 0, 5), *repeated]
        site.end()
        document = site.report()
        assert (document["status"], document["verdict"], document["error"]) == ("SUCCEEDED", "improved", None)
        assert document["seconds_by_state"] == {"Preflight": 5.0, "DescribeTraining": 50 * 1.0}
        cost = document["cost"]
        assert (cost["reserved_cents"], cost["actual_cents"], cost["training_cents"]) == (600, 32, 26)
        assert (cost["endpoint_cents"], cost["other_cents"]) == (0, 6)
        assert (cost["remaining_cents"], cost["cap_cents"]) == (2468 - 100, 2500)
        files = {key for _, key in site.s3.objects}
        assert files >= {f"{FOLDER}report/report.{ending}" for ending in ("html", "pdf")}

    def test_report_of_an_earlier_execution_is_not_taken_over(self, site: Site) -> None:
        site.s3.objects[SUMMARY] = site.s3.objects[SUMMARY].replace(arn("abc").encode(), b"arn:of:an:older:abc")
        site.fails("WeightsNotFound", "No weights.")
        site.end(status="FAILED")
        assert (site.report()["verdict"], site.report()["error"]) == ("not shown", "WeightsNotFound")

    def test_forgotten_execution_gets_a_report_of_the_same_form(self, bare: Site) -> None:
        bare.step_functions.executions.clear()
        bare.end(status=None)
        assert (bare.report()["status"], bare.report()["error"]) == ("UNKNOWN", "UNKNOWN")


class TestFailure:
    def test_it_gets_a_report_with_its_reason(self, bare: Site) -> None:
        bare.fails("TrainingFailed", "Training job captune-abc ended as Failed: disk full.")
        bare.step_functions.histories[arn("abc")] += visit("WaitForTraining", 10, None)
        outcome = bare.end(status="FAILED")
        document = bare.report()
        assert (document["status"], document["error"], document["verdict"]) == ("FAILED", "TrainingFailed", "not shown")
        assert document["cause"] == "Training job captune-abc ended as Failed: disk full."
        assert document["seconds_by_state"]["WaitForTraining"] == 990.0
        assert "TrainingFailed: Training job captune-abc ended as Failed: disk full." in outcome["message"]
        assert outcome["subject"] == "Captune: failed with TrainingFailed, $0.32 (captune-abc)"

    def test_after_the_report_it_keeps_the_figures(self, site: Site) -> None:
        site.fails("", "", status="ABORTED")
        assert site.end(status="ABORTED")["subject"] == "Captune: aborted, $0.32 (captune-abc)"
        assert (site.report()["status"], site.report()["verdict"]) == ("ABORTED", "improved")


class TestDamage:
    @pytest.mark.parametrize(("file", "content"), DAMAGED.values(), ids=DAMAGED)
    def test_a_damaged_file_is_a_named_error(self, bare: Site, file: tuple[str, str], content: bytes) -> None:
        bare.s3.objects[file] = content
        bare.fails("WeightsNotFound", "No weights.")
        with pytest.raises(ReportDamaged, match=rf"{file[1].rpartition('/')[2]} is damaged \("):
            bare.end(status="FAILED")

    def test_a_run_that_succeeded_has_its_report(self, bare: Site) -> None:
        with pytest.raises(ReportDamaged, match="none of this execution, though it succeeded"):
            bare.end()


class TestMessage:
    def test_of_a_run_that_only_served_it_says_so_and_no_report_is_written(self, bare: Site) -> None:
        said = "It served the adapter s3://bucket/a/ and asked nothing."
        bare.step_functions.executions[arn("abc")]["output"] = json.dumps({"verdict": "served", "reason": said})
        outcome = bare.end()
        assert outcome["subject"] == "Captune: served, $0.32 (captune-abc)"
        assert f"ended as SUCCEEDED.\n{said}\n" in outcome["message"]
        assert outcome["message"].endswith("No report was written: this run asked no prompts.")
        assert outcome["verdict"] == "served"
        assert SUMMARY not in bare.s3.objects

    def test_it_says_which_file_could_not_be_made(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "typst", None)
        sentence = "report.pdf could not be made, report.html has the same content: the package typst is missing"
        assert sentence in site.end()["message"]
        assert site.report()["cost"]["actual_cents"] == 32

    def test_it_has_the_reports_verdict_and_place(self, site: Site) -> None:
        outcome = site.end()
        assert outcome["subject"] == "Captune: improved on held-out documents, $0.32 (captune-abc)"
        assert "Run captune-abc ended as SUCCEEDED.\nVerdict: improved. The loss fell." in outcome["message"]
        assert "captune fetch captune-abc" in outcome["message"]

    def test_it_says_what_the_report_says_first(self, bare: Site) -> None:
        title = "Nothing can be shown: only 5 held-out documents"
        bare.with_report("not shown", headline=title, heldout={"documents_count": 0})
        outcome = bare.end()
        assert "Verdict: nothing can be shown: only 5 held-out documents. The loss" in outcome["message"]
        assert outcome["subject"].startswith("Captune: nothing can be shown, $0.32")
