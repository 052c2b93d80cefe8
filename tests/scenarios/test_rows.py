"""The table of failures: every row holds in the simulated account, and a table that says nothing is refused."""

import random
import re

import pytest

from tests.surroundings import drawn_moment
from verification.simulation import rows
from verification.simulation.__main__ import replay
from verification.simulation.definitions import Definition, edited, machine
from verification.simulation.rows import Row


@pytest.mark.slow
@pytest.mark.parametrize("row", rows.table().values(), ids=lambda row: row.name)
def test_the_row_comes_out_as_the_table_says_from_any_moment(row: Row, request: pytest.FixtureRequest) -> None:
    moment = drawn_moment(random.Random(f"{request.config.option.seed} {row.name}"))

    assert rows.check(row, moment) == [], moment


def test_every_task_state_of_both_machines_has_its_row() -> None:
    assert rows.missing() == []


def test_a_new_state_without_a_row_is_missing() -> None:
    def add(definition: Definition) -> None:
        definition["States"]["New"] = definition["States"]["CreateModel"]

    with edited("fine_tuning", add)():
        assert rows.missing() == ["fine_tuning: New"]


def test_a_state_that_no_run_comes_to_fails_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rows.PARAMETERS, "StartSpotTraining")

    wrong = rows.check(rows.table()["StartSpotTraining x refused"])
    assert any("no run ever came to this state" in words for words in wrong)


@pytest.mark.parametrize(
    ("failure", "text"),
    [*(("refused", text) for text in ("goes well", "fails", "succeeds; ended by the moon", "succeeds; TearDown")), ("typo", "succeeds")],
)  # fmt: skip
def test_a_row_that_says_nothing_is_rejected(failure: str, text: str) -> None:
    with pytest.raises(ValueError, match="says nothing"):
        rows._row("fine_tuning", "CreateModel", failure, text)


def test_an_edit_that_changes_nothing_is_rejected() -> None:
    with pytest.raises(ValueError, match="changed nothing"), edited("tear_down", lambda definition: None)():
        pass
    assert machine("tear_down")["StartAt"] == "Begin"


def test_a_row_is_told_state_by_state_with_clock_and_ledger() -> None:
    log, wrong = replay("CreateModel x refused")

    assert wrong == []
    text = "\n".join(log)
    assert re.search(r"^2026-11-10 12:\d\d:\d\d  one: CreateModel$", text, re.MULTILINE)
    assert "one: CreateModel met SageMaker.SageMakerException: AWS answered AccessDeniedException" in text
    assert "ledger MONTH#2026-11: committed_cents=" in text
    assert "one ended: FAILED EndpointFailed" in text
