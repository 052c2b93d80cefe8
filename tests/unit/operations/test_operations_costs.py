"""The figures that the README promises are those that the code reserves."""

from __future__ import annotations

import pytest

from common.errors import BudgetExceeded
from operations import costs
from operations.data.texts import DATA
from stacks.configuration.settings import Settings


def test_the_table_in_the_results_is_what_the_code_reserves_today() -> None:
    assert (DATA.parent / "results" / "costs.md").read_text("utf-8").strip() == costs.table()


def test_every_kind_of_run_has_its_worst_case() -> None:
    rows = [line for line in costs.table().splitlines() if "$" in line and line.startswith("| ")]
    assert [row.split("|")[2].split()[0] for row in rows] == ["about", "$6.39", "$7.68", "$2.66", "$3.04", "$0.95"]


def worst_case_of(settings: Settings) -> int:
    return costs.allowance_of(settings).worst.cents


def test_the_worst_case_follows_the_settings_that_move_it() -> None:
    usual = worst_case_of(Settings())
    several = worst_case_of(Settings(training_instance_count=3))
    # 2 h 22 min at $1.515 an hour, for two instances more; a cent of rounding.
    assert abs(several - usual - 2 * 8520 * 151.5 / 3600) <= 1
    assert worst_case_of(Settings(spot=True)) == 768
    assert worst_case_of(Settings(checkpoint_minutes=60)) < usual < worst_case_of(Settings(checkpoint_minutes=1))


def test_a_cap_that_pays_for_no_run_at_all_refuses_it_with_the_way_out() -> None:
    with pytest.raises(BudgetExceeded, match="Set budget_usd in cdk.json to at least"):
        costs.allowance_of(Settings(budget_usd=3))
