"""Every name that a run can end with: the report says what to do next, and docs/operating.md has a line for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common import errors
from report.content.advice import ADVICE, DEFAULT, advice

ROOT = Path(__file__).parents[4]


def named_errors() -> set[str]:
    """The classes of the Lambdas, and what the state machine, the sweeper and the tear-down set."""
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CaptuneError)
    }
    machine = (ROOT / "stacks" / "fine_tuning.asl.yaml").read_text("utf-8")
    code = "".join(file.read_text("utf-8") for file in (ROOT / "lambdas").glob("*/*.py"))
    written = {*re.findall(r"\bError: ([A-Z][A-Za-z]+)\b", machine), *re.findall(r'\berror="([A-Z][A-Za-z]+)"', code)}
    return (classes - {"CaptuneError"}) | written


def test_the_names_are_found_where_they_are_set() -> None:
    assert {"BudgetExceeded", "TrainingNotStarted", "BudgetAlarm", "DeadlineReached"} <= named_errors()


@pytest.mark.parametrize("name", sorted(named_errors()))
def test_an_error_has_advice_and_a_line_in_the_documentation(name: str) -> None:
    assert advice(name) != DEFAULT
    table = [
        line for line in (ROOT / "docs" / "operating.md").read_text("utf-8").splitlines() if line.startswith("| `")
    ]
    assert any(f"`{name}`" in line for line in table)


def test_a_spot_job_that_got_no_instance_is_led_to_one_on_demand() -> None:
    assert '{"spot": false}' in advice("NoCapacity")


def test_an_unknown_name_gets_a_way_to_look() -> None:
    assert advice("SomethingElse") == advice(None) == DEFAULT
    assert all(text.endswith(".") for text in ADVICE.values())
