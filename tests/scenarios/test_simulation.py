"""Months, outages and control experiments, each a small part of what `captune dev prove-cap` runs."""

import random
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common import aws
from common.ledger.ledger import Ledger
from common.pricing import costs, prices
from preflight.account.quotas import ENDPOINT, Quota, read
from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.interpreter import Failure, Interpreter, Steps, catches
from tests.doubles.aws_account import said
from verification.simulation import Result, controls, months, outages, rows
from verification.simulation.__main__ import command, replay
from verification.simulation.account import calm
from verification.simulation.control_experiments import at_a_months_end
from verification.simulation.controls import CONTROLS
from verification.simulation.definitions import PROJECT, functions
from verification.simulation.world import NOON, SERVICES, World

pytestmark = pytest.mark.slow
# Some controls take hundreds of months: `make test` looks for each third one, `make test-thorough` for the others.
EACH = 3


def test_random_months_stay_under_their_caps_and_leave_nothing() -> None:
    outcome = months.simulate_many(range(20_000, 20_120))

    assert outcome.wrong == []
    # The months were no idle ones: every ending was met.
    endings = ("reserved", "clamped", "BudgetExceeded", "PriceUnknown", "succeeded", "swept", "kept")
    assert all(outcome.counts.get(what, 0) >= 2 for what in endings)
    assert outcome.closest > 0.7


def test_a_state_cannot_ask_for_what_the_services_own_model_lacks() -> None:
    with pytest.raises(Failure) as refused:
        calm(whole=True).aws_call("arn:aws:states:::aws-sdk:sagemaker:deleteModel", {"ModelName": "one", "Force": True})

    assert refused.value.error == "States.Runtime"
    assert "Unknown parameter 'Force'" in (refused.value.cause or "")


def test_prices_and_quotas_are_those_of_the_rehearsals_market_with_its_errors_as_botocore_raises_them() -> None:
    account = calm()
    account.market.prices["ml.g5.2xlarge"] = "1.6"
    account.market.quotas["ml.g5.2xlarge for endpoint usage"] = 0
    service_quotas = account.clients["service-quotas"]
    wanted = [Quota(name, ENDPOINT, 1) for name in ("ml.g5.2xlarge", "ml.none")]

    price = prices.listed(account.clients["pricing"], "us-east-1", "ml.g5.2xlarge", "Hosting")

    assert price is not None and str(price.hourly_usd.normalize()) == "1.6"
    assert [quota.value for quota in read(service_quotas, wanted)] == [0, None]
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        service_quotas.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-NONE")


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_that_ends_after_its_execution_changes_nothing_in_it(fails: bool) -> None:
    execution = Execution("one", "arn:one", NOON)
    caught = [{"ErrorEquals": ["States.ALL"], "Next": "Second"}]
    first = {"Type": "Task", "Resource": "a call", "Next": "Second", "Catch": caught}
    definition = {"StartAt": "First", "States": {"First": first, "Second": {"Type": "Succeed"}}}

    def lands_late(*call: Any) -> Steps[Any]:
        yield 60.0, True
        if fails:
            raise Failure("TooLate")
        return {}

    steps = Interpreter(World(random.Random(1), NOON, 2500), definition, {}, lands_late, execution).run({})
    next(steps)
    execution.end("ABORTED", NOON)
    with suppress(Failure, StopIteration):
        next(steps)

    assert (execution.states(), execution.errors()) == (["First"], [])


def test_small_items_that_nothing_reserved_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "small_items_cents", lambda: 1)
    monkeypatch.setattr(costs, "asking_cents", lambda seconds: 0)

    assert any(" besides its instances and recorded " in words for words in months.simulate_many(range(1, 30)).wrong)


def test_a_month_is_repeated_by_its_seed() -> None:
    assert months.simulate(4711) == months.simulate(4711)


def test_a_runs_item_is_no_larger_than_the_reservation_counts() -> None:
    account, _, _ = rows.play(rows.table()["DeleteEndpointWithoutCapacity x throttled"])
    (item,) = account.runs().values()

    # The console's names have 36 characters, and the item holds the name three times.
    longer = 3 * (36 - len("one"))
    assert 800 < sum(len(name) + len(str(*value.values())) for name, value in item.items()) + longer < 1100


def test_no_client_of_a_simulated_account_stays() -> None:
    months.simulate(13)

    assert [factory.cache_info().currsize for factory in (aws.client, aws.hasty_client, aws.brisk_client)] == [0, 0, 0]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=control.name, marks=[] if number % EACH == 0 else [pytest.mark.thorough])
        for number, control in enumerate(CONTROLS)
    ],
)
def test_it_is_noticed_when_a_line_of_defence_is_gone(number: int) -> None:
    assert controls.check(number)
    assert months.simulate(13).wrong == [], "it is back"


