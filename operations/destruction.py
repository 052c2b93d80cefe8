"""What comes before `cdk destroy`: the check, the person's yes, and only then the first change.

CDK would ask too, but after `make release` had taken the deny policy off the role, and after the buckets had been emptied: a
person who then said no was left without that line of defence, or without the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operations import alarm, bucket, idle

YES = "yes"


class NotWanted(RuntimeError):
    """The person did not say yes. Nothing was changed."""


def prepare(session: Any, ask: Callable[[str], str], *, data: bool = False, agreed: bool = False) -> str:
    """Checks, asks once, checks again what the person's thinking time may have changed, and lets the stacks be destroyed.

    `ask` shows a question and gives the answer; `data` is to go as well; `agreed` says that the person has said yes before.
    Answers what was done. Raises idle.NotIdle, NotWanted, and LookupError where the data that is to go is protected; none of
    them has changed anything.
    """
    print(idle.check(session))
    if data:
        bucket.refuse_protected(session)
    if not agreed:
        if not _says_yes(ask, _question(_account(session), session.region_name, data)):
            raise NotWanted("Nothing was changed and nothing was destroyed.")
        idle.check(session)
    return alarm.release(session)


def _account(session: Any) -> str:
    return str(session.client("sts").get_caller_identity()["Account"])


def _question(account: str, region: str, data: bool) -> str:
    kept = (
        "The bucket and the ledger go too, with every corpus, adapter and report, and with the record of what was spent: this cannot be taken back."
        if data
        else "The bucket and the ledger are kept."
    )
    return (
        f"This destroys the stacks of Captune in {region} of account {account}: state machines, functions, alarms and the budget. {kept}\n"
        f"Type {YES} to go on: "
    )


def _says_yes(ask: Callable[[str], str], question: str) -> bool:
    try:
        return ask(question).strip().lower() == YES
    except EOFError:
        # Nobody is there to be asked.
        print(f"\nNo answer. Without a terminal, say {YES} beforehand: make destroy ARGS=--force")
        return False
