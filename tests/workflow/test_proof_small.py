"""A small part of `python -m proof`: months of trouble, real threads, and every line of defence removed once."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from common.ledger.ledger import Ledger
from proof.controls import runner as mutations
from proof.controls import scenarios, trials
from proof.controls.registry import MUTATIONS, Mutation
from proof.controls.scenarios import quiet_cloud, unsettled
from proof.result import Result
from proof.simulation import accidents, months, storms, threads
from proof.simulation.trial import Outcome, calm_cloud, finish
from teardown.removal import Removal

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


def test_a_thread_that_dies_is_a_finding_and_so_is_what_it_left_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(ledger: Ledger, run: str, *rest: object) -> None:
        raise ZeroDivisionError(run)

    monkeypatch.setattr(Ledger, "settle", settle)
    wrong = threads.race(seed=1, threads=2, runs_each=1).wrong

    assert any("died: ZeroDivisionError: captune-" in words for words in wrong)
    assert any(words.startswith("RUN#captune-") and words.endswith(" is reserved at the end") for words in wrong)


@pytest.mark.parametrize("service", storms.SERVICES.values())
def test_an_outage_of_six_hours_costs_nothing_beyond_the_reservation_or_what_the_table_says(service: str) -> None:
    outcome = storms.cell(service, 6 * 3600, trials=6)

    assert storms.broken(service, 6 * 3600, outcome) + storms.unmet(service, [outcome]) == []
    assert outcome.reserved


def test_an_outage_that_no_run_met_does_not_hold() -> None:
    outcome = storms.cell("CloudWatch", 3600, trials=1)

    assert storms.broken("CloudWatch", 3600, outcome) == []
    assert storms.unmet("CloudWatch", [outcome]) == ["CloudWatch away: no run met it"]


@pytest.mark.parametrize(
    "words", ["captune-one was settled twice", "captune-one went from settled to reserved with money"]
)
def test_no_outage_excuses_a_broken_settlement(words: str) -> None:
    cloud = calm_cloud(1)
    cloud.audit.wrong += [words, "captune-one is booked at 2 of 1"]
    outcome = finish(cloud, "an outage")

    assert storms.broken("Step Functions", 3600, outcome) == [f"an outage: {words}"]


@pytest.mark.parametrize("service", storms.NEEDED)
def test_what_was_spent_is_booked_though_nothing_could_hold_it(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Ledger.settle
    monkeypatch.setattr(
        Ledger, "settle", lambda ledger, run, actual, *rest: settle(ledger, run, dict.fromkeys(actual, 0), *rest)
    )

    assert any(" and booked 0 in " in words for words in trials.outages(service, 600, trials=2))


def test_an_outage_that_cannot_be_held_is_seen_to_cost() -> None:
    assert storms.cell("SageMaker", 12 * 3600, trials=6).over_cents > 100


@pytest.mark.parametrize("name", accidents.ROWS)
def test_no_accident_costs_more_than_was_reserved_or_leaves_anything(name: str) -> None:
    outcome = accidents.row(name, trials=3)

    assert accidents.broken(name, outcome) == []
    assert outcome.runs >= 3


def test_an_accident_that_no_trial_met_does_not_hold() -> None:
    assert accidents.broken("ledger item with a NULL", Outcome(runs=3)) == ["ledger item with a NULL: no trial met it"]


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


def test_an_endpoint_that_is_deleted_at_once_was_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Removal, "_keep_until", lambda *of: None)

    assert scenarios.kept_once() == ["the endpoint did not stay for as long as it was asked to"]


@pytest.mark.parametrize(
    ("tool", "asked", "answer"),
    [
        (mutations, ["--only", "typo"], "there is no control with 'typo' in its name; there are ledger: the month's"),
        (storms, ["--service", "typo"], "there is no service with 'typo' in its name; there are ledger, SageMaker"),
        (storms, ["--trials", "0"], "argument --trials: 0 is less than 1"),
        (accidents, ["--only", "typo"], "there is no accident with 'typo' in its name; there are deploy, before"),
        (months, ["--months", "0"], "argument --months: 0 is less than 1"),
    ],
)
def test_a_choice_that_leaves_nothing_to_try_is_an_error(
    tool: ModuleType, asked: list[str], answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", *asked])

    with pytest.raises(SystemExit) as ended:
        tool.main()

    assert ended.value.code == 2
    assert answer in capsys.readouterr().err


class TestTheTable:
    def test_a_part_that_holds_says_so(self) -> None:
        assert Result("Months", [("months", "3")]).text() == "Months: holds\n  months  3"

    def test_a_broken_promise_is_printed(self) -> None:
        assert "BROKEN  seed 7: spent too much" in Result("Months", [], ["seed 7: spent too much"]).text()

    def test_of_many_broken_promises_the_rest_is_counted(self) -> None:
        assert "and 5 more" in Result("Months", [], ["x"] * 25).text()
