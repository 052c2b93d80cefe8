"""Every error name that a run can end with has advice in the report and a line in docs/operating.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common import errors
from report.content.advice import DEFAULT, advice

ROOT = Path(__file__).parents[3]


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
    found = (classes - {"CaptuneError"}) | written
    assert {"BudgetExceeded", "TrainingNotStarted", "BudgetAlarm", "DeadlineReached"} <= found
    return found


@pytest.mark.parametrize("name", sorted(named_errors()))
def test_an_error_has_advice_and_a_line_in_the_documentation(name: str) -> None:
    assert advice(name) != DEFAULT == advice("SomethingElse") == advice(None)
    lines = (ROOT / "docs" / "operating.md").read_text("utf-8").splitlines()
    assert any(line.startswith("| `") and f"`{name}`" in line for line in lines)
