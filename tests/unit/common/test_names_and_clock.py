"""Months as AWS bills them, the one name of a run, and the run that an event of a tear-down names."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import clock, names
from common.contracts.tear_down import execution_arn_of, run_of_event
from common.errors import InvalidInput
from common.names import run_name
from tests.doubles.lambda_fakes import MACHINE, arn

MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)


def test_month_is_a_month_in_utc() -> None:
    assert clock.month_of(datetime(2026, 11, 30, 20, tzinfo=timezone(timedelta(hours=-5)))) == "2026-12"
    assert clock.now().tzinfo is UTC
    assert clock.date_in_words(MIDNIGHT) == "1 December 2026"


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        (MIDNIGHT, datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_next_month_starts_at_midnight_of_its_first_day(moment: datetime, start: datetime) -> None:
    assert clock.next_month_start(moment) == clock.start_after(clock.month_of(moment)) == start


def test_interval_that_touches_midnight_touches_both_months() -> None:
    second = timedelta(seconds=1)
    assert clock.months_between(MIDNIGHT - second, MIDNIGHT) == ["2026-11", "2026-12"]
    assert clock.months_between(MIDNIGHT - 2 * second, MIDNIGHT - second) == ["2026-11"]
    assert clock.months_between(MIDNIGHT, MIDNIGHT + timedelta(days=70)) == ["2026-12", "2027-01", "2027-02"]


@pytest.mark.parametrize("text", ["2026-11-24T18:00:00Z", "2026-11-24T18:00:00", "2026-11-24T20:00:00+02:00"])
def test_times_are_read_in_each_form_and_scheduled_in_utc(text: str) -> None:
    assert clock.from_iso(text) == datetime(2026, 11, 24, 18, tzinfo=UTC)
    assert clock.schedule_time(clock.from_iso(text)) == "2026-11-24T18:00:00"


PLAIN = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,3}", fullmatch=True)
# Names near each other: a few characters that are kept, folded or replaced, so that two of them often look alike.
ALIKE = st.text("aAbé.-_ 0", max_size=6) | st.sampled_from(["a-try2", "a.try2", "a" * 50, "a" * 51, "A" * 50])
CLEANED = {
    "my run, at noon!": "captune-my-run-at-noon-b63f610334",
    "First": "captune-first-",
    "first-try2": "captune-first-try2-",
    "a" * 51: "captune-" + "a" * 39 + "-",
    "": "captune-run-",
}


@pytest.mark.parametrize("execution", ["6a4f1c2e-9d3b-4f57-8a10-0123456789ab", "a" * 50])
def test_plain_name_is_kept(execution: str) -> None:
    assert run_name(execution) == f"captune-{execution}"
    assert names.execution_name_of(f"captune-{execution}") == execution


@pytest.mark.parametrize(("execution", "start"), CLEANED.items())
def test_other_name_is_cleaned_and_gets_ten_digits(execution: str, start: str) -> None:
    made = run_name(execution)
    assert made.startswith(start)
    assert re.fullmatch(r"captune-[a-z0-9-]*[a-z0-9]-[0-9a-f]{10}", made)
    assert names.execution_name_of(made) is None


@given(ALIKE, ALIKE)
def test_two_executions_never_share_a_run_in_any_case(one: str, other: str) -> None:
    assert (run_name(one).lower() == run_name(other).lower()) == (one == other)


@given(PLAIN | st.text(max_size=90))
def test_name_and_that_of_its_retries_fit_sagemaker(execution: str) -> None:
    run = run_name(execution)
    assert re.fullmatch(r"[a-z0-9](-*[a-z0-9])*", f"{run}-try3")
    assert len(f"{run}-try3") <= 63
    assert names.run_of(f"{run}-try3") == names.run_of(run) == run
    assert names.is_run_name(run)
    assert names.execution_name_of(run) in (None, execution)


@pytest.mark.parametrize("text", ["captune-", "captune-a b", "my-captune-a", "captune-a-try2", "captune-" + "a" * 51])
def test_other_text_is_no_run_name(text: str) -> None:
    assert not names.is_run_name(text)
    assert names.execution_name_of(text) is None


# What a tear-down gets, its run and its execution.
EVENTS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"executionName": "abc"}, "captune-abc", arn("abc")),
    ({"executionArn": arn("abc")}, "captune-abc", arn("abc")),
    ({"runName": "captune-abc"}, "captune-abc", arn("abc")),
    ({"runName": None, "executionName": None, "executionArn": arn("abc")}, "captune-abc", arn("abc")),
    ({"runName": "captune-abc", "executionName": "abc", "executionArn": arn("abc")}, "captune-abc", arn("abc")),
    ({"executionName": "My.Run"}, run_name("My.Run"), arn("My.Run")),
    ({"runName": run_name("My.Run")}, run_name("My.Run"), None),
    ({"runName": "captune-My-Run"}, "captune-My-Run", None),  # as an earlier version named it
]


@pytest.mark.parametrize(("event", "run", "execution"), EVENTS)
def test_one_fact_names_run_and_execution(event: dict[str, Any], run: str, execution: str | None) -> None:
    assert (run_of_event(event), execution_arn_of(event, MACHINE)) == (run, execution)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"executionName": "", "executionArn": ""},
        {"runName": "my-captune-a"},
        {"runName": 7},
        {"runName": "captune-a", "executionArn": arn("abc")},
        {"runName": "captune-a", "executionName": "abc"},
        {"executionName": "a", "executionArn": arn("abc")},
    ],
)
def test_teardown_without_a_run_is_rejected(event: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidInput, match="names no run|is not the name of a run|several runs: captune-a, captune-abc"
    ):
        run_of_event(event)
