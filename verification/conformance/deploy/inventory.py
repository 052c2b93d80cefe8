"""What there is in an account, by kind and name: to see what a deployment leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Inventory = frozenset[tuple[str, str]]  # (kind, name)

# Service, operation, the list in its answer, the name in an item, further parameters.
_LISTS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("cloudformation", "list_stacks", "StackSummaries", "StackName", {}),
    ("s3", "list_buckets", "Buckets", "Name", {}),
    ("dynamodb", "list_tables", "TableNames", "", {}),
    ("lambda", "list_functions", "Functions", "FunctionName", {}),
    ("stepfunctions", "list_state_machines", "stateMachines", "name", {}),
    ("events", "list_rules", "Rules", "Name", {}),
    ("scheduler", "list_schedules", "Schedules", "Name", {}),
    ("sns", "list_topics", "Topics", "TopicArn", {}),
    ("logs", "describe_log_groups", "logGroups", "logGroupName", {}),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {}),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName", {}),
    ("iam", "list_roles", "Roles", "RoleName", {}),
    ("iam", "list_policies", "Policies", "PolicyName", {"Scope": "Local"}),
    ("sqs", "list_queues", "QueueUrls", "", {}),
    ("budgets", "describe_budgets", "Budgets", "BudgetName", {"AccountId": "123456789012"}),
)
_PAGED = frozenset({"list_stacks", "list_functions", "list_roles", "list_policies", "describe_log_groups"})


def take(client: Callable[[str], Any]) -> Inventory:
    """Return what there is, through clients made by service name; stacks that were deleted are not."""
    found: set[tuple[str, str]] = set()
    for service, operation, key, name, parameters in _LISTS:
        kind = f"{service} {key}"
        for item in _items(client(service), operation, key, parameters):
            if item == str(item):
                found.add((kind, item))
            elif item.get("StackStatus") != "DELETE_COMPLETE":
                found.add((kind, str(item[name])))
    return frozenset(found)


def _items(client: Any, operation: str, key: str, parameters: dict[str, Any]) -> list[Any]:
    if operation in _PAGED:
        pages = client.get_paginator(operation).paginate(**parameters)
        return [item for page in pages for item in page.get(key, [])]
    return list(getattr(client, operation)(**parameters).get(key, []))


def words(inventory: Inventory) -> str:
    """What there is, for a sentence."""
    return ", ".join(f"{kind} {name}" for kind, name in sorted(inventory)) or "nothing"
