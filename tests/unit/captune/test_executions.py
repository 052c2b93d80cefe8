"""`captune run`, `status` and `logs`: what they start and show, and the errors that they name."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from captune import executions
from captune.executions import events, follow, start, status
from captune.serving import Deployment
from common.errors import InvalidInput
from tests.doubles.aws_account import Answers, FakeSession, deployed, said
from tests.doubles.lambda_fakes import MACHINE, NOW, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger

RUN = "captune-one"
LATER = NOW + timedelta(minutes=20)
ENTERED = {
    "timestamp": NOW,
    "type": "TaskStateEntered",
    "id": 2,
    "stateEnteredEventDetails": {"name": "WaitForTraining"},
}


class Account:
    """An account with one run in it, which has reserved six dollars."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = FakeLedger().with_run("one")
        self.session: FakeSession = deployed(self.ledger)
        self.session.services |= {"s3": None, "scheduler": None}
        self.machines = self.session.services["stepfunctions"]
        self.machines.executions[arn("one")] = {"status": "RUNNING", "startDate": NOW}
        self.machines.histories[arn("one")] = [ENTERED]
        monkeypatch.setattr(boto3, "Session", lambda region_name: self.session)
        monkeypatch.setattr(executions, "now", lambda: LATER)

    @property
    def deployment(self) -> Deployment:
        return Deployment.of(self.session)

    def end(self, result: str, **more: Any) -> None:
        self.machines.executions[arn("one")] |= {"status": result, "stopDate": LATER, **more}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


class TestRun:
    def test_it_starts_an_execution_and_tells_how_to_follow_it(self, account: Account) -> None:
        code, text = said("run")
        (started,) = account.machines.started
        assert (code, started) == (0, {"name": "run-20261124-122000", "input": "{}", "machine": MACHINE})
        for told in (
            "Started captune-run-20261124-122000.",
            "console.aws.amazon.com/states",
            "captune logs captune-run",
        ):
            assert told in text

    def test_two_in_one_second_are_not_mixed_up(self, account: Account) -> None:
        account.machines.troubles["start_execution"] = [refusal("ExecutionAlreadyExists")]
        code, text = said("run")
        assert code == 1 and "Another run was started in this second as run-20261124-122000." in text

    @pytest.mark.parametrize("form", ["text", "file"])
    def test_the_input_is_json_or_a_file_with_it(self, account: Account, tmp_path: Path, form: str) -> None:
        (tmp_path / "input.json").write_text('{"smoke": true}')
        assert said("run", "--input", '{"smoke": true}' if form == "text" else tmp_path / "input.json")[0] == 0
        assert json.loads(account.machines.started[0]["input"]) == {"smoke": True}

    @pytest.mark.parametrize(
        ("given", "told"), [("{", "is not a file or JSON object"), ("[1]", "a JSON object, for example {}")]
    )
    def test_an_input_that_is_no_object_starts_nothing(self, account: Account, given: str, told: str) -> None:
        code, text = said("run", "--input", given)
        assert (code, account.machines.started) == (2, []) and told in " ".join(text.replace("│", "").split())

    def test_an_unknown_key_starts_nothing(self, account: Account) -> None:
        with pytest.raises(InvalidInput, match="did you mean `epochs`"):
            start(account.deployment, {"epochz": 1}, NOW)
        assert not account.machines.started

    def test_watching_shows_each_state_once_until_the_end(self, account: Account, capsys: Any) -> None:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                account.end("FAILED", error="NoCapacity", cause="None is free.")

        assert follow(account.deployment, RUN, pause=pause, clock=lambda: LATER) == 1
        ended, followed = capsys.readouterr()
        told = "RUNNING in WaitForTraining, 20 min elapsed, cost so far at most $0.57 of $6.00 reserved"
        assert followed.count(told) == 1
        assert "FAILED, 20 min elapsed" in ended and "NoCapacity: None is free." in ended

    def test_ctrl_c_leaves_the_run_going(self, account: Account, capsys: Any) -> None:
        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        assert follow(account.deployment, RUN, pause=interrupted, clock=lambda: LATER) == 130
        assert f"{RUN} goes on. Follow it with" in capsys.readouterr().err
        assert account.machines.called("stop_execution") == []


