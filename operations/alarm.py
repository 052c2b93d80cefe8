"""The way back after the budget alarm: its action is reversed and reset, or at least what it attached is detached."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code
from operations.budget_action import BudgetAction, NotTakenBack, Patience, find, take_back
from operations.deployed import output

_RAISE = "raise budget_usd in cdk.json and deploy, or wait for the next month"


def release(session: Any, patience: Patience | None = None) -> str:
    """Lets the FineTuning role spend again. Safe to repeat, and safe when the alarm never went off.

    Answers what was done and what AWS does next. Raises ClientError when the policy itself cannot be detached.
    """
    try:
        role, policy = output(session, "FineTuningRoleName"), output(session, "DenySpendingPolicyArn")
    except LookupError as nothing:
        return f"Nothing to release: {nothing}."
    # AWS Budgets is global: botocore sends its client to one endpoint, whatever the session's region.
    iam, budgets = session.client("iam"), session.client("budgets")
    try:
        action = find(budgets, policy)
        if action is None:
            raise NotTakenBack("no budget action attaches this policy; deploy again to have one")
        take_back(budgets, action, patience or Patience())
    except NotTakenBack as reason:
        return _without_the_action(iam, role, policy, str(reason))
    except (ClientError, BotoCoreError) as error:
        return _without_the_action(iam, role, policy, f"AWS Budgets could not be asked: {error}")
    # A reversal has detached it. What is still there was attached by hand, or IAM has not caught up.
    detached = _detach(iam, role, policy)
    if action.at_rest and not detached:
        return (
            f"Nothing to release: the deny policy is not attached to {role}, and the budget action is {action.status}."
        )
    done = (
        f"Detached the deny policy from {role}; the budget action had nothing to take back."
        if action.at_rest
        else f"Reversed and reset the budget action: the deny policy is off {role}, and AWS Budgets watches the spending again."
    )
    return f"{done} {_next(budgets, action)}"


def _without_the_action(iam: Any, role: str, policy: str, reason: str) -> str:
    detached = _detach(iam, role, policy)
    done = (
        f"Detached the deny policy from {role} instead, so FineTuning may spend again."
        if detached
        else f"The deny policy is not attached to {role}, so FineTuning may spend."
    )
    return (
        f"The budget action could not be reversed and reset: {reason}. {done} AWS may count the action as carried out, and then does not attach "
        "the policy again this month: see it in the console under Budgets, choose Undo and Reset in the action history, or repeat make release."
    )


def _detach(iam: Any, role: str, policy: str) -> bool:
    """Whether the policy had to be detached."""
    try:
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        return False
    return True


def _next(budgets: Any, action: BudgetAction) -> str:
    """What AWS Budgets does now, by what it has counted so far this month."""
    try:
        budget = budgets.describe_budget(AccountId=action.account, BudgetName=action.budget)["Budget"]
        spent, limit = (
            Decimal(part["Amount"]) for part in (budget["CalculatedSpend"]["ActualSpend"], budget["BudgetLimit"])
        )
    except (ClientError, BotoCoreError, KeyError):
        return f"Where this month's spending is over the budget, it attaches the policy again within a day: {_RAISE}."
    counted = f"It has counted ${spent:.2f} of ${limit:.2f} this month"
    if spent > limit:
        return f"{counted}, so it attaches the policy again when it next looks, within a day: {_RAISE}."
    return f"{counted}; it attaches the policy again when the spending passes the limit."
