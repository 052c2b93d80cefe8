"""A small part of `python -m proof`: months of trouble, real threads, and every line of defence removed once."""

from __future__ import annotations

import pytest

from proof.controls import runner as mutations
from proof.controls.registry import MUTATIONS, Mutation
from proof.controls.scenarios import quiet_cloud, unsettled
from proof.result import Result
from proof.simulation import accidents, months, storms, threads

pytestmark = pytest.mark.slow


def test_sixty_random_months_stay_under_their_caps_and_leave_nothing() -> None:
    outcome = months.run(60, seed=20_000, processes=1)

    assert outcome.wrong == []
    assert outcome.months == 60
    # The months were no idle ones: every ending was met.
    assert all(
        outcome.counts[what] >= 3
        for what in (
            "reserved",
            "clamped",
            "BudgetExceeded",
            "PriceUnknown",
            "succeeded",
            "swept",
            "kept",
        )
    )
    assert outcome.closest > 0.7


def test_a_month_is_repeated_by_its_seed() -> None:
    assert months.simulate(4711) == months.simulate(4711)


def test_threads_on_one_ledger_never_commit_more_than_the_cap() -> None:
    outcome = threads.race(seed=1)

    assert outcome.wrong == []
    assert outcome.reserved and outcome.refused


@pytest.mark.parametrize("service", storms.SERVICES.values())
def test_an_outage_of_six_hours_costs_nothing_beyond_the_reservation_or_what_the_table_says(service: str) -> None:
    outcome = storms.cell(service, 6 * 3600, trials=6)

    assert storms.broken(service, 6 * 3600, outcome) == []
    assert outcome.reserved


def test_an_outage_that_cannot_be_held_is_seen_to_cost() -> None:
    assert storms.cell("SageMaker", 12 * 3600, trials=6).over_cents > 100


@pytest.mark.parametrize("name", accidents.ROWS)
def test_no_accident_costs_more_than_was_reserved_or_leaves_anything(name: str) -> None:
    outcome = accidents.row(name, trials=3)

    assert accidents.broken(name, outcome) == []
    assert outcome.runs >= 3


def test_every_scenario_ends_well_while_every_defence_is_in_its_place() -> None:
    assert mutations.stories() == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_it_is_noticed_when_a_line_of_defence_is_gone(mutation: Mutation) -> None:
    verdict = mutations.check(mutation)

    assert verdict.noticed, verdict.words


def test_a_mutation_is_undone_after_its_check() -> None:
    assert mutations.check(MUTATIONS[0]).noticed
    assert months.simulate(13).wrong == []


def test_a_scenario_without_a_run_is_not_a_success() -> None:
    assert unsettled(quiet_cloud(1), within=months.timedelta(0)) == ["the run reserved nothing"]


class TestTheTable:
    def test_a_part_that_holds_says_so(self) -> None:
        assert Result("Months", [("months", "3")]).text() == "Months: holds\n  months  3"

    def test_a_broken_promise_is_printed(self) -> None:
        assert "BROKEN  seed 7: spent too much" in Result("Months", [], ["seed 7: spent too much"]).text()

    def test_of_many_broken_promises_the_rest_is_counted(self) -> None:
        assert "and 5 more" in Result("Months", [], ["x"] * 25).text()
