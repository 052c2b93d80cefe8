"""What a tear-down is told: one fact about a run is enough, and none is a named error."""

from __future__ import annotations

from typing import Any

import pytest

from common.contracts.tear_down import execution_arn_of, run_of_event
from common.errors import InvalidInput
from common.names import run_name
from tests.doubles.lambda_fakes import MACHINE, arn


@pytest.mark.parametrize(
    "event",
    [
        {"executionName": "abc"},
        {"executionArn": arn("abc")},
        {"runName": "captune-abc"},
        {"runName": "captune-abc", "executionName": "another"},
        {"runName": "", "executionName": "abc"},
        {"runName": None, "executionName": None, "executionArn": arn("abc")},
        {"executionName": "abc", "executionArn": arn("another")},
    ],
)
def test_the_run_is_known_from_any_of_three_facts(event: dict[str, Any]) -> None:
    assert run_of_event(event) == "captune-abc"


def test_a_name_of_any_form_makes_its_own_run() -> None:
    assert run_of_event({"executionName": "My.Run"}) == run_name("My.Run")
    assert run_of_event({"runName": "captune-My-Run"}) == "captune-My-Run"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({}, "No run is named"),
        ({"executionName": "", "executionArn": ""}, "No run is named"),
        ({"runName": "my-captune-a"}, "'my-captune-a' is not the name of a run"),
        ({"runName": "captune-"}, "is not the name of a run"),
        ({"runName": 7}, "is not the name of a run"),
        ({"runName": "x" * 500}, f"'{'x' * 80}' is not the name of a run"),
    ],
)
def test_an_event_that_names_no_run_is_refused_with_what_to_give(event: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        run_of_event(event)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"executionArn": arn("a"), "executionName": "b"}, arn("a")),
        ({"executionName": "My.Run"}, arn("My.Run")),
        ({"runName": "captune-abc"}, arn("abc")),
        ({"runName": "captune-abc", "executionName": "b"}, arn("b")),
        ({"runName": run_name("My.Run")}, None),
        ({}, None),
    ],
)
def test_the_execution_is_known_as_far_as_the_event_tells_it(event: dict[str, Any], expected: str | None) -> None:
    assert execution_arn_of(event, MACHINE) == expected
