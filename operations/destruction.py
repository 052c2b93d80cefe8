"""What comes before `cdk destroy`: the check, the person's yes, and only then the first change.

CDK would ask too, but after `make release` had taken the deny policy off the role, and after the buckets had been emptied: a
person who then said no was left without that line of defence, or without the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code
from operations import alarm, bucket, idle

YES = "yes"
STACKS = ("Captune-Guardrail", "Captune-FineTuning", "Captune-Storage")
_GO_ON = f"\nType {YES} to go on: "
_FOR_GOOD = f" This cannot be taken back.{_GO_ON}"


class NotWanted(RuntimeError):
    """The person did not say yes. Nothing was changed."""


def prepare(session: Any, ask: Callable[[str], str], *, data: bool = False, agreed: bool = False) -> str:
    """Checks, asks once, checks again what the person's thinking time may have changed, and lets the stacks be destroyed.

    `ask` shows a question and gives the answer; `data` is to go as well; `agreed` says that the person has said yes before.
    Answers what was done. Raises idle.NotIdle, NotWanted, and LookupError where the data that is to go is protected; none of
    them has changed anything. LookupError also where none of the stacks is there.
    """
    _refuse_where_nothing_is(session)
    print(idle.check(session))
    if data:
        bucket.refuse_protected(session)
    if not agreed:
        _await_yes(session, ask, _question(_account(session), session.region_name, data))
    return f"{alarm.release(session)}\nThe stacks are still there: make destroy goes on and has cdk destroy them."


def empty(session: Any, ask: Callable[[str], str], *, agreed: bool = False) -> str:
    """Checks, asks once and deletes what is in the buckets; `agreed` says that the person has said yes before.

    Answers what was done. Raises idle.NotIdle, NotWanted, and LookupError as bucket.empty does.
    """
    if not agreed:
        print(idle.check(session))
        bucket.refuse_protected(session)
        question = f"This deletes every version of every corpus, adapter and report of Captune in {session.region_name} of account {_account(session)}.{_FOR_GOOD}"
        _await_yes(session, ask, question)
    return bucket.empty(session)


def _refuse_where_nothing_is(session: Any) -> None:
    """A check that finds nothing of the project would pass in the wrong region, and CDK says nothing of stacks that it does not find."""
    cloudformation = session.client("cloudformation")
    for name in STACKS:
        try:
            cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            if error_code(error) != "ValidationError":  # CloudFormation's word for a stack that does not exist
                raise
        else:
            return
    raise LookupError(
        f"there is no stack of Captune in {session.region_name} of account {_account(session)}. Another region is named as "
        'make destroy ARGS="-c region=NAME", another account as AWS_PROFILE=NAME make destroy'
    )


def _account(session: Any) -> str:
    return str(session.client("sts").get_caller_identity()["Account"])


def _question(account: str, region: str, data: bool) -> str:
    kept = (
        "The bucket and the ledger go too, with every corpus, adapter and report, and with the record of what was spent."
        if data
        else "The bucket and the ledger are kept."
    )
    return (
        f"This destroys the stacks of Captune in {region} of account {account}: state machines, functions, alarms and the budget. {kept}"
        + (_FOR_GOOD if data else _GO_ON)
    )


def _await_yes(session: Any, ask: Callable[[str], str], question: str) -> None:
    """Asks, and checks again what the person's thinking time may have changed. Raises NotWanted and idle.NotIdle."""
    if not _says_yes(ask, question):
        raise NotWanted("Nothing was changed: nothing was destroyed and nothing was deleted.")
    idle.check(session)


def _says_yes(ask: Callable[[str], str], question: str) -> bool:
    try:
        return ask(question).strip().lower() == YES
    except EOFError:
        # Nobody is there to be asked.
        print(f"\nNo answer. Without a terminal, say {YES} beforehand: make destroy ARGS=--force")
        return False
