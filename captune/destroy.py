"""`captune dev idle` and `captune destroy`, which `make destroy` runs before `cdk destroy`: stop while something is billed, ask once, then prepare.

TearDown and the sweeper live in the stacks: an endpoint that outlives them bills until you notice. CDK would ask too, but after the
deny policy was detached and the buckets emptied.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import typer

from captune import account
from captune.account import NotDeployed, Refused, output
from captune.flags import Region, Yes
from common.aws import unless
from common.clock import now
from common.names import PREFIX
from common.resources import ENDPOINT, TRAINING_JOB, Tags, find_present

GUARDRAIL, RUNS, STORAGE = STACKS = ("Captune-Guardrail", "Captune-FineTuning", "Captune-Storage")
_LOGS = "AccessLogs"  # how the logical id of the bucket begins that holds the access logs of the other one
_WITH_DATA = (
    "The bucket and the ledger go too, with every corpus, adapter and report, and with the record of what was spent. "
    "This cannot be undone."
)


def idle_command(region: Region = None) -> None:
    """Prints that nothing bills and nothing runs, or refuses."""
    print(refuse_while_something_bills(account.session(region)))


def command(
    data: Annotated[bool, typer.Option("--data", help="Delete the data too: the buckets and the ledger.")] = False,
    yes: Yes = False,
    region: Region = None,
) -> None:
    """Checks, asks, detaches the deny policy and, with --data, empties the buckets."""
    print(prepare(account.session(region), typer.confirm, data=data, agreed=yes))


def refuse_while_something_bills(session: Any) -> str:
    """A sentence that nothing of this project bills or runs. Raises Refused for an execution, a training job or an endpoint."""
    sagemaker = session.client("sagemaker")
    kinds = ((TRAINING_JOB, "InProgress"), (TRAINING_JOB, "Stopping"), (ENDPOINT, None))
    found = [one for kind, status in kinds for one in find_present(sagemaker, kind, f"{PREFIX}-", now(), status)]
    if left := [*_executions(session), *map(str, Tags(sagemaker).own(found))]:
        raise Refused(
            f"This project still bills or runs in {session.region_name}: {'; '.join(left)}. Wait for its end, or end it with captune stop RUN "
            "(in the SageMaker console, where the stacks are gone). Then try again. Nothing was changed."
        )
    return f"Nothing of this project bills or runs in {session.region_name}."


def _executions(session: Any) -> Iterator[str]:
    pages = session.client("stepfunctions").get_paginator("list_executions")
    for name in ("FineTuningArn", "TearDownArn"):
        try:
            running = pages.paginate(stateMachineArn=output(session, name), statusFilter="RUNNING")
        except NotDeployed:
            continue
        # A half-destroyed stack still has its outputs.
        for page in unless("StateMachineDoesNotExist", partial(list, running)) or []:
            yield from (f"execution {one['executionArn'].rpartition(':')[2]}" for one in page["executions"])


def prepare(session: Any, ask: Callable[[str], bool], *, data: bool = False, agreed: bool = False) -> str:
    """Checks, asks, detaches the deny policy and, for `data`, empties the buckets. Raises Refused, which has changed nothing."""
    place = f"{session.region_name} of account {session.client('sts').get_caller_identity()['Account']}"
    # A check in the wrong region would find nothing, and CDK ignores stacks that it does not find.
    stacks = session.client("cloudformation")
    pages = stacks.get_paginator("describe_stacks").paginate()
    if not any(stack["StackName"] in STACKS for page in pages for stack in page["Stacks"]):
        raise Refused(
            f"There is no stack of Captune in {place}. Another region is named as "
            'make destroy ARGS="-c region=NAME", another account as AWS_PROFILE=NAME make destroy'
        )
    print(refuse_while_something_bills(session))
    if data and stacks.describe_stacks(StackName=STORAGE)["Stacks"][0].get("EnableTerminationProtection"):
        raise Refused(
            f"The stack {STORAGE} is protected, because it was deployed with retain_data true. To delete the data too, run "
            'make deploy ARGS="-c retain_data=false" first'
        )
    if not agreed:
        kept = _WITH_DATA if data else "The bucket and the ledger are kept."
        what = f"the stacks of Captune in {place}: state machines, functions, alarms and the budget"
        if not ask(f"This destroys {what}. {kept} Go on? (make destroy ARGS=--force does not ask)"):
            raise Refused("Nothing was changed: nothing was destroyed and nothing was deleted.")
        refuse_while_something_bills(session)  # a run may have begun meanwhile
    done = [detach(session), *(empty(session) if data else [])]
    return "\n".join([*done, "The stacks are still there: make destroy goes on and has cdk destroy them."])


def detach(session: Any) -> str:
    """Detaches the deny policy from the FineTuning role, which would keep its stack, if both are deployed; returns what was done."""
    try:
        role, policy = output(session, "FineTuningRoleName"), output(session, "DenySpendingPolicyArn")
    except NotDeployed as nothing:
        return f"No deny policy is attached: {nothing}."
    if unless("NoSuchEntity", session.client("iam").detach_role_policy, RoleName=role, PolicyArn=policy) is None:
        return f"The deny policy is not attached to {role}."
    return f"Detached the deny policy from {role}."


def empty(session: Any) -> list[str]:
    """Ends the access logging, then deletes all versions in the project's buckets. Safe to repeat. Raises Refused, ClientError."""
    s3 = session.resource("s3")
    buckets = _buckets(session)
    # S3 delivers access logs hours late, and one that came after the emptying would keep the bucket from being deleted: so logging is
    # first switched off, which takes effect slowly, and the policy deleted that lets S3 write.
    for logical_id, name in buckets:
        unless("NoSuchBucket", s3.meta.client.put_bucket_logging, Bucket=name, BucketLoggingStatus={})
        if logical_id.startswith(_LOGS):
            unless("NoSuchBucket", s3.meta.client.delete_bucket_policy, Bucket=name)
    return [_emptied(s3.Bucket(name)) for _, name in buckets]


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
    answers = unless("NoSuchBucket", bucket.object_versions.delete)
    if answers is None:
        return f"{bucket.name} is gone already."
    # S3 answers a bulk deletion with success even where it kept every object, and says so for each of them.
    kept = [error for answer in answers for error in answer.get("Errors", [])]
    if kept:
        raise Refused(
            f"S3 kept {len(kept)} object versions of {bucket.name}, the first of them {kept[0].get('Key')} "
            f"({kept[0].get('Code')}: {kept[0].get('Message')}). The others are deleted. Fix that and run it again; "
            "for SlowDown or InternalError just run it again"
        )
    return f"Deleted {sum(len(answer.get('Deleted', [])) for answer in answers)} object versions from {bucket.name}."
