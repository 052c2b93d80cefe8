"""AWS Budgets with one action of ours, which goes through the statuses that a test lays down."""

from __future__ import annotations

from typing import Any

from tests.doubles.lambda_fakes import Service, page, refusal

ACCOUNT = "123456789012"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/deny"
OURS = "11111111-2222-3333-4444-555555555555"
BUDGET = "Captune-Guardrail-Budget"
REVERSE, RESET = "REVERSE_BUDGET_ACTION", "RESET_BUDGET_ACTION"


def action(policy: str, action_id: str, status: str) -> dict[str, Any]:
    """An action as the Budgets API answers it."""
    return {
        "ActionId": action_id,
        "BudgetName": BUDGET,
        "NotificationType": "ACTUAL",
        "ActionType": "APPLY_IAM_POLICY",
        "ActionThreshold": {"ActionThresholdValue": 100.0, "ActionThresholdType": "PERCENTAGE"},
        "Definition": {"IamActionDefinition": {"PolicyArn": policy, "Roles": ["fine-tuning"]}},
        "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/action-role-of-captune",
        "ApprovalModel": "AUTOMATIC",
        "Status": status,
        "Subscribers": [],
    }


class Budgets(Service):
    """`after` holds what each step leads to, one status for each time that the action is described."""

    name = "budgets"

    def __init__(self, status: str = "STANDBY", spent: str = "12.34", **more: Any) -> None:
        super().__init__()
        self.status = status
        self.spent = spent
        self.limit = "25.0"
        self.coming: list[str] = list(more.get("coming", ()))
        self.after: dict[str, list[str]] = {
            REVERSE: ["REVERSE_IN_PROGRESS", "REVERSE_SUCCESS"],
            RESET: ["RESET_IN_PROGRESS", "STANDBY"],
            **more.get("after", {}),
        }
        self.policy: str | None = POLICY
        self.costs: dict[str, bool] = {"IncludeCredit": False, "IncludeRefund": False}

    @property
    def steps(self) -> list[str]:
        """The steps that were asked for, in their order."""
        return [request["ExecutionType"] for request in self.called("execute_budget_action")]

    def on_describe_budget_actions_for_account(self, AccountId: str, NextToken: str | None = None) -> dict[str, Any]:
        of_another = {"SsmActionDefinition": {"ActionSubType": "STOP_EC2_INSTANCES", "Region": "x", "InstanceIds": []}}
        found = [{**action("x", "0" * 36, "STANDBY"), "Definition": of_another}]
        found += [action(self.policy, OURS, self.status)] if self.policy else []
        answer: dict[str, Any] = page("Actions", found, NextToken)
        return answer

    def on_describe_budget_action(self, AccountId: str, BudgetName: str, ActionId: str) -> dict[str, Any]:
        assert (AccountId, BudgetName, ActionId) == (ACCOUNT, BUDGET, OURS)
        if self.coming:
            self.status = self.coming.pop(0)
        return {"AccountId": AccountId, "BudgetName": BudgetName, "Action": action(POLICY, OURS, self.status)}

    def on_execute_budget_action(
        self, AccountId: str, BudgetName: str, ActionId: str, ExecutionType: str
    ) -> dict[str, Any]:
        assert (AccountId, BudgetName, ActionId) == (ACCOUNT, BUDGET, OURS)
        self.coming = [self.status, *self.after[ExecutionType]]  # an accepted step is not yet seen in the next answer
        return {
            "AccountId": AccountId,
            "BudgetName": BudgetName,
            "ActionId": ActionId,
            "ExecutionType": ExecutionType,
        }

    def on_describe_budget(self, AccountId: str, BudgetName: str) -> dict[str, Any]:
        if BudgetName != BUDGET:
            raise refusal("NotFoundException")
        return {
            "Budget": {
                "BudgetName": BUDGET,
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": self.limit, "Unit": "USD"},
                **({"CalculatedSpend": {"ActualSpend": {"Amount": self.spent, "Unit": "USD"}}} if self.spent else {}),
                "CostTypes": self.costs,
            }
        }
