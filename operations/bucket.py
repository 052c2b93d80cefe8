"""Empties the buckets of the Storage stack, so that `cdk destroy` can delete them."""

from __future__ import annotations

from typing import Any

STACK = "Captune-Storage"


def empty(session: Any) -> str:
    """Deletes every version of every object in the project's buckets. Raises LookupError while the data is protected."""
    refuse_protected(session)
    stacks = session.client("cloudformation")
    resources = stacks.describe_stack_resources(StackName=STACK)["StackResources"]
    names = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::S3::Bucket"]
    lines = []
    for name in names:
        answers = session.resource("s3").Bucket(name).object_versions.delete()
        lines.append(
            f"Deleted {sum(len(answer.get('Deleted', [])) for answer in answers)} object versions from {name}."
        )
    return "\n".join(lines)


def refuse_protected(session: Any) -> None:
    """Raises LookupError while the data is protected: by the stack itself, which was deployed with retain_data true."""
    described = session.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    if described.get("EnableTerminationProtection"):
        raise LookupError(
            f"the stack {STACK} is protected, because it was deployed with retain_data true. To delete the data too, run "
            'make deploy ARGS="-c retain_data=false" first'
        )
