"""What other runs hold or left when a run begins: the ledger's memory, names, instances, resources."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from common.errors import LedgerLost, RunNameTaken
from preflight.account.other_runs import leftovers, refuse_lost_ledger, refuse_taken_name, runs_in_flight
from tests.doubles.lambda_fakes import NOW, SageMaker, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger

TRAINED = {"captune-abc": "Completed", "captune-b-try2": "Stopped"}


def known() -> FakeLedger:
    """A ledger that knows the runs of both jobs."""
    return FakeLedger().with_run("abc").with_run("b").settled("captune-b")


def damaged() -> FakeLedger:
    ledger = known()
    ledger.note("captune-abc", {"keep_until": "next tuesday"})
    assert any(row.is_damaged for row in ledger.rows())
    return ledger


class TestLostLedger:
    @pytest.mark.parametrize("ledger", [known(), damaged()], ids=["sound", "damaged item"])
    def test_ledger_that_knows_all_jobs_is_not_lost(self, ledger: FakeLedger) -> None:
        assert refuse_lost_ledger(SageMaker(jobs=TRAINED), ledger, NOW, "") == ""

    @pytest.mark.parametrize(
        ("jobs", "ledger", "named"),
        [
            (TRAINED, FakeLedger(), r"\(captune-abc, captune-b-try2\)"),
            (TRAINED, FakeLedger().with_run("abc"), r"\(captune-b-try2\)"),
            ({f"captune-{n}": "Completed" for n in range(7)}, FakeLedger(), "captune-2 and 4 more"),
        ],
        ids=["new", "without one", "without many"],
    )
    def test_ledger_without_jobs_of_the_month_is_lost(
        self, jobs: dict[str, str], ledger: FakeLedger, named: str
    ) -> None:
        with pytest.raises(LedgerLost, match=f"{named}.*2026-12-01.*accept_lost_ledger to 2026-11"):
            refuse_lost_ledger(SageMaker(jobs=jobs), ledger, NOW, "")

    def test_jobs_of_others_do_not_count(self) -> None:
        sagemaker = SageMaker(jobs={"my-captune-abc": "Completed", "captune-theirs": "Completed"})
        sagemaker.tags = {"captune-theirs": {}}
        assert refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "") == ""

    def test_jobs_of_another_month_do_not_count(self) -> None:
        sagemaker = SageMaker(jobs=TRAINED)
        sagemaker.created = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
        assert refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "") == ""
        sagemaker.created = datetime(2026, 11, 1, tzinfo=UTC)
        with pytest.raises(LedgerLost):
            refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "")

    def test_owner_accepts_the_loss_for_one_month_only(self) -> None:
        sagemaker = SageMaker(jobs=TRAINED)
        assert "gives 2026-11 its whole cap" in refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "2026-11")
        with pytest.raises(LedgerLost):
            refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "2026-10")


class TestNames:
    @pytest.mark.parametrize(
        ("jobs", "ledger"),
        [({"captune-abcd": "Completed"}, FakeLedger()), ({"captune-abc": "InProgress"}, FakeLedger().with_run("abc"))],
        ids=["of nobody", "of this execution"],
    )
    def test_free_name_is_taken(self, jobs: dict[str, str], ledger: FakeLedger) -> None:
        refuse_taken_name(SageMaker(jobs=jobs), ledger, "captune-abc", arn("abc"))

    @pytest.mark.parametrize(
        ("jobs", "ledger"),
        [
            ({}, FakeLedger().with_run("abc_1", run="captune-abc")),
            ({}, FakeLedger().with_run("abc").settled("captune-abc")),
            ({"captune-abc": "Completed"}, FakeLedger()),
            ({"captune-abc-else": "Completed", "captune-abc-try2": "Completed"}, FakeLedger()),
        ],
        ids=["of another execution", "of a settled run", "of a job", "of a repeated job"],
    )
    def test_used_name_is_refused(self, jobs: dict[str, str], ledger: FakeLedger) -> None:
        with pytest.raises(RunNameTaken, match="Start a new execution"):
            refuse_taken_name(SageMaker(jobs=jobs), ledger, "captune-abc", arn("abc"))

    def test_name_is_not_free_where_sagemaker_does_not_answer(self) -> None:
        sagemaker = SageMaker()
        sagemaker.troubles["describe_training_job"] = [refusal("ThrottlingException")]
        with pytest.raises(ClientError, match="ThrottlingException"):
            refuse_taken_name(sagemaker, FakeLedger(), "captune-abc", arn("abc"))


class TestLeftovers:
    def test_runs_in_flight_are_other_open_reservations(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("b").with_run("c").with_run("me").settled("captune-b")
        assert runs_in_flight(ledger, "captune-me") == ["captune-a", "captune-c"]

    def test_run_with_an_unreadable_item_counts_as_in_flight(self) -> None:
        ledger = FakeLedger().with_run("a").with_run("b").settled("captune-a").settled("captune-b")
        ledger.table.rows["RUN#captune-a"]["state"] = {"BOOL": True}
        (run,) = runs_in_flight(ledger, "captune-me")
        assert run.startswith("captune-a (its item in the ledger cannot be read")
        sagemaker = SageMaker(endpoints={"captune-a": "InService", "captune-b": "InService"})
        assert leftovers(sagemaker, ledger, NOW) == ["endpoint captune-b"]

    def test_leftovers_are_what_bills_without_a_reservation(self) -> None:
        ledger = FakeLedger().with_run("covered").with_run("done").settled("captune-done")
        jobs = {"captune-covered-try2": "InProgress", "captune-lost": "InProgress", "captune-old": "Completed"}
        endpoints = {
            "captune-covered": "InService",
            "captune-done": "Creating",
            "captune-going": "Deleting",
            "not-captune-x": "InService",
            "captune-lost-2": "Failed",
        }
        found = leftovers(SageMaker(jobs=jobs, endpoints=endpoints), ledger, NOW)
        assert found == ["training job captune-lost", "endpoint captune-done", "endpoint captune-lost-2"]

    def test_a_leftover_with_another_tag_is_named_with_it(self) -> None:
        endpoints = {"captune-demo": "InService", "captune-lost": "InService"}
        sagemaker = SageMaker(jobs={"captune-theirs": "InProgress"}, endpoints=endpoints)
        sagemaker.tags = {"captune-theirs": {}, "captune-demo": {"project": "demo"}}
        assert leftovers(sagemaker, FakeLedger(), NOW) == [
            "training job captune-theirs (it has no tag project)",
            "endpoint captune-demo (its tag project is 'demo')",
            "endpoint captune-lost",
        ]
        sagemaker.jobs, sagemaker.endpoints = {}, {"captune-demo": "InService"}
        sagemaker.troubles["list_tags"] = [refusal("ThrottlingException")]
        assert leftovers(sagemaker, FakeLedger(), NOW) == ["endpoint captune-demo"]
