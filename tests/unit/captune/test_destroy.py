"""`captune dev idle` and `captune destroy`: nothing may be left that bills, and nothing changes before you agree."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from captune import destroy
from captune.account import Refused
from tests.doubles.aws_account import ACCOUNT, FakeSession, deployed
from tests.doubles.lambda_fakes import NOW, TEAR_DOWN, refusal


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destroy, "now", lambda: NOW)


def test_an_account_in_which_nothing_bills_is_idle() -> None:
    jobs = {"captune-abc": "Completed", "captune-x": "InProgress"}
    others = deployed(jobs=jobs, endpoints={"my-captune-x": "InService"})
    others.client("sagemaker").tags["captune-x"] = {"project": "theirs"}
    half_destroyed = deployed()
    half_destroyed.client("stepfunctions").troubles["list_executions"] = [refusal("StateMachineDoesNotExist")] * 2
    for account in (deployed(), others, half_destroyed, deployed(stacks=())):
        assert "Nothing of this project bills" in destroy.refuse_while_something_bills(account)


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (deployed(running=("abc",)), "execution abc"),
        (deployed(running=("abc",), machine=TEAR_DOWN), "execution abc"),
        (deployed(jobs={"captune-abc": "InProgress"}), "training job captune-abc: InProgress"),
        (deployed(jobs={"captune-abc-try2": "Stopping"}), "training job captune-abc-try2: Stopping"),
        (deployed(stacks=(), endpoints={"captune-abc": "InService"}), "endpoint captune-abc: InService"),
    ],
)
def test_what_bills_is_named_with_what_ends_it(account: FakeSession, named: str) -> None:
    with pytest.raises(Refused, match="captune stop RUN") as refused:
        destroy.refuse_while_something_bills(account)
    assert f": {named}. Wait" in str(refused.value)


class Person:
    """Gives every question the same answer, after something may have happened."""

    def __init__(self, answer: bool, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._answer, self._meanwhile, self.asked = answer, meanwhile, list[str]()

    def __call__(self, question: str) -> bool:
        self.asked.append(question)
        self._meanwhile()
        return self._answer


@pytest.mark.parametrize(("data", "words"), [(False, "are kept"), (True, "cannot be undone")])
def test_any_answer_but_yes_changes_nothing(data: bool, words: str, emptied: list[Any]) -> None:
    account, person = deployed(), Person(False)
    with pytest.raises(Refused, match="Nothing was changed"):
        destroy.prepare(account, person, data=data)
    assert account.services["iam"].attached and not emptied
    assert f"us-east-1 of account {ACCOUNT}" in person.asked[0] and words in person.asked[0]


@pytest.mark.parametrize(("agreed", "data"), [(False, False), (True, True), (False, True)])
def test_yes_or_agreement_detaches_the_policy_and_empties_data(agreed: bool, data: bool, emptied: list[Any]) -> None:
    account, person = deployed(), Person(True)
    assert "The stacks are still there" in destroy.prepare(account, person, agreed=agreed, data=data)
    assert (account.services["iam"].attached, bool(person.asked), bool(emptied)) == (False, not agreed, data)
    assert "not attached to fine-tuning" in destroy.detach(account)
    assert "No deny policy" in destroy.detach(deployed(stacks=()))


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (deployed(stacks=()), "no stack of Captune in us-east-1"),
        (deployed(running=("abc",)), "abc"),
        (deployed(protected=True), "retain_data"),
    ],
)
@pytest.mark.parametrize("agreed", [False, True])
def test_what_stands_in_the_way_is_reported_before_anybody_is_asked(
    account: FakeSession, words: str, agreed: bool, emptied: list[Any]
) -> None:
    person = Person(True)
    with pytest.raises(Refused, match=words):
        destroy.prepare(account, person, data=True, agreed=agreed)
    assert not person.asked and not emptied and account.services["iam"].attached


def test_a_run_that_began_during_the_question_stops_it(emptied: list[Any]) -> None:
    account = deployed()
    endpoints = account.client("sagemaker").endpoints
    person = Person(True, lambda: endpoints.update({"captune-abc": "Creating"}))
    with pytest.raises(Refused, match="captune-abc"):
        destroy.prepare(account, person, data=True)
    assert account.services["iam"].attached and not emptied


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The accounts whose buckets were emptied."""
    found: list[Any] = []

    def empty(account: FakeSession) -> list[str]:
        found.append(account)
        return ["Deleted."]

    monkeypatch.setattr(destroy, "empty", empty)
    return found


@pytest.fixture
def session() -> Iterator[boto3.Session]:
    """An account of moto with the Storage stack: two versions in the data bucket, which is logged, and a log."""
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        versioned = {"BucketName": "z-data", "VersioningConfiguration": {"Status": "Enabled"}}
        buckets = {"AccessLogs": {"BucketName": "a-logs"}, "Data": versioned}
        resources = {name: {"Type": "AWS::S3::Bucket", "Properties": given} for name, given in buckets.items()}
        template = json.dumps({"Resources": resources})
        session.client("cloudformation").create_stack(StackName="Captune-Storage", TemplateBody=template)
        s3 = session.client("s3")
        for bucket in ("z-data", "z-data", "a-logs"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"text")
            s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
        yield session


def calls_of(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[str]:
    """Every request to S3 that changes something, with its bucket, from now on; `answers` are given in place of moto's."""
    calls: list[str] = []
    made = BaseClient._make_api_call

    def noting(self: Any, operation: str, request: dict[str, Any]) -> Any:
        if operation.startswith(("Put", "Delete")):
            calls.append(f"{operation} {request['Bucket']}")
        return answers.get(operation) or made(self, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", noting)
    return calls


def test_logging_ends_first_and_the_logs_go_last(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch)
    assert destroy.empty(session)[-1] == "Deleted 1 object versions from a-logs."
    # The policy of the data's own bucket stays: it keeps requests without TLS away.
    silenced = ["PutBucketLogging z-data", "PutBucketLogging a-logs", "DeleteBucketPolicy a-logs"]
    assert calls == [*silenced, "DeleteObjects z-data", "DeleteObjects a-logs"]
    assert "Versions" not in session.client("s3").list_object_versions(Bucket="z-data")
    session.client("s3").delete_bucket(Bucket="z-data")
    assert "z-data is gone already." in destroy.empty(session)


def test_what_s3_keeps_is_an_error(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"Errors": [{"Key": "k", "Code": "AccessDenied", "Message": "locked"}]}
    calls_of(monkeypatch, DeleteObjects=kept)
    with pytest.raises(Refused, match="kept 1 object versions"):
        destroy.empty(session)
