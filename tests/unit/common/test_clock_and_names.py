"""Months as AWS bills them, and the one name that everything of a run bears."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import clock, names

MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))


class TestMonths:
    def test_a_month_is_a_month_in_utc(self) -> None:
        late_in_new_york = datetime(2026, 11, 30, 20, tzinfo=timezone(timedelta(hours=-5)))

        assert clock.month_of(late_in_new_york) == "2026-12"

    @pytest.mark.parametrize(
        ("moment", "start"),
        [
            (datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
            (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
            (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_the_next_month_starts_at_midnight_of_its_first_day(self, moment: datetime, start: datetime) -> None:
        assert clock.next_month_start(moment) == start

    def test_the_day_after_a_month_is_known_from_its_name(self) -> None:
        assert clock.start_after("2026-12") == datetime(2027, 1, 1, tzinfo=UTC)

    def test_an_interval_that_touches_midnight_touches_both_months(self) -> None:
        midnight = datetime(2026, 12, 1, tzinfo=UTC)

        assert clock.months_between(midnight - timedelta(seconds=1), midnight) == ["2026-11", "2026-12"]
        assert clock.months_between(midnight - timedelta(seconds=2), midnight - timedelta(seconds=1)) == ["2026-11"]

    @given(MOMENTS, st.integers(0, 120 * 86400))
    def test_every_month_of_an_interval_is_named_once_and_in_order(self, start: datetime, seconds: int) -> None:
        end = start + timedelta(seconds=seconds)
        months = clock.months_between(start, end)

        assert months == sorted(set(months))
        assert (months[0], months[-1]) == (clock.month_of(start), clock.month_of(end))

    def test_a_schedule_time_is_utc_without_a_zone(self) -> None:
        moment = datetime(2026, 11, 24, 18, 0, 0, 123, tzinfo=timezone(timedelta(hours=2)))

        assert clock.schedule_time(moment) == "2026-11-24T16:00:00"

    @pytest.mark.parametrize("text", ["2026-11-24T18:00:00Z", "2026-11-24T18:00:00", "2026-11-24T20:00:00+02:00"])
    def test_a_time_is_read_however_it_was_written(self, text: str) -> None:
        assert clock.from_iso(text) == datetime(2026, 11, 24, 18, tzinfo=UTC)

    def test_now_has_a_zone(self) -> None:
        assert clock.now().tzinfo is UTC


PLAIN = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,3}", fullmatch=True)
# Names near each other: a few characters that are kept, folded or replaced, so that two of them often look alike.
ALIKE = st.text("aAbé.-_ 0", max_size=6) | st.sampled_from(["a-try2", "a.try2", "a" * 50, "a" * 51, "A" * 50])


class TestNames:
    @pytest.mark.parametrize(
        "execution", ["first", "a-b-2", "6a4f1c2e-9d3b-4f57-8a10-0123456789ab", "a" * 50, "x-0123456789abc", "a-try22"]
    )
    def test_a_plain_name_is_carried_as_it_is(self, execution: str) -> None:
        assert names.run_name(execution) == f"captune-{execution}"
        assert names.execution_name_of(f"captune-{execution}") == execution

    @pytest.mark.parametrize(
        ("execution", "run"),
        [
            ("my run, at noon!", "captune-my-run-at-noon-b63f610334"),
            ("--a__b..c--", "captune-a-b-c-"),
            ("First", "captune-first-"),
            ("a--b", "captune-a-b-"),
            ("first-try2", "captune-first-try2-"),
            ("first-0123456789", "captune-first-0123456789-"),
            ("a" * 51, "captune-" + "a" * 39 + "-"),
            ("a" * 38 + "-b" * 8, "captune-" + "a" * 38 + "-"),
            ("。。", "captune-run-"),
            ("", "captune-run-"),
            ("\ud800", "captune-run-"),
        ],
    )
    def test_any_other_name_is_cleaned_and_told_apart_by_ten_digits_of_its_own(self, execution: str, run: str) -> None:
        made = names.run_name(execution)

        assert made.startswith(run)
        assert re.fullmatch(r"captune-[a-z0-9-]*[a-z0-9]-[0-9a-f]{10}", made)
        assert names.execution_name_of(made) is None

    @pytest.mark.parametrize(
        "others",
        [("my.run", "my-run", "my_run", "My-Run", "my--run"), ("a" * 50, "a" * 51, "A" * 50), ("run", "", "。")],
    )
    def test_names_that_differ_only_in_case_or_in_replaced_characters_are_told_apart(self, others: tuple[str]) -> None:
        assert len({names.run_name(name).lower() for name in others}) == len(others)

    @given(ALIKE, ALIKE)
    def test_two_executions_never_share_a_run_not_even_without_regard_to_case(self, one: str, other: str) -> None:
        assert (names.run_name(one).lower() == names.run_name(other).lower()) == (one == other)

    @given(PLAIN | st.text(max_size=90))
    def test_a_name_and_that_of_its_retries_fit_sagemaker(self, execution: str) -> None:
        run = names.run_name(execution)

        assert re.fullmatch(r"[a-z0-9](-*[a-z0-9])*", f"{run}-try3")
        assert len(f"{run}-try3") <= 63
        assert names.run_of(f"{run}-try3") == names.run_of(run) == run
        assert names.is_run_name(run)
        assert names.execution_name_of(run) in (None, execution)

    @pytest.mark.parametrize(
        "text",
        [
            "captune-",
            "captune",
            "captune-a-",
            "captune-a b",
            "my-captune-a",
            "captune-a-try2",
            "",
            "captune-" + "a" * 51,
        ],
    )
    def test_a_text_that_no_run_is_called_is_no_run_name(self, text: str) -> None:
        assert not names.is_run_name(text)
        assert names.execution_name_of(text) is None

    def test_the_name_that_an_earlier_version_gave_is_still_read(self) -> None:
        assert names.is_run_name("captune-My-Run")
        assert names.execution_name_of("captune-My-Run") is None

    def test_a_resource_belongs_to_its_run_and_to_no_longer_name(self) -> None:
        assert names.belongs_to("captune-a", "captune-a")
        assert names.belongs_to("captune-a-try2", "captune-a")
        assert not names.belongs_to("captune-a-b", "captune-a")
        assert not names.belongs_to("captune-a-try22", "captune-a")
