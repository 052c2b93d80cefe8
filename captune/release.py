"""`captune release`: lets runs spend again after the budget alarm. The budget's action is first reversed, which detaches the deny policy, then reset.

Each call asks AWS for the next of the two steps and does not wait for it; both are also in the console, as Undo and Reset. AWS's guide
"Reviewing and approving your budget action" says that a reversed action is not evaluated again for the rest of the period until it is
reset: stopping after the first step would leave the month without its second line of defence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from captune import account
from captune.account import NotDeployed, Region, output
from common.aws import error_code

REVERSE, RESET = "REVERSE_BUDGET_ACTION", "RESET_BUDGET_ACTION"
# The step from each status (enum ActionStatus of the Budgets API) towards STANDBY. The statuses that end in IN_PROGRESS
# pass by themselves. That an action which failed to run can be reset is not documented; a refusal is reported as one.
_NEXT = {
    "EXECUTION_SUCCESS": REVERSE,
    "REVERSE_FAILURE": REVERSE,
    "REVERSE_SUCCESS": RESET,
    "RESET_FAILURE": RESET,
    "EXECUTION_FAILURE": RESET,
}
# Nothing was done yet: the action watches the budget, or waits for an approval that ours, being automatic, never needs.
_AT_REST = ("STANDBY", "PENDING")
_CLICKS = "In the console under Budgets, the action's history has Undo and Reset: choose both, so that AWS watches again this month."
_OVER = "While the month's spending is over the budget, AWS attaches the policy again within a day: raise budget_usd in cdk.json and deploy."


@dataclass(frozen=True)
class BudgetAction:
    """One action of a budget. `status` is an ActionStatus of the Budgets API."""

    account: str
    budget: str
    id: str
    status: str

    def key(self) -> dict[str, str]:
        """What names it in a request."""
        return {"AccountId": self.account, "BudgetName": self.budget, "ActionId": self.id}


def command(region: Region = None) -> None:
    """Reverses or resets the budget's action."""
    print(release(account.session(region)))


def release(session: Any) -> str:
    """Asks for the next step towards an action that watches again; returns what was done and what to do next.

    Safe to repeat, and safe when the alarm never went off. Where AWS Budgets refuses, the deny policy is detached directly. Raises
    ClientError when it cannot be.
    """
    try:
        policy = output(session, "DenySpendingPolicyArn")
    except NotDeployed as nothing:
        return f"Nothing to release: {nothing}."
    # AWS Budgets is global: botocore sends its client to one endpoint, whatever the session's region.
    budgets = session.client("budgets")
    try:
        action = find(budgets, policy)
        if action is None:
            return f"{detach(session)} No budget action attaches it: deploy again to have one."
        if step := _NEXT.get(action.status):
            budgets.execute_budget_action(**action.key(), ExecutionType=step)
    except (ClientError, BotoCoreError) as error:
        return f"The budget action was not moved on: {error}. {detach(session)} {_CLICKS} {_OVER}"
    if step == REVERSE:
        return "AWS reverses the budget action, which takes the deny policy off. In a minute, run captune release again, which resets it."
    if step == RESET:
        return f"{detach(session)} AWS resets the budget action and then watches the spending again. {_OVER}"
    if action.status in _AT_REST:
        return f"{detach(session)} The budget action is {action.status}: it has nothing to take back."
    return f"The budget action is {action.status}: run captune release again in a minute."


def find(budgets: Any, policy_arn: str) -> BudgetAction | None:
    """The action that attaches this policy, or None. It is found by the policy, because its own id is AWS's choice."""
    account_id = policy_arn.split(":")[4]
    pages = budgets.get_paginator("describe_budget_actions_for_account").paginate(AccountId=account_id)
    for action in (action for page in pages for action in page["Actions"]):
        if action["Definition"].get("IamActionDefinition", {}).get("PolicyArn") == policy_arn:
            return BudgetAction(account_id, action["BudgetName"], action["ActionId"], action["Status"])
    return None


def detach(session: Any) -> str:
    """Takes the deny policy off the FineTuning role, if both are deployed; returns what was done."""
    try:
        role, policy = output(session, "FineTuningRoleName"), output(session, "DenySpendingPolicyArn")
        session.client("iam").detach_role_policy(RoleName=role, PolicyArn=policy)
    except NotDeployed as nothing:
        return f"No deny policy is attached: {nothing}."
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        return f"The deny policy is not attached to {role}."
    return f"Detached the deny policy from {role}, so FineTuning may spend again."