def test_an_outage_at_a_months_end_breaks_nothing_while_every_defence_is_there() -> None:
    assert at_a_months_end() == ""


@pytest.mark.parametrize("service", SERVICES.values())
def test_an_outage_costs_nothing_beyond_what_the_table_says(service: str) -> None:
    outcome = outages.cell(service, 6 * 3600, trials=6)
    further = iter(range(7, 61))
    while not outcome.struck and (seed := next(further, None)):
        outcome.add(outages.trial(service, 6 * 3600, seed))

    assert outages.broken(service, 6 * 3600, outcome) + outages.unmet(service, [outcome]) == []
    assert outcome.reserved


@pytest.mark.parametrize("services", ["EventBridge + ledger", "ledger + Scheduler", "EventBridge + Scheduler"])
def test_two_services_away_cost_what_the_table_says_and_all_of_it_is_recorded(services: str) -> None:
    outcome = outages.cell(services, outages.PAIR_SECONDS, outages.PAIR_TRIALS)

    assert outages.broken(services, outages.PAIR_SECONDS, outcome) == []
    assert services in outages.pairs()
    assert (outcome.over_cents > 100) is (services in outages.TOGETHER)


def test_waiting_for_a_ledger_that_hangs_costs_next_to_nothing() -> None:
    hangs = outages.trial("ledger", 12 * 3600, 10)

    assert outages.broken("ledger", 12 * 3600, hangs) == []
    assert hangs.struck


def test_an_outage_that_no_run_met_proves_nothing() -> None:
    outcome = outages.cell("CloudWatch", 3600, trials=1)

    assert outages.unmet("CloudWatch", [outcome]) == ["CloudWatch unavailable: no run met it"]


@pytest.mark.parametrize(
    "words", ["one was recorded twice", "one went from `settled` to `reserved` with money", "one is recorded at 2 of 1"]
)
def test_no_outage_excuses_a_broken_recording(words: str) -> None:
    account = calm(1)
    account.audit.wrong.append(words)
    outcome = outages.finish(account, "an outage")

    assert outages.broken("Step Functions", 3600, outcome) == [f"an outage: {words}"]


@pytest.mark.parametrize("service", outages.NEEDED)
def test_what_nothing_could_hold_back_is_recorded_all_the_same(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "settle", controls.settled_for_nothing)

    assert any(
        " and recorded 0 in " in words for words in outages.broken(service, 600, outages.cell(service, 600, trials=2))
    )


def test_an_outage_that_cannot_be_held_is_seen_to_cost() -> None:
    assert outages.cell("SageMaker", 12 * 3600, trials=6).over_cents > 100


@pytest.mark.parametrize("name", ["month 7", "outage ledger/600/2"])
def test_what_a_failure_names_can_be_replayed(name: str) -> None:
    log, wrong = replay(name)

    assert wrong == []
    assert len(log) > 20


def test_a_broken_promise_names_its_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Result("Months", [], ["month 7: spent too much"])
    monkeypatch.setattr(months, "prove", lambda *of: broken)

    assert command(["months"], processes=1) == 1
    assert 'captune dev prove-cap --replay "month 7"' in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--months", "0"], ["--only", "typo"], ["--replay", "typo"]])
def test_a_choice_that_leaves_nothing_to_try_is_an_error(arguments: list[str]) -> None:
    assert said("dev", "prove-cap", *arguments)[0] == 2


def test_memory_and_time_limits_are_those_that_the_stack_declares() -> None:
    assert functions()["teardown"] == (256, 300)
    assert functions().keys() == {path.parent.name for path in (PROJECT / "lambdas").glob("*/handler.py")}


@pytest.mark.parametrize(
    ("wildcard", "error", "caught"),
    [
        ("States.ALL", "SageMaker.SageMakerException", True),
        ("States.ALL", "States.Timeout", True),
        ("States.ALL", "States.DataLimitExceeded", False),
        ("States.TaskFailed", "SageMaker.SageMakerException", True),
        ("States.TaskFailed", "States.Timeout", False),
    ],
)
def test_a_wildcard_catches_what_aws_documents_and_no_more(wildcard: str, error: str, caught: bool) -> None:
    assert catches({"ErrorEquals": [wildcard]}, error) is caught
    assert catches({"ErrorEquals": [error]}, error)
