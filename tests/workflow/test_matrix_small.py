"""A small part of the failure matrix: one cell of every column, the stories about the cap and about spot, and the generator itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from proof.matrix import cell, spot_runs, whole_runs
from proof.matrix.bench import Bench, assembly_folder
from proof.matrix.failures import FAILURES
from proof.matrix.states import each_state, task_states

pytestmark = pytest.mark.slow

# Not those of `runner`: importing it would put the controls that need an account of their own into the registry.
STORIES = {**whole_runs.STORIES, **spot_runs.STORIES}


# One state for each failure, so that both machines, Lambdas and services, and the Parallel are met.
CELLS = {
    "throttled": "AskBaseModel",
    "refused": "CreateModel",
    "no service": "ReserveBudget",
    "nonsense": "ReserveBudget",
    "hangs": "DescribeEndpoint",
    "aborted": "Preflight",
    "abort+late": "CreateEndpoint",
    "timed out": "StartTraining",
    "killed": "SettleLedger",
    "event x2": "RemoveResources",
    "event lost": "ScheduleTearDown",
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench(assembly_folder()) as made:
        yield made


@pytest.mark.parametrize("failure", [failure.name for failure in FAILURES])
def test_a_failure_ends_as_its_state_says_and_leaves_nothing_that_bills(bench: Bench, failure: str) -> None:
    outcome = cell.run(bench, CELLS[failure], failure)

    assert outcome.mark == "ok", outcome.wrong


@pytest.mark.parametrize("story", STORIES)
def test_a_whole_run_ends_as_its_story_says(bench: Bench, story: str) -> None:
    assert STORIES[story](bench) == []


def test_every_task_state_of_both_machines_has_its_cells(bench: Bench) -> None:
    names = [name for name, _ in cell.names(bench)]

    for definition in bench.deployment.definitions.values():
        for name, body in each_state(bench.definitions[_arn(bench, definition)]):
            assert (name in names) == (body["Type"] == "Task")
    written = sum(text.count('"Type":"Task"') for text in bench.deployment.definitions.values())
    assert len(set(names)) == written > 15
    assert len(names) == written * len(FAILURES)


def test_a_new_state_in_a_branch_of_a_branch_has_its_cells(bench: Bench) -> None:
    definition = copy.deepcopy(bench.definitions[bench.deployment.fine_tuning])
    inner = {"StartAt": "Deep", "States": {"Deep": _task(bench), "End": {"Type": "Succeed"}}}
    branch = {"StartAt": "Several", "States": {"Several": {"Type": "Map", "ItemProcessor": inner, "End": True}}}
    definition["States"]["AskBothModels"]["Branches"].append(branch)

    found = {state.name: state.chain for state in task_states("arn", definition)}

    assert found["Deep"] == ("Several", "AskBothModels")


def test_a_state_that_no_run_comes_to_fails_its_cells(bench: Bench) -> None:
    def add(definition: dict[str, Any]) -> None:
        definition["States"]["Unheard"] = _task(bench)

    with bench.altered(bench.deployment.fine_tuning, add):
        outcome = cell.run(bench, "Unheard", "refused")

    assert any("no run ever came to this state" in words for words in outcome.wrong)


def test_without_the_event_rule_a_cell_fails(bench: Bench) -> None:
    with bench.without_rule(timed=False):
        outcome = cell.run(bench, "CreateModel", "refused")

    assert any("no TearDown was started" in words for words in outcome.wrong)


def _arn(bench: Bench, definition: str) -> str:
    return next(arn for arn, text in bench.deployment.definitions.items() if text == definition)


def _task(bench: Bench) -> dict[str, Any]:
    return copy.deepcopy(bench.definitions[bench.deployment.fine_tuning]["States"]["CreateModel"])
