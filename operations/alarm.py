"""The way back after the budget alarm: what its action attached is detached again."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from operations.deployed import output


def release(session: Any) -> str:
    """Detaches the deny policy from the FineTuning role. Safe to repeat, and safe when the alarm never went off."""
    try:
        role, policy = output(session, "FineTuningRoleName"), output(session, "DenySpendingPolicyArn")
    except LookupError as nothing:
        return f"Nothing to release: {nothing}."
    iam = session.client("iam")
    try:
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return f"The deny policy is not attached to {role}: the alarm did not go off, or was released before."
    return (
        f"Detached the deny policy from {role}. AWS Budgets attaches it again if this month's spending is still over the budget: "
        "raise budget_usd in cdk.json and deploy, or wait for the next month."
    )
