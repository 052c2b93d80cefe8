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


class TestNames:
    @pytest.mark.parametrize(
        ("execution", "run"),
        [
            ("first", "captune-first"),
            ("my run, at noon!", "captune-my-run-at-noon"),
            ("--a__b..c--", "captune-a-b-c"),
            ("a" * 80, "captune-" + "a" * 50),
        ],
    )
    def test_a_run_is_named_after_its_execution(self, execution: str, run: str) -> None:
        assert names.run_name(execution) == run

    @pytest.mark.parametrize("execution", ["", "---", "。。"])
    def test_a_name_without_a_letter_or_digit_is_refused(self, execution: str) -> None:
        with pytest.raises(ValueError, match="no letter or digit"):
            names.run_name(execution)

    def test_a_name_that_reads_like_the_retry_of_another_run_is_refused(self) -> None:
        with pytest.raises(ValueError, match="ends like the retry"):
            names.run_name("first-try2")

    @given(st.text(max_size=90))
    def test_a_name_and_that_of_its_retries_fit_sagemaker(self, execution: str) -> None:
        try:
            run = names.run_name(execution)
        except ValueError:
            return

        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", f"{run}-try3")
        assert len(f"{run}-try3") <= 63
        assert names.run_of(f"{run}-try3") == names.run_of(run) == run

    def test_a_resource_belongs_to_its_run_and_to_no_longer_name(self) -> None:
        assert names.belongs_to("captune-a", "captune-a")
        assert names.belongs_to("captune-a-try2", "captune-a")
        assert not names.belongs_to("captune-a-b", "captune-a")
        assert not names.belongs_to("captune-a-try22", "captune-a")

    def test_everything_of_a_run_lies_under_its_own_prefix(self) -> None:
        assert names.run_prefix("captune-a") == "runs/captune-a/"
