"""Every error name that a run can end with is a class that says what it means and what to do next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common import errors
from common.errors import CaptuneError, advice

ROOT = Path(__file__).parents[3]


def written_names() -> set[str]:
    """The error names that the state machines, the sweeper and the tear-down write themselves."""
    machines = "".join(path.read_text("utf-8") for path in (ROOT / "stacks").glob("*.asl.yaml"))
    code = "".join(path.read_text("utf-8") for path in (ROOT / "lambdas").glob("*/*.py"))
    return {*re.findall(r"\bError: ([A-Z][A-Za-z]+)\b", machines), *re.findall(r'\berror="([A-Z][A-Za-z]+)"', code)}


def test_every_written_error_name_has_a_class() -> None:
    assert {"TrainingNotStarted", "BudgetAlarm", "DeadlineReached"} <= written_names() <= set(errors.kinds())


@pytest.mark.parametrize("name", errors.kinds())
def test_an_error_says_what_it_means_and_what_to_do(name: str) -> None:
    kind = errors.kinds()[name]
    assert kind.__doc__ and "\n" not in kind.__doc__
    assert kind.when in (errors.REFUSED, errors.RUNNING, errors.REMOVED)
    assert advice(name) == kind.advice != CaptuneError.advice


def test_an_unknown_error_and_a_status_have_advice_too() -> None:
    assert advice("SomethingElse") == advice(None) == CaptuneError.advice
    assert advice("TIMED_OUT") == errors.OF_STATUSES["TIMED_OUT"] != CaptuneError.advice
