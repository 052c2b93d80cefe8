"""`make destroy` changes nothing before the person has said yes: not the role's deny policy, not the data."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations import destruction, idle
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.operations.budget_fakes import POLICY, Budgets
from tests.doubles.operations.check_fakes import ACCOUNT, Sts
from tests.doubles.operations.deny_policy import Iam
from tests.doubles.operations.deployed_account import Account as Deployed


class Account(Deployed):
    """An account after the budget alarm: the deny policy is attached, and `protected` data is not to be deleted."""

    def __init__(self, protected: bool = False, stacks: tuple[str, ...] = destruction.STACKS, **more: Any) -> None:
        super().__init__(**more)
        self._outputs |= {"FineTuningRoleName": "fine-tuning", "DenySpendingPolicyArn": POLICY}
        self.iam, self.budgets = Iam(attached=True), Budgets()
        self._services |= {"iam": self.iam, "budgets": self.budgets, "sts": Sts()}
        self._protected, self._stacks = protected, stacks
        self.region_name = "us-east-1"

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName not in self._stacks:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        return {"Stacks": [{"StackName": StackName, "EnableTerminationProtection": self._protected}]}

    @property
    def is_untouched(self) -> bool:
        return self.iam.attached and not self.budgets.steps


class Person:
    """Answers every question in the same way, after something may have happened. None stands for nobody at the terminal."""

    def __init__(self, answer: str | None, meanwhile: Any = None) -> None:
        self._answer, self._meanwhile = answer, meanwhile
        self.asked: list[str] = []

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        if self._meanwhile:
            self._meanwhile()
        if self._answer is None:
            raise EOFError
        return self._answer


@pytest.mark.parametrize("answer", ["no", "", "y", "nonsense", None])
def test_anything_but_yes_changes_nothing(answer: str | None) -> None:
    account = Account()
    with pytest.raises(destruction.NotWanted, match="Nothing was changed"):
        destruction.prepare(account, Person(answer))
    assert account.is_untouched


@pytest.mark.parametrize("answer", ["yes", " YES\n"])
def test_yes_takes_the_deny_policy_off_so_that_the_role_can_be_deleted(answer: str) -> None:
    account, person = Account(), Person(answer)
    assert "Detached the deny policy" in destruction.prepare(account, person)
    assert not account.iam.attached
    assert len(person.asked) == 1


def test_where_no_stack_is_there_it_may_be_another_region_and_nothing_is_said_to_be_gone() -> None:
    account, person = Account(stacks=()), Person("yes")
    with pytest.raises(LookupError, match='no stack of Captune in us-east-1 .* ARGS="-c region=NAME"'):
        destruction.prepare(account, person)
    assert not person.asked and account.is_untouched
    assert "Detached" in destruction.prepare(Account(stacks=("Captune-Storage",)), person)


def test_what_is_prepared_is_not_said_to_be_done() -> None:
    assert "The stacks are still there: make destroy goes on" in destruction.prepare(Account(), Person("yes"))


def test_data_is_deleted_only_after_a_yes_and_not_while_something_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[Any] = []

    def delete(session: Any) -> str:
        emptied.append(session)
        return "Deleted 1"

    monkeypatch.setattr(destruction.bucket, "empty", delete)
    for answer in ("no", None):
        with pytest.raises(destruction.NotWanted, match="nothing was deleted"):
            destruction.empty(Account(), Person(answer))
    with pytest.raises(idle.NotIdle):
        destruction.empty(Account(ledger=FakeLedger().with_run("abc")), Person("yes"))
    with pytest.raises(LookupError, match="retain_data"):
        destruction.empty(Account(protected=True), Person("yes"))
    assert not emptied
    person = Person("yes")
    assert destruction.empty(Account(), person) == "Deleted 1"
    assert "in us-east-1 of account" in person.asked[0] and "cannot be taken back" in person.asked[0]
    assert destruction.empty(Account(), Person(None), agreed=True) == "Deleted 1"


def test_nobody_is_asked_while_something_bills() -> None:
    account, person = Account(ledger=FakeLedger().with_run("abc")), Person("yes")
    with pytest.raises(idle.NotIdle):
        destruction.prepare(account, person)
    assert not person.asked and account.is_untouched


def test_a_run_that_began_while_the_person_was_thinking_stops_it() -> None:
    ledger = FakeLedger()
    account = Account(ledger=ledger)
    with pytest.raises(idle.NotIdle, match="captune-abc"):
        destruction.prepare(account, Person("yes", meanwhile=lambda: ledger.with_run("abc")))
    assert account.is_untouched


def test_who_has_said_yes_beforehand_is_not_asked() -> None:
    account, person = Account(), Person("no")
    destruction.prepare(account, person, agreed=True)
    assert not person.asked and not account.iam.attached


def test_the_question_names_the_account_the_region_and_what_becomes_of_the_data() -> None:
    kept, lost = Person("no"), Person("no")
    for person, data in ((kept, False), (lost, True)):
        with pytest.raises(destruction.NotWanted):
            destruction.prepare(Account(), person, data=data)
    assert f"in us-east-1 of account {ACCOUNT}" in kept.asked[0] and "are kept" in kept.asked[0]
    assert "cannot be taken back" in lost.asked[0]


def test_data_that_is_protected_is_said_to_be_so_before_anything_is_destroyed() -> None:
    account, person = Account(protected=True), Person("yes")
    with pytest.raises(LookupError, match="deployed with retain_data true"):
        destruction.prepare(account, person, data=True)
    assert not person.asked and account.is_untouched
