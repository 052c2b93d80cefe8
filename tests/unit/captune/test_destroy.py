"""`captune destroy` and `captune empty` change nothing before the person said yes: not the role's deny policy, not the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from captune import destroy
from captune.account import Refused
from captune.idle import NotIdle
from tests.doubles.aws_account import ACCOUNT, Account, deployed
from tests.doubles.ledger_fakes import FakeLedger


class Person:
    """Gives every question the same answer, after something may have happened. None stands for nobody at the terminal."""

    def __init__(self, answer: str | None, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._answer, self._meanwhile = answer, meanwhile
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        self._meanwhile()
        if self._answer is None:
            raise EOFError
        return self._answer


def untouched(account: Account) -> bool:
    return account.services["iam"].attached and not account.services["budgets"].steps


@pytest.mark.parametrize(
    ("answer", "data", "words"), [("no", False, "are kept"), ("", True, "cannot be taken back"), ("y", False, ""), (None, False, "")]
)  # fmt: skip
def test_any_answer_but_yes_changes_nothing(answer: str | None, data: bool, words: str) -> None:
    account, person = deployed(), Person(answer)
    with pytest.raises(destroy.NotWanted):
        destroy.prepare(account, person, data=data)
    assert untouched(account)
    assert f"us-east-1 of account {ACCOUNT}" in person.asked[0] and words in person.asked[0]


@pytest.mark.parametrize(("answer", "agreed", "asked"), [(" YES\n", False, 1), ("no", True, 0)])
def test_yes_or_agreement_takes_the_deny_policy_off(answer: str, agreed: bool, asked: int) -> None:
    account, person = deployed(), Person(answer)
    assert "The stacks are still there" in destroy.prepare(account, person, agreed=agreed)
    assert not account.services["iam"].attached and len(person.asked) == asked


@pytest.mark.parametrize(
    ("account", "data", "error", "words"),
    [
        (deployed(stacks=()), False, Refused, "no stack of Captune in us-east-1"),
        (deployed(FakeLedger().with_run("abc")), False, NotIdle, "captune-abc"),
        (deployed(protected=True), True, Refused, "retain_data"),
    ],
    ids=["no stack there", "a run bills", "data is protected"],
)
def test_what_stands_in_the_way_is_told_before_anybody_is_asked(
    account: Account, data: bool, error: type[Exception], words: str
) -> None:
    person = Person("yes")
    with pytest.raises(error, match=words):
        destroy.prepare(account, person, data=data)
    assert not person.asked and untouched(account)


def test_a_run_that_began_during_the_question_stops_it() -> None:
    ledger = FakeLedger()
    account = deployed(ledger)
    with pytest.raises(NotIdle, match="captune-abc"):
        destroy.prepare(account, Person("yes", meanwhile=lambda: ledger.with_run("abc")))
    assert untouched(account)


def test_data_is_deleted_only_after_a_yes_and_while_nothing_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[Any] = []
    monkeypatch.setattr(destroy, "empty", emptied.append)
    for account, answer, error in (
        (deployed(), "no", destroy.NotWanted),
        (deployed(), None, destroy.NotWanted),
        (deployed(FakeLedger().with_run("abc")), "yes", NotIdle),
        (deployed(protected=True), "yes", Refused),
    ):
        with pytest.raises(error):
            destroy.ask_and_empty(account, Person(answer))
    assert not emptied
    destroy.ask_and_empty(deployed(), Person("yes"))
    destroy.ask_and_empty(deployed(), Person(None), agreed=True)
    assert len(emptied) == 2


VERSIONED = {"BucketName": "z-data", "VersioningConfiguration": {"Status": "Enabled"}}
BUCKETS = {
    "AccessLogs": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "a-logs"}},
    "Data": {"Type": "AWS::S3::Bucket", "Properties": VERSIONED},
}


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An account of moto with the Storage stack: two versions in the data bucket, which is logged, and a log."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        template = json.dumps({"Resources": BUCKETS})
        session.client("cloudformation").create_stack(StackName="Captune-Storage", TemplateBody=template)
        s3 = session.client("s3")
        for bucket in ("z-data", "z-data", "a-logs"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"text")
            s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
        yield session


def calls_of(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[tuple[str, str]]:
    """Every request to S3 that changes something, with its bucket, from now on; `answers` are given in place of moto's."""
    calls: list[tuple[str, str]] = []
    made = BaseClient._make_api_call

    def noting(self: Any, operation: str, request: dict[str, Any]) -> Any:
        if operation.startswith(("Put", "Delete")):
            calls.append((operation, request["Bucket"]))
        return answers.get(operation) or made(self, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", noting)
    return calls


def test_logging_ends_before_the_data_is_deleted_and_the_logs_go_last(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(monkeypatch)
    assert destroy.empty(session).endswith("Deleted 1 object versions from a-logs.")
    # The policy of the data's own bucket stays: it keeps requests without TLS away.
    assert calls == [
        ("PutBucketLogging", "z-data"),
        ("PutBucketLogging", "a-logs"),
        ("DeleteBucketPolicy", "a-logs"),
        ("DeleteObjects", "z-data"),
        ("DeleteObjects", "a-logs"),
    ]
    assert "Versions" not in session.client("s3").list_object_versions(Bucket="z-data")
    session.client("s3").delete_bucket(Bucket="z-data")
    assert "z-data is gone already." in destroy.empty(session)


def test_what_s3_keeps_is_an_error(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"Errors": [{"Key": "k", "Code": "AccessDenied", "Message": "locked"}]}
    calls_of(monkeypatch, DeleteObjects=kept)
    with pytest.raises(Refused, match="kept 1 object versions"):
        destroy.empty(session)


def test_protected_data_is_left_as_it_is() -> None:
    with pytest.raises(Refused, match="retain_data=false"):
        destroy.empty(deployed(protected=True))
