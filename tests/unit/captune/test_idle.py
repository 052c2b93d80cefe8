"""`captune idle`: nothing may be left that bills when the stacks that would have ended it are destroyed."""

from __future__ import annotations

import pytest

from captune import idle
from common.names import run_name
from tests.doubles.aws_account import Account, deployed
from tests.doubles.lambda_fakes import NOW, TEAR_DOWN
from tests.doubles.ledger_fakes import FakeLedger


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment of the accounts here."""
    monkeypatch.setattr(idle, "now", lambda: NOW)


def words(account: Account) -> str:
    with pytest.raises(idle.NotIdle) as refused:
        idle.check(account)
    return str(refused.value)


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
def test_what_bills_is_named_with_what_ends_it(account: Account, named: str) -> None:
    text = words(account)
    assert "  captune-abc\n" in text and named in text
    assert ("captune stop captune-abc --region us-east-1" in text) is ("reservation" in named)
    assert ("in the SageMaker and Step Functions consoles" in text) is ("reservation" not in named)


def test_a_kept_endpoint_is_named_with_its_end() -> None:
    ledger = FakeLedger().with_run("abc", keep_endpoint_seconds=14_400, keep_until="2026-11-24T16:00:00+00:00")
    text = words(deployed(ledger, endpoints={"captune-abc": "InService"}))
    assert "to be kept until 2026-11-24T16:00:00+00:00" in text


def test_each_run_is_named_once() -> None:
    mine = run_name("it's_mine")
    ledger = FakeLedger().with_run("it's_mine", run=mine).with_run("b")
    text = words(deployed(ledger, running=("it's_mine",), jobs={mine: "InProgress"}))
    assert [line.strip() for line in text.splitlines() if line.startswith("  c")] == ["captune-b", mine]
    assert text.count("captune stop ") == 2


def test_a_damaged_reservation_is_named_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.table.rows["RUN#captune-a"] |= {"state": {"BOOL": True}, "execution_name": {"NULL": True}}
    ledger.table.rows["RUN#captune-c"]["note"] = {"M": {}}
    text = words(deployed(ledger))
    assert "cannot be read: state is of the type BOOL" in text and "reservation of $6.00: not settled" in text
    assert "captune-c" not in text
    assert "captune stop captune-a" in text and "captune stop captune-b" in text


def test_resources_with_another_tag_are_left_alone_and_told() -> None:
    account = deployed(jobs={"captune-x": "InProgress"}, endpoints={"captune-x": "InService"})
    account.client("sagemaker").tags["captune-x"] = {"project": "theirs"}
    told = idle.check(account)
    assert "Nothing of this project bills" in told
    assert "Left alone: endpoint captune-x: InService, because its tag project is 'theirs'." in told


def test_what_outlived_the_stacks_is_ended_by_hand() -> None:
    text = words(deployed(stacks=(), endpoints={"captune-abc": "InService"}, jobs={"captune-b": "InProgress"}))
    assert "captune stop" not in text and text.count("in the SageMaker and Step Functions consoles") == 2