class TestStatus:
    def test_it_shows_state_time_cost_and_link(self, account: Account) -> None:
        code, text = said("status", "latest")
        assert code == 0 and f"latest: {RUN}" in text
        assert "RUNNING in WaitForTraining, 20 min elapsed, cost so far at most $0.57 of $6.00 reserved" in text
        assert f"states/home?region=us-east-1#/v2/executions/details/{arn('one')}" in text

    def test_the_cost_is_the_recorded_one_once_there_is_one(self, account: Account) -> None:
        account.end("SUCCEEDED")
        account.ledger.settled(RUN)
        found = json.loads(said("status", RUN, "--json")[1])
        assert (found["costCents"], found["costIsFinal"], found["elapsedSeconds"]) == (32, True, 1200)

    def test_a_run_that_step_functions_forgot_is_known_from_the_ledger(self, account: Account) -> None:
        account.machines.executions.clear()
        account.ledger.settled(RUN)
        assert status(account.deployment, RUN, LATER)["status"] == "FAILED"

    def test_before_the_reservation_it_has_cost_nothing(self, account: Account) -> None:
        account.machines.executions[arn("two")] = {"status": "RUNNING", "startDate": LATER}
        assert "$0.00 of $0.00 reserved" in said("status", "two")[1]


class TestLogs:
    def test_events_of_lambdas_and_training_come_in_the_order_of_time(self, account: Account) -> None:
        asked: list[dict[str, Any]] = []

        def answer(**wanted: Any) -> dict[str, Any]:
            asked.append(wanted)
            if wanted["logGroupName"] == executions.TRAINING_LOGS:
                raise refusal("ResourceNotFoundException")
            moment = int(NOW.timestamp() * 1000) + (60_000 if "Ask" in wanted["logGroupName"] else 0)
            return {"events": [{"timestamp": moment, "message": wanted["logGroupName"] + "\n"}]}

        account.session.services["logs"] = Answers("logs", filter_log_events=answer)
        ids = {"FunctionsAskLog518A5BBD": "Ask-log", "FunctionsPreflightLog679779F5": "Pre-log", "Bucket": "b"}
        account.session.services["cloudformation"].ids["Captune-FineTuning"] = ids
        assert said("logs", RUN) == (
            0,
            "2026-11-24 12:00:00  Preflight     Pre-log\n2026-11-24 12:01:00  Ask           Ask-log\n",
        )
        assert asked[0]["filterPattern"] == f'?"{RUN}" ?errorType' and "endTime" not in asked[0]
        assert asked[-1]["logStreamNamePrefix"] == f"{RUN}/"
        account.end("FAILED")
        list(events(account.session, status(account.deployment, RUN, LATER)))
        assert asked[-1]["endTime"] > int(LATER.timestamp() * 1000), "the teardown follows the end"

    def test_a_run_without_events_is_told(self, account: Account) -> None:
        account.session.services["logs"] = Answers("logs", filter_log_events={"events": []})
        assert "has no events" in said("logs", RUN)[1]


@pytest.mark.parametrize("name", ["status", "logs"])
def test_an_unknown_run_is_told_with_the_known_ones(account: Account, name: str) -> None:
    code, text = said(name, "oen")
    assert code == 1 and "There is no run captune-oen in your account" in text and RUN in text


@pytest.mark.parametrize("words", [["run"], ["status", RUN], ["logs", "latest"]])
def test_a_project_that_is_not_deployed_is_told(account: Account, words: list[str]) -> None:
    account.session.services["cloudformation"].outputs.clear()
    code, text = said(*words)
    assert code == 1 and "make deploy" in text and "--region NAME" in text


def test_a_missing_permission_is_named(account: Account) -> None:
    told = "User: x is not authorized to perform: states:StartExecution on resource: y"
    account.machines.troubles["start_execution"] = [refusal("AccessDeniedException", told)]
    code, text = said("run")
    assert code == 1 and "allow states:StartExecution for it" in text


def test_an_account_without_runs_has_no_latest_one(account: Account) -> None:
    account.machines.executions.clear()
    assert "There is no run in your account yet. Start one: " in said("status", "latest")[1]
