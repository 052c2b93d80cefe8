"""`make destroy` asks first: nothing may be left that bills when the stacks that would have ended it are gone."""

from __future__ import annotations

import json
import shlex

import boto3
import pytest
from moto import mock_aws

from common.names import run_name
from operations import idle
from operations.__main__ import main
from tests.doubles.lambda_fakes import TEAR_DOWN, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.operations.deployed_account import Account
from tests.doubles.teardown_site import Site


def words(account: Account) -> str:
    with pytest.raises(idle.NotIdle) as refused:
        idle.check(account)
    return str(refused.value)


def commands(text: str) -> list[list[str]]:
    """The commands that a person is told to run, as a shell reads them."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  aws ")]


def tear_down_inputs(text: str) -> list[dict[str, str]]:
    return [json.loads(command[-1]) for command in commands(text)]


def kept() -> FakeLedger:
    """The ledger after a run that asked to keep its endpoint for four hours, and succeeded."""
    return FakeLedger().with_run("abc", keep_endpoint_seconds=14_400, keep_until="2026-11-24T16:00:00+00:00")


def test_an_account_in_which_every_run_is_settled_is_idle() -> None:
    ledger = FakeLedger().with_run("abc").settled("captune-abc")
    account = Account(ledger, jobs={"captune-abc": "Completed"}, endpoints={"my-captune-x": "InService"})
    assert "Nothing of this project bills" in idle.check(account)


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (Account(running=("abc",)), "execution abc: RUNNING"),
        (Account(FakeLedger().with_run("abc")), "reservation of $6.00: not settled"),
        (Account(jobs={"captune-abc": "InProgress"}), "training job captune-abc: InProgress"),
        (Account(jobs={"captune-abc-try2": "Stopping"}), "training job captune-abc-try2: Stopping"),
        (Account(endpoints={"captune-abc": "InService"}), "endpoint captune-abc: InService"),
    ],
    ids=["an execution", "a reservation", "a job", "a job that is stopping", "an endpoint"],
)
def test_each_thing_that_bills_or_runs_is_named_with_the_tear_down_that_ends_it(account: Account, named: str) -> None:
    text = words(account)
    assert named in text
    (command,) = commands(text)
    assert command[:3] == ["aws", "stepfunctions", "start-execution"]
    assert command[command.index("--state-machine-arn") + 1] == TEAR_DOWN
    assert tear_down_inputs(text)[0]["runName"] == "captune-abc"


def test_the_tear_down_that_is_advised_removes_a_kept_endpoint_at_once() -> None:
    endpoints = {"captune-abc": "InService"}
    text = words(Account(kept(), endpoints=endpoints))
    assert "to be kept until 2026-11-24T16:00:00+00:00" in text
    site = Site(kept(), execution="SUCCEEDED", endpoints=endpoints)
    (advised,) = tear_down_inputs(text)
    assert not site.tear_down(advised)["keep"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_the_tear_down_that_is_advised_stops_an_execution_that_still_runs() -> None:
    ledger = FakeLedger().with_run("abc")
    site = Site(ledger, execution="RUNNING")
    site.tear_down(tear_down_inputs(words(Account(ledger, running=("abc",))))[0])
    assert site.step_functions.executions[arn("abc")]["status"] == "ABORTED"


def test_everything_of_one_run_is_ended_by_one_tear_down_and_another_run_by_its_own() -> None:
    mine = run_name("it's_mine")
    ledger = FakeLedger().with_run("it's_mine", run=mine).with_run("b")
    account = Account(ledger, running=("it's_mine",), jobs={mine: "InProgress"})
    assert tear_down_inputs(words(account)) == [
        {
            "runName": run_name(name),
            "executionArn": arn(name),
            "executionName": name,
            "status": "UNKNOWN",
            "reason": "schedule",
        }
        for name in ("b", "it's_mine")
    ]


def test_a_reservation_that_cannot_be_read_is_told_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.table.rows["RUN#captune-a"] |= {"state": {"BOOL": True}, "execution_name": {"NULL": True}}
    ledger.table.rows["RUN#captune-c"]["note"] = {"M": {}}
    text = words(Account(ledger))
    assert "an item of the ledger that cannot be read: state is of the type BOOL" in text
    assert "reservation of $6.00: not settled" in text
    assert "captune-c" not in text
    assert [given["runName"] for given in tear_down_inputs(text)] == ["captune-a", "captune-b"]


def test_a_run_that_only_its_resources_tell_of_is_ended_by_its_own_name() -> None:
    run = run_name("My.Run")
    text = words(Account(endpoints={f"{run}-try2": "InService"}))
    assert tear_down_inputs(text) == [{"runName": run, "status": "UNKNOWN", "reason": "schedule"}]


def test_what_only_has_a_name_like_ours_is_no_reason_to_wait() -> None:
    account = Account(jobs={"captune-x": "InProgress"}, endpoints={"captune-x": "InService"})
    account.client("sagemaker").tags["captune-x"] = {"project": "theirs"}
    assert "Nothing of this project bills" in idle.check(account)


def test_what_outlived_the_stacks_is_ended_by_hand() -> None:
    account = Account(outputs=False, endpoints={"captune-abc": "InService"}, jobs={"captune-b": "InProgress"})
    text = words(account)
    assert "TearDown is not deployed" in text
    assert [command[2:5] for command in commands(text)] == [
        ["delete-endpoint", "--endpoint-name", "captune-abc"],
        ["stop-training-job", "--training-job-name", "captune-b"],
    ]


@pytest.mark.parametrize("machines", [{}, {TEAR_DOWN: "DELETING"}], ids=["gone", "going"])
def test_a_half_destroyed_deployment_can_be_destroyed_to_the_end(machines: dict[str, str]) -> None:
    assert "Nothing of this project bills" in idle.check(Account(FakeLedger().with_run("abc"), machines=machines))


def test_a_refusal_of_aws_is_no_sign_that_nothing_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    account.client("stepfunctions").troubles["describe_state_machine"] = [refusal("AccessDeniedException")]
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    assert main(["idle"]) == 1


def test_the_command_ends_with_1_and_says_only_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = Account(kept(), endpoints={"captune-abc": "InService"})
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    assert main(["idle"]) == 1
    assert capsys.readouterr().err.strip() == words(account)


def test_where_nothing_was_ever_deployed_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        assert main(["--region", "eu-west-1", "idle"]) == 0
