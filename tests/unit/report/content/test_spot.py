"""What a report says of spot instances: interruptions, steps made again, and what was saved."""

from __future__ import annotations

import re
from typing import Any

import pytest

from verification.experiments.reports.examples import KINDS
from report.content import circumstances, spot
from report.content.sections import sections
from report.html import page
from report.model_card import card

TOLD = {"interruptions": 2, "trainingSeconds": 4000, "billedSeconds": 1500}
SAID = "2 interruptions, at least 14 steps made again, $1.05 saved against on-demand"


def summary(again: int | None = 14, **changes: Any) -> Any:
    """A summary of a run on spot, as far as its sentence needs one."""
    told = dict(spot.facts(TOLD, 1, 151.5)) | changes
    return {"configuration": {"spot": told}, "training": {"steps_again": again}}


def plan(**training: Any) -> Any:
    return {
        "training": {"instanceType": "ml.g5.2xlarge", "instanceCount": 1, **training},
        "budget": {"trainingHourlyUsd": "1.515"},
    }


class TestTheFigures:
    def test_are_sagemakers_own_and_the_saving_is_the_time_that_was_not_billed(self) -> None:
        assert spot.facts(TOLD, 1, 151.5) == {
            "interruptions": 2, "training_seconds": 4000, "billed_seconds": 1500, "saved_cents": 105,
        }  # fmt: skip

    def test_count_every_instance(self) -> None:
        assert spot.facts(TOLD, 2, 151.5)["saved_cents"] == 210

    def test_are_no_loss_where_more_was_billed_than_trained(self) -> None:
        assert spot.facts(TOLD | {"billedSeconds": 5000}, 1, 151.5)["saved_cents"] == 0

    @pytest.mark.parametrize(
        ("told", "hourly"),
        [({}, 151.5), (TOLD | {"trainingSeconds": 0}, 151.5), (TOLD | {"billedSeconds": 0}, 151.5), (TOLD, None)],
    )
    def test_claim_no_saving_where_something_of_it_is_not_known(self, told: Any, hourly: float | None) -> None:
        assert spot.facts(told, 1, hourly)["saved_cents"] is None

    def test_leave_open_what_was_billed_where_sagemaker_did_not_tell(self) -> None:
        assert spot.facts(TOLD | {"billedSeconds": 0}, 1, 151.5)["billed_seconds"] is None

    def test_are_told_of_runs_that_trained_on_spot_alone(self) -> None:
        event: Any = {"trainingJob": TOLD}
        on_spot = circumstances.facts(plan(spot=True), event)["spot"]
        assert on_spot and on_spot["interruptions"] == 2
        earlier: Any = {**plan(spot=True), "adapterUri": "s3://bucket/runs/a/training/a/output/model/"}
        for other in (plan(spot=False), plan(), earlier):
            assert circumstances.facts(other, event)["spot"] is None


class TestTheSentence:
    def test_says_how_often_what_was_lost_and_what_was_saved(self) -> None:
        assert spot.sentence(summary()) == SAID

    def test_of_a_quiet_run_says_so(self) -> None:
        assert spot.sentence(summary(0, interruptions=0)) == (
            "0 interruptions, 0 steps made again, $1.05 saved against on-demand"
        )

    def test_leaves_out_what_nobody_knows(self) -> None:
        assert spot.sentence(summary(None, saved_cents=None, interruptions=1)) == "1 interruption"
        unknown = summary(None, saved_cents=None, interruptions=None)
        assert spot.sentence(unknown) == "nothing is known of its interruptions"

    @pytest.mark.parametrize("told", [{}, {"configuration": {}}, {"configuration": {"spot": None}}])
    def test_is_none_of_a_run_on_demand(self, told: Any) -> None:
        assert spot.sentence(told) is None


def test_page_document_and_card_have_it() -> None:
    document: Any = KINDS["improved"]()
    assert "against on-demand" not in page.render(document) + card.render(document)
    document["configuration"]["spot"] = summary()["configuration"]["spot"]
    document["training"]["steps_again"] = 14

    in_the_sections = [str(block) for section in sections(document) for block in section.blocks]  # of page and PDF
    assert sum(SAID in block for block in in_the_sections) == 1
    for text in (page.render(document), card.render(document)):
        assert SAID in re.sub(r"[\\\u00a0]", lambda found: " " if found[0] != "\\" else "", text)
