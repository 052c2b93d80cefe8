"""The figures that the README promises are those that the code reserves."""

from __future__ import annotations

from operations import costs
from operations.data.texts import DATA
from stacks.configuration.settings import Settings


def test_the_table_in_the_results_is_what_the_code_reserves_today() -> None:
    assert (DATA.parent / "results" / "costs.md").read_text("utf-8").strip() == costs.table()


def test_every_kind_of_run_has_its_worst_case() -> None:
    rows = [line for line in costs.table().splitlines() if "$" in line and line.startswith("| ")]
    assert [row.split("|")[2].split()[0] for row in rows] == ["about", "$6.39", "$7.68", "$2.66", "$3.04", "$0.95"]


def test_the_worst_case_follows_the_settings_that_move_it() -> None:
    usual = costs.worst_case_of(Settings())
    several = costs.worst_case_of(Settings(training_instance_count=3))
    # 2 h 22 min at $1.515 an hour, for two instances more; a cent of rounding.
    assert abs(several - usual - 2 * 8520 * 151.5 / 3600) <= 1
    assert costs.worst_case_of(Settings(spot=True)) == 768
    assert (
        costs.worst_case_of(Settings(checkpoint_minutes=60))
        < usual
        < costs.worst_case_of(Settings(checkpoint_minutes=1))
    )
