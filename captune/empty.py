"""`captune empty`: asks, and deletes all data in the buckets of the Storage stack, so that `cdk destroy` can delete them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from captune import account, idle
from captune.account import Refused, Region, Yes
from common.aws import error_code

STACK = "Captune-Storage"
YES = "yes"
_LOGS = "AccessLogs"  # how the logical id of the bucket begins that holds the access logs of the other one


class NotWanted(Refused):
    """The person did not say yes. Nothing was changed."""


def command(yes: Yes = False, region: Region = None) -> None:
    """Asks and deletes what is in the buckets."""
    print(ask_and_empty(account.session(region), input, agreed=yes))


def ask_and_empty(session: Any, ask: Callable[[str], str], *, agreed: bool = False) -> str:
    """Checks, asks once and deletes what is in the buckets; `agreed` says that the person said yes before.

    Returns what was deleted. Raises NotIdle and NotWanted, and what empty() raises.
    """
    if not agreed:
        print(idle.check(session))
        refuse_protected(session)
        place = f"{session.region_name} of account {account_id(session)}"
        what = f"This deletes every version of every corpus, adapter and report of Captune in {place}."
        await_yes(session, ask, f"{what} This cannot be taken back.")
    return empty(session)


def account_id(session: Any) -> str:
    """The number of the account that the session's credentials belong to."""
    return str(session.client("sts").get_caller_identity()["Account"])


def await_yes(session: Any, ask: Callable[[str], str], question: str) -> None:
    """Asks, and checks again what may have changed meanwhile. Raises NotWanted and NotIdle."""
    try:
        answer = ask(f"{question}\nType {YES} to go on: ")
    except EOFError:
        answer = ""
        print(f"\nNo answer. Without a terminal, say {YES} beforehand: make destroy ARGS=--force")
    if answer.strip().lower() != YES:
        raise NotWanted("Nothing was changed: nothing was destroyed and nothing was deleted.")
    idle.check(session)


def refuse_protected(session: Any) -> None:
    """Raises Refused while the stack protects its data, because it was deployed with retain_data true."""
    described = session.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    if described.get("EnableTerminationProtection"):
        raise Refused(
            f"The stack {STACK} is protected, because it was deployed with retain_data true. To delete the data too, run "
            'make deploy ARGS="-c retain_data=false" first'
        )


def empty(session: Any) -> str:
    """Ends the access logging, then deletes every version of every object in the project's buckets. Safe to repeat.

    A bucket that does not exist counts as empty. Raises Refused while the data is protected or where S3 kept some of it,
    ClientError where S3 refuses the request.
    """
    refuse_protected(session)
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
    resources = session.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
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
