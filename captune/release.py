"""`captune release`: lets runs spend again after the budget alarm. The budget's action is first reversed, which detaches the deny policy, then reset.

AWS's guide "Reviewing and approving your budget action" says that a reversed action is not evaluated again for the rest
of the period until it is reset. A release that stopped after the first step would leave the month without its second line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from captune import account
from captune.account import NotDeployed, Region, output
from common.aws import error_code, error_message

REVERSE, RESET = "REVERSE_BUDGET_ACTION", "RESET_BUDGET_ACTION"
# The step from each status (enum ActionStatus of the Budgets API) towards STANDBY. The statuses that end in IN_PROGRESS
# are waited for. That an action which failed to run can be reset is not documented; a refusal is reported as one.
_NEXT = {
    "EXECUTION_SUCCESS": REVERSE,
    "REVERSE_FAILURE": REVERSE,
    "REVERSE_SUCCESS": RESET,
    "RESET_FAILURE": RESET,
    "EXECUTION_FAILURE": RESET,
}
# Nothing was done yet: the action watches the budget, or waits for an approval that ours, being automatic, never needs.
_AT_REST = ("STANDBY", "PENDING")
# How long the action is waited for, and between two looks. Others saw it reversed within half a minute.
LIMIT_SECONDS, PAUSE_SECONDS = 300, 5


class NotTakenBack(RuntimeError):
    """The action could not be reversed and reset; the message says why."""


@dataclass(frozen=True)
class BudgetAction:
    """One action of a budget. `status` is an ActionStatus of the Budgets API."""

    account: str
    budget: str
    id: str
    status: str

    @property
    def at_rest(self) -> bool:
        """Whether it has done nothing that could be taken back."""
        return self.status in _AT_REST

    def key(self) -> dict[str, str]:
        """What names it in a request."""
        return {"AccountId": self.account, "BudgetName": self.budget, "ActionId": self.id}


def command(region: Region = None) -> None:
    """Reverses and resets the budget's action."""
    print(release(account.session(region)))


def release(session: Any) -> str:
    """Lets the FineTuning role spend again. Safe to repeat, and safe when the alarm never went off.

    Returns what was done and what AWS does next. Raises ClientError when the policy itself cannot be detached.
    """
    try:
        role, policy = output(session, "FineTuningRoleName"), output(session, "DenySpendingPolicyArn")
    except NotDeployed as nothing:
        return f"Nothing to release: {nothing}."
    # AWS Budgets is global: botocore sends its client to one endpoint, whatever the session's region.
    iam, budgets = session.client("iam"), session.client("budgets")
    try:
        action = find(budgets, policy)
        if action is None:
            raise NotTakenBack("no budget action attaches this policy; deploy again to have one")
        _take_back(budgets, action)
    except NotTakenBack as reason:
        return _without_the_action(iam, role, policy, str(reason))
    except (ClientError, BotoCoreError) as error:
        return _without_the_action(iam, role, policy, f"AWS Budgets could not be asked: {error}")
    # A reversal has detached it. What is still there was attached by hand, or IAM has not caught up.
    detached = _detach(iam, role, policy)
    if not action.at_rest:
        done = f"Reversed and reset the budget action: the deny policy is off {role}, and AWS Budgets watches the spending again."
    elif detached:
        done = f"Detached the deny policy from {role}; the budget action had nothing to take back."
    else:
        return (
            f"Nothing to release: the deny policy is not attached to {role}, and the budget action is {action.status}."
        )
    return f"{done} {_next(budgets, action)}"


def find(budgets: Any, policy_arn: str) -> BudgetAction | None:
    """The action that attaches this policy, or None. It is found by the policy, because its own id is AWS's choice."""
    account_id = policy_arn.split(":")[4]
    pages = budgets.get_paginator("describe_budget_actions_for_account").paginate(AccountId=account_id)
    for action in (action for page in pages for action in page["Actions"]):
        if action["Definition"].get("IamActionDefinition", {}).get("PolicyArn") == policy_arn:
            return BudgetAction(account_id, action["BudgetName"], action["ActionId"], action["Status"])
    return None


def _take_back(budgets: Any, action: BudgetAction) -> None:
    """Reverses and resets the action, from whatever status it is in, until it stands by.

    Raises NotTakenBack when AWS refuses a step, when a step fails twice, and when the time is over.
    """
    asked: set[str] = set()
    moved = False
    deadline = time.monotonic() + LIMIT_SECONDS
    while not action.at_rest:
        step = _NEXT.get(action.status)
        if step and action.status not in asked:
            if _ask(budgets, action, step):
                asked.add(action.status)
            moved = False
        elif step and moved:
            raise NotTakenBack(f"it came back to {action.status}")
        moved = moved or step is None
        if time.monotonic() >= deadline:
            raise NotTakenBack(f"it was still {action.status} after {LIMIT_SECONDS} seconds")
        time.sleep(PAUSE_SECONDS)
        status = budgets.describe_budget_action(**action.key())["Action"]["Status"]
        if status != action.status:
            print(f"The budget action is now {status}.", flush=True)
            action = replace(action, status=status)


def _ask(budgets: Any, action: BudgetAction, step: str) -> bool:
    """Asks AWS for a step; False while AWS is still busy with another one. Raises NotTakenBack for a refusal."""
    try:
        budgets.execute_budget_action(**action.key(), ExecutionType=step)
    except ClientError as error:
        if error_code(error) == "ResourceLockedException":
            return False
        raise NotTakenBack(f"{step} was refused: {error_code(error)}: {error_message(error)}") from error
    print(f"The budget action is {action.status}; asked AWS for {step}.", flush=True)
    return True


def _without_the_action(iam: Any, role: str, policy: str, reason: str) -> str:
    if _detach(iam, role, policy):
        done = f"Detached the deny policy from {role} instead, so FineTuning may spend again."
    else:
        done = f"The deny policy is not attached to {role}, so FineTuning may spend."
    return (
        f"The budget action could not be reversed and reset: {reason}. {done} AWS may count the action as carried out, and then does not attach "
        "the policy again this month: see it in the console under Budgets, choose Undo and Reset in the action history, or repeat captune release."
    )


def _detach(iam: Any, role: str, policy: str) -> bool:
    """Detaches the policy; False where it was not attached."""
    try:
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        return False
    return True


def _next(budgets: Any, action: BudgetAction) -> str:
    """What AWS Budgets does now, by what it has counted so far this month."""
    raise_it = "raise budget_usd in cdk.json and deploy, or wait for the next month"
    try:
        budget = budgets.describe_budget(AccountId=action.account, BudgetName=action.budget)["Budget"]
        spent, limit = (
            Decimal(budget["CalculatedSpend"]["ActualSpend"]["Amount"]),
            Decimal(budget["BudgetLimit"]["Amount"]),
        )
    except (ClientError, BotoCoreError, KeyError):
        return f"Where this month's spending is over the budget, it attaches the policy again within a day: {raise_it}."
    counted = f"It has counted ${spent:.2f} of ${limit:.2f} this month"
    if spent > limit:
        return f"{counted}, so it attaches the policy again when it next looks, within a day: {raise_it}."
    return f"{counted}; it attaches the policy again when the spending passes the limit."
