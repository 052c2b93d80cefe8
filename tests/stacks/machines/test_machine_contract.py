"""What holds of both state machines, line by line rather than run by run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stacks.state_machine import load_definition
from tests.doubles.machines.asl_graph import Definition, machines
from tests.doubles.machines.stacks_bench import ROOT

FILES = [ROOT / "stacks" / "fine_tuning.asl.yaml", ROOT / "stacks" / "tear_down.asl.yaml"]
both = pytest.mark.parametrize(
    "definition", [load_definition(path) for path in FILES], ids=[path.name for path in FILES]
)


def tasks(definition: Definition) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Task state, also of the branches, with its name."""
    for machine in machines(definition):
        yield from ((name, state) for name, state in machine["States"].items() if state["Type"] == "Task")


@both
def test_the_language_is_jsonata(definition: Definition) -> None:
    assert definition["QueryLanguage"] == "JSONata"


@both
def test_whatever_waits_before_it_tries_again_waits_a_random_part_of_it(definition: Definition) -> None:
    """Runs that one disturbance has stopped at the same moment shall not come back at the same moment."""
    for name, state in tasks(definition):
        for rule in state["Retry"]:
            assert rule["MaxAttempts"] == 0 or rule["JitterStrategy"] == "FULL", name


def test_fine_tuning_never_waits_longer_than_a_minute_for_its_next_attempt() -> None:
    for name, state in tasks(load_definition(FILES[0])):
        for rule in state["Retry"]:
            assert rule["MaxAttempts"] == 0 or rule["MaxDelaySeconds"] == 60, name


@both
def test_the_name_for_every_error_stands_alone_and_last_or_aws_refuses_the_definition(definition: Definition) -> None:
    for machine in machines(definition):
        for name, state in machine["States"].items():
            for rules in (state.get("Retry", []), state.get("Catch", [])):
                named = [rule["ErrorEquals"] for rule in rules]
                assert all(errors == ["States.ALL"] for errors in named if "States.ALL" in errors), name
                assert all("States.ALL" not in errors for errors in named[:-1]), name
