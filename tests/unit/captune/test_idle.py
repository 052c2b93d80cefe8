"""`captune idle`: nothing may be left that bills when the stacks that would have ended it are destroyed."""

from __future__ import annotations

import json
import shlex

import pytest

from captune import idle
from common.names import run_name
from tests.doubles.aws_account import Account, deployed
from tests.doubles.lambda_fakes import TEAR_DOWN, arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.run_end import TornDownSite as Site


def words(account: Account) -> str:
    with pytest.raises(idle.NotIdle) as refused:
        idle.check(account)
    return str(refused.value)


def commands(text: str) -> list[list[str]]:
    """The commands that a person is told to run, as a shell reads them."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  aws ")]


def tear_down_inputs(text: str) -> list[dict[str, str]]:
    return [json.loads(command[-1]) for command in commands(text)]


SETTLED = FakeLedger().with_run("abc").settled("captune-abc")


@pytest.mark.parametrize(
    "account",
    [
        deployed(SETTLED, jobs={"captune-abc": "Completed"}, endpoints={"my-captune-x": "InService"}),
        deployed(FakeLedger().with_run("abc"), machines={}),
        deployed(FakeLedger().with_run("abc"), machines={TEAR_DOWN: "DELETING"}),
        deployed(stacks=()),
    ],
    ids=["every run is settled", "machines are gone", "TearDown is going", "nothing was deployed"],
)
def test_an_account_in_which_nothing_bills_is_idle(account: Account) -> None:
    assert "Nothing of this project bills" in idle.check(account)


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (deployed(running=("abc",)), "execution abc: RUNNING"),
        (deployed(FakeLedger().with_run("abc")), "reservation of $6.00: not settled"),
        (deployed(jobs={"captune-abc": "InProgress"}), "training job captune-abc: InProgress"),
        (deployed(jobs={"captune-abc-try2": "Stopping"}), "training job captune-abc-try2: Stopping"),
        (deployed(endpoints={"captune-abc": "InService"}), "endpoint captune-abc: InService"),
    ],
    ids=["an execution", "a reservation", "a job", "a job that is stopping", "an endpoint"],
)
def test_what_bills_is_named_with_the_tear_down_that_ends_it(account: Account, named: str) -> None:
    text = words(account)
    assert named in text
    (command,) = commands(text)
    assert command[:3] == ["aws", "stepfunctions", "start-execution"]
    assert command[command.index("--state-machine-arn") + 1] == TEAR_DOWN
    assert tear_down_inputs(text)[0]["runName"] == "captune-abc"


def test_the_advised_tear_down_removes_a_kept_endpoint_at_once() -> None:
    ledger = FakeLedger().with_run("abc", keep_endpoint_seconds=14_400, keep_until="2026-11-24T16:00:00+00:00")
    endpoints = {"captune-abc": "InService"}
    text = words(deployed(ledger, endpoints=endpoints))
    assert "to be kept until 2026-11-24T16:00:00+00:00" in text
    site = Site(ledger, execution="SUCCEEDED", endpoints=endpoints)
    (advised,) = tear_down_inputs(text)
    assert not site.tear_down(advised)["keep"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_the_advised_tear_down_stops_a_running_execution() -> None:
    ledger = FakeLedger().with_run("abc")
    site = Site(ledger, execution="RUNNING")
    site.tear_down(tear_down_inputs(words(deployed(ledger, running=("abc",))))[0])
    assert site.step_functions.executions[arn("abc")]["status"] == "ABORTED"


def test_each_run_has_one_tear_down() -> None:
    mine = run_name("it's_mine")
    ledger = FakeLedger().with_run("it's_mine", run=mine).with_run("b")
    account = deployed(ledger, running=("it's_mine",), jobs={mine: "InProgress"})
    ends = {"status": "UNKNOWN", "reason": "schedule"}
    assert tear_down_inputs(words(account)) == [
        {"runName": run_name(name), "executionArn": arn(name), "executionName": name, **ends}
        for name in ("b", "it's_mine")
    ]


def test_a_damaged_reservation_is_named_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.damage("RUN#captune-a")
    text = words(deployed(ledger))
    assert "a damaged ledger item" in text and "reservation of $6.00: not settled" in text
    assert "captune-c" not in text
    assert [given["runName"] for given in tear_down_inputs(text)] == ["captune-a", "captune-b"]


def test_resources_with_another_tag_are_left_alone_and_told() -> None:
    account = deployed(jobs={"captune-x": "InProgress"}, endpoints={"captune-x": "InService"})
    account.client("sagemaker").tags["captune-x"] = {"project": "theirs"}
    told = idle.check(account)
    assert "Nothing of this project bills" in told
    assert "Left alone: endpoint captune-x: InService, because its tag project is 'theirs'." in told
    assert "aws sagemaker stop-training-job --training-job-name captune-x --region us-east-1" in told


def test_what_outlived_the_stacks_is_ended_by_hand() -> None:
    text = words(deployed(stacks=(), endpoints={"captune-abc": "InService"}, jobs={"captune-b": "InProgress"}))
    assert "TearDown is not deployed" in text
    assert [command[2:5] for command in commands(text)] == [
        ["delete-endpoint", "--endpoint-name", "captune-abc"],
        ["stop-training-job", "--training-job-name", "captune-b"],
    ]
