"""A ledger that was deleted, or replaced, does not give the month another cap: SageMaker remembers what was trained in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.errors import LedgerLost
from preflight.account.known_jobs import refuse_lost_ledger
from tests.doubles.lambda_fakes import NOW, SageMaker
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.preflight_site import Site

TRAINED = {"captune-abc": "Completed", "captune-b-try2": "Stopped"}


def known() -> FakeLedger:
    return FakeLedger().with_run("abc").with_run("b").settled("captune-b")


def test_every_job_of_a_known_run_is_no_loss_whatever_became_of_the_run() -> None:
    assert refuse_lost_ledger(SageMaker(jobs=dict(TRAINED)), known(), NOW, "") == ""


def test_a_new_ledger_is_refused_with_what_it_does_not_know_and_the_ways_out() -> None:
    with pytest.raises(LedgerLost) as refused:
        refuse_lost_ledger(SageMaker(jobs=dict(TRAINED)), FakeLedger(), NOW, "")
    for part in (
        "captune-abc, captune-b-try2",
        "2026-11",
        "start again on 2026-12-01",
        "set accept_lost_ledger to 2026-11",
    ):
        assert part in str(refused.value)


def test_a_ledger_that_lacks_one_run_is_refused_for_that_one() -> None:
    with pytest.raises(LedgerLost, match=r"\(captune-b-try2\)"):
        refuse_lost_ledger(SageMaker(jobs=dict(TRAINED)), FakeLedger().with_run("abc"), NOW, "")


def test_a_job_that_is_only_called_like_the_projects_is_none_of_its_runs() -> None:
    sagemaker = SageMaker(jobs={"captune-theirs": "Completed"})
    sagemaker.tags = {"captune-theirs": {}}
    assert refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "") == ""


def test_of_many_only_some_are_named() -> None:
    with pytest.raises(LedgerLost, match="captune-0, captune-1, captune-2 and 4 more"):
        refuse_lost_ledger(SageMaker(jobs={f"captune-{n}": "Completed" for n in range(7)}), FakeLedger(), NOW, "")


def test_a_damaged_item_is_still_a_run_that_the_ledger_knows() -> None:
    ledger = known()
    ledger.note("captune-abc", {"keep_until": "next tuesday"})
    assert any(row.is_damaged for row in ledger.rows())
    assert refuse_lost_ledger(SageMaker(jobs=dict(TRAINED)), ledger, NOW, "") == ""


def test_what_was_trained_in_another_month_is_none_of_this_months_cap() -> None:
    sagemaker = SageMaker(jobs=dict(TRAINED))
    sagemaker.created = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
    assert refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "") == ""
    sagemaker.created = datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.raises(LedgerLost):
        refuse_lost_ledger(sagemaker, FakeLedger(), NOW, "")


def test_jobs_of_others_are_none_of_ours() -> None:
    assert refuse_lost_ledger(SageMaker(jobs={"my-captune-abc": "Completed"}), FakeLedger(), NOW, "") == ""


def test_the_owner_may_let_this_very_month_begin_anew_and_is_reminded() -> None:
    assert "gives 2026-11 its whole cap" in refuse_lost_ledger(
        SageMaker(jobs=dict(TRAINED)), FakeLedger(), NOW, "2026-11"
    )
    with pytest.raises(LedgerLost):
        refuse_lost_ledger(SageMaker(jobs=dict(TRAINED)), FakeLedger(), NOW, "2026-10")


def test_preflight_refuses_such_a_run_by_name_and_goes_on_where_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.sagemaker.jobs["captune-old"] = "Completed"
    assert "captune-old" in site.refusal(LedgerLost)
    site.settings["accept_lost_ledger"] = "2026-11"
    assert [warning for warning in site.run()["warnings"] if "captune-old" in warning]
