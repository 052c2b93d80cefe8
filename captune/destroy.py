"""`captune destroy` and `captune empty`, which `make destroy` runs around `cdk destroy`: the check, the person's yes, and only then the first change.

CDK would ask too, but after the deny policy was taken off the role and after the buckets had been emptied: a person who
then said no was left without that line of defence, or without the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from captune import account, idle, release
from captune.account import Refused, Region, Yes
from common.aws import error_code

GUARDRAIL, RUNS, STORAGE = STACKS = ("Captune-Guardrail", "Captune-FineTuning", "Captune-Storage")
YES = "yes"
_LOGS = "AccessLogs"  # how the logical id of the bucket begins that holds the access logs of the other one
_FOR_GOOD = "This cannot be taken back."
_WITH_DATA = f"The bucket and the ledger go too, with every corpus, adapter and report, and with the record of what was spent. {_FOR_GOOD}"


class NotWanted(Refused):
    """The person did not say yes. Nothing was changed."""


def command(
    data: Annotated[bool, typer.Option("--data", help="The bucket and the ledger are to go too.")] = False,
    yes: Yes = False,
    region: Region = None,
) -> None:
    """Checks, asks and lets the stacks be destroyed."""
    print(prepare(account.session(region), input, data=data, agreed=yes))


def empty_command(yes: Yes = False, region: Region = None) -> None:
    """Asks and deletes what is in the buckets."""
    print(ask_and_empty(account.session(region), input, agreed=yes))


def prepare(session: Any, ask: Callable[[str], str], *, data: bool = False, agreed: bool = False) -> str:
    """Checks, asks once, checks again what may have changed meanwhile, and takes the deny policy off, which would keep its stack.

    `ask` shows a question and returns the answer; `data` is to go as well; `agreed` says that the person said yes before.
    Returns what was done. Raises NotIdle, NotWanted, and Refused where the data is protected or no stack is there; none
    of them has changed anything.
    """
    _refuse_where_nothing_is(session)
    what = (
        f"This destroys the stacks of Captune in {_place(session)}: state machines, functions, alarms and the budget."
    )
    _agree(session, ask, f"{what} {_WITH_DATA if data else 'The bucket and the ledger are kept.'}", data, agreed)
    return f"{release.detach(session)}\nThe stacks are still there: make destroy goes on and has cdk destroy them."


def ask_and_empty(session: Any, ask: Callable[[str], str], *, agreed: bool = False) -> str:
    """Checks, asks once and deletes what is in the buckets; `agreed` says that make destroy has asked and checked.

    Returns what was deleted. Raises NotIdle and NotWanted, and what empty() raises.
    """
    what = f"This deletes every version of every corpus, adapter and report of Captune in {_place(session)}."
    if not agreed:
        _agree(session, ask, f"{what} {_FOR_GOOD}", data=True, agreed=False)
    return empty(session)


def _place(session: Any) -> str:
    """The region, and the account that the session's credentials belong to."""
    return f"{session.region_name} of account {session.client('sts').get_caller_identity()['Account']}"


def _agree(session: Any, ask: Callable[[str], str], question: str, data: bool, agreed: bool) -> None:
    """Checks, and asks unless the person has agreed. Raises NotIdle, NotWanted, and Refused for data that is protected."""
    print(idle.check(session))
    if data:
        _refuse_protected(session)
    if agreed:
        return
    try:
        answer = ask(f"{question}\nType {YES} to go on: ")
    except EOFError:
        answer = ""
        print(f"\nNo answer. Without a terminal, say {YES} beforehand: make destroy ARGS=--force")
    if answer.strip().lower() != YES:
        raise NotWanted("Nothing was changed: nothing was destroyed and nothing was deleted.")
    idle.check(session)  # a run may have begun meanwhile


def _refuse_where_nothing_is(session: Any) -> None:
    """A check that finds nothing of the project would pass in the wrong region, and CDK ignores stacks that it does not find."""
    pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
    if any(stack["StackName"] in STACKS for page in pages for stack in page["Stacks"]):
        return
    raise Refused(
        f"There is no stack of Captune in {_place(session)}. Another region is named as "
        'make destroy ARGS="-c region=NAME", another account as AWS_PROFILE=NAME make destroy'
    )


def _refuse_protected(session: Any) -> None:
    """Raises Refused while the stack protects its data, because it was deployed with retain_data true."""
    described = session.client("cloudformation").describe_stacks(StackName=STORAGE)["Stacks"][0]
    if described.get("EnableTerminationProtection"):
        raise Refused(
            f"The stack {STORAGE} is protected, because it was deployed with retain_data true. To delete the data too, run "
            'make deploy ARGS="-c retain_data=false" first'
        )


def empty(session: Any) -> str:
    """Ends the access logging, then deletes every version of every object in the project's buckets. Safe to repeat.

    A bucket that does not exist counts as empty. Raises Refused while the data is protected or where S3 kept some of it,
    ClientError where S3 refuses the request.
    """
    _refuse_protected(session)
    s3 = session.resource("s3")
    buckets = _buckets(session)
    # S3 delivers access logs hours late. One that came after the emptying would keep the bucket from being deleted, so
    # their sender is turned away first: by the setting, which takes effect slowly, and by the policy that lets it write.
    for logical_id, name in buckets:
        _unless_gone(s3.meta.client.put_bucket_logging, Bucket=name, BucketLoggingStatus={})
        if logical_id.startswith(_LOGS):
            _unless_gone(s3.meta.client.delete_bucket_policy, Bucket=name)
    return "\n".join(_emptied(s3.Bucket(name)) for _, name in buckets)


def _buckets(session: Any) -> list[tuple[str, str]]:
    """Logical id and name of each bucket that is there, the access logs' last: emptying the other one is logged too."""
    resources = session.client("cloudformation").describe_stack_resources(StackName=STORAGE)["StackResources"]
    found = [
        (resource["LogicalResourceId"], resource["PhysicalResourceId"])
        for resource in resources
        # After a deletion that failed, CloudFormation still lists what it has deleted.
        if resource["ResourceType"] == "AWS::S3::Bucket" and resource["ResourceStatus"] != "DELETE_COMPLETE"
    ]
    return sorted(found, key=lambda one: one[0].startswith(_LOGS))


def _emptied(bucket: Any) -> str:
    answers = _unless_gone(bucket.object_versions.delete)
    if answers is None:
        return f"{bucket.name} is gone already."
    # S3 answers a bulk deletion with success even where it kept every object, and says so for each of them.
    kept = [error for answer in answers for error in answer.get("Errors", [])]
    if kept:
        raise Refused(
            f"S3 kept {len(kept)} object versions of {bucket.name}, the first of them {kept[0].get('Key')} "
            f"({kept[0].get('Code')}: {kept[0].get('Message')}). The others are deleted: mend that and run it again, "
            "for SlowDown or InternalError just run it again"
        )
    return f"Deleted {sum(len(answer.get('Deleted', [])) for answer in answers)} object versions from {bucket.name}."


def _unless_gone(call: Callable[..., Any], **request: Any) -> Any:
    """What a call returns, None where its bucket does not exist."""
    try:
        return call(**request)
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise
        return None
