"""AWS::Budgets::Budget and AWS::Budgets::BudgetsAction in CloudFormation.

Why it exists: ministack plays the API of AWS Budgets, but its CloudFormation knows neither type and refuses the whole
stack. The budget goes through that API, which checks it. Of budget actions ministack has nothing: the action is a
name without anything behind it.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from ministack.core.responses import get_account_id
from ministack.services import budgets
from ministack.services.cloudformation import provisioners

Made = tuple[str, dict[str, Any]]


def _create_budget(logical_id: str, properties: dict[str, Any], stack_name: str) -> Made:
    budget = dict(properties["Budget"])
    name = budget.setdefault("BudgetName", f"{stack_name}-{logical_id}-{uuid4().hex[:12]}")
    request = {
        "AccountId": get_account_id(),
        "Budget": budget,
        "NotificationsWithSubscribers": properties.get("NotificationsWithSubscribers", []),
    }
    status, _, body = budgets._create_budget(request)
    if status >= 400:
        raise ValueError(f"AWS::Budgets::Budget was refused: {json.loads(body)}")
    return name, {}


def _delete_budget(name: str, properties: dict[str, Any]) -> None:
    budgets._delete_budget({"AccountId": get_account_id(), "BudgetName": name})


def _create_action(logical_id: str, properties: dict[str, Any], stack_name: str) -> Made:
    if properties["BudgetName"] not in budgets._budgets:
        raise ValueError(f"AWS::Budgets::BudgetsAction names a budget that does not exist: {properties['BudgetName']}")
    action = str(uuid4())
    return action, {"ActionId": action}


def _delete_action(action: str, properties: dict[str, Any]) -> None:
    """There is nothing to delete."""


def install() -> None:
    """Teach ministack's CloudFormation the two types."""
    provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"] = {"create": _create_budget, "delete": _delete_budget}
    provisioners._RESOURCE_HANDLERS["AWS::Budgets::BudgetsAction"] = {
        "create": _create_action,
        "delete": _delete_action,
    }
