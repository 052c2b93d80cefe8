"""`captune destroy`, which `make destroy` runs before `cdk destroy`: the check, the person's yes, and only then the first change.

CDK would ask too, but after the deny policy was taken off the role and after the buckets had been emptied: a person who
then said no was left without that line of defence, or without the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from captune import account, empty, idle, release
from captune.account import Refused, Region, Yes
from common.aws import error_code

STACKS = ("Captune-Guardrail", "Captune-FineTuning", "Captune-Storage")
_WITH_DATA = "The bucket and the ledger go too, with every corpus, adapter and report, and with the record of what was spent. This cannot be taken back."


def command(
    data: Annotated[bool, typer.Option("--data", help="The bucket and the ledger are to go too.")] = False,
    yes: Yes = False,
    region: Region = None,
) -> None:
    """Checks, asks and lets the stacks be destroyed."""
    print(prepare(account.session(region), input, data=data, agreed=yes))


def prepare(session: Any, ask: Callable[[str], str], *, data: bool = False, agreed: bool = False) -> str:
    """Checks, asks once, checks again what may have changed meanwhile, and lets the stacks be destroyed.

    `ask` shows a question and returns the answer; `data` is to go as well; `agreed` says that the person said yes before.
    Returns what was done. Raises NotIdle, NotWanted, and Refused where the data is protected or no stack is there; none
    of them has changed anything.
    """
    _refuse_where_nothing_is(session)
    print(idle.check(session))
    if data:
        empty.refuse_protected(session)
    if not agreed:
        place = f"{session.region_name} of account {empty.account_id(session)}"
        what = f"This destroys the stacks of Captune in {place}: state machines, functions, alarms and the budget."
        empty.await_yes(session, ask, f"{what} {_WITH_DATA if data else 'The bucket and the ledger are kept.'}")
    return f"{release.release(session)}\nThe stacks are still there: make destroy goes on and has cdk destroy them."


def _refuse_where_nothing_is(session: Any) -> None:
    """A check that finds nothing of the project would pass in the wrong region, and CDK ignores stacks that it does not find."""
    cloudformation = session.client("cloudformation")
    for name in STACKS:
        try:
            cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            if error_code(error) != "ValidationError":  # CloudFormation's word for a stack that does not exist
                raise
        else:
            return
    raise Refused(
        f"There is no stack of Captune in {session.region_name} of account {empty.account_id(session)}. Another region is named as "
        'make destroy ARGS="-c region=NAME", another account as AWS_PROFILE=NAME make destroy'
    )
