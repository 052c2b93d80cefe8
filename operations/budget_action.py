"""The action of the budget, taken back by its own API: first reversed, which detaches the deny policy, then reset.

AWS's guide "Reviewing and approving your budget action" says of a reversed action that it is evaluated no more for the rest
of the period, until it is reset. So a release that stops after the first step leaves the month without its second line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code, error_message

REVERSE, RESET = "REVERSE_BUDGET_ACTION", "RESET_BUDGET_ACTION"
# What leads from each status (enum ActionStatus of the Budgets API) towards STANDBY. The statuses that end in IN_PROGRESS
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


class NotTakenBack(RuntimeError):
    """The action could not be reversed and reset; the message says why."""


@dataclass(frozen=True)
class Patience:
    """How long the action is waited for, in seconds, and who hears of each step. Others saw it reversed within half a minute."""

    limit: float = 300
    pause: float = 5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    tell: Callable[[str], None] = partial(print, flush=True)


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


def find(budgets: Any, policy_arn: str) -> BudgetAction | None:
    """The action that attaches this policy, or None. It is found by the policy, because its own id is AWS's choice."""
    account = policy_arn.split(":")[4]
    pages = budgets.get_paginator("describe_budget_actions_for_account").paginate(AccountId=account)
    for action in (action for page in pages for action in page["Actions"]):
        if action["Definition"].get("IamActionDefinition", {}).get("PolicyArn") == policy_arn:
            return BudgetAction(account, action["BudgetName"], action["ActionId"], action["Status"])
    return None


def take_back(budgets: Any, action: BudgetAction, patience: Patience) -> None:
    """Reverses and resets the action, from whatever status it is in, until it stands by.

    Raises NotTakenBack when AWS refuses a step, when a step fails twice, and when `patience.limit` is over.
    """
    asked: set[str] = set()
    moved = False
    deadline = patience.clock() + patience.limit
    while not action.at_rest:
        step = _NEXT.get(action.status)
        if step and action.status not in asked:
            if _ask(budgets, action, step, patience):
                asked.add(action.status)
            moved = False
        elif step and moved:
            raise NotTakenBack(f"it came back to {action.status}")
        moved = moved or step is None
        if patience.clock() >= deadline:
            raise NotTakenBack(f"it was still {action.status} after {patience.limit:.0f} seconds")
        patience.sleep(patience.pause)
        status = budgets.describe_budget_action(**action.key())["Action"]["Status"]
        if status != action.status:
            patience.tell(f"The budget action is now {status}.")
            action = replace(action, status=status)


def _ask(budgets: Any, action: BudgetAction, step: str, patience: Patience) -> bool:
    """Asks AWS for a step; False while AWS is still busy with another one. Raises NotTakenBack for a refusal."""
    try:
        budgets.execute_budget_action(**action.key(), ExecutionType=step)
    except ClientError as error:
        if error_code(error) == "ResourceLockedException":
            return False
        raise NotTakenBack(f"{step} was refused: {error_code(error)}: {error_message(error)}") from error
    patience.tell(f"The budget action is {action.status}; asked AWS for {step}.")
    return True
