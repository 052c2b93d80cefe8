"""The Guardrail stack: the budget, the kill switch, and the event that starts every tear-down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doubles.machines.stacks_bench import Stacks

pytestmark = pytest.mark.slow


def budget(stacks: Stacks) -> dict[str, Any]:
    return stacks.one("Guardrail", "AWS::Budgets::Budget")


def test_the_budget_is_the_cap_of_a_month_in_its_scope(stacks: Stacks, own_weights: Stacks) -> None:
    spent = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}}
    tagged = {"And": [spent, {"Tags": {"Key": "project", "Values": ["captune"]}}]}
    for built, limit, counted in ((stacks, 25, spent), (own_weights, 40, tagged)):
        # And no name, because a replaced budget could not take it over.
        assert budget(built)["Budget"] == {
            "BudgetLimit": {"Amount": limit, "Unit": "USD"},
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "FilterExpression": counted,
            "Metrics": ["UnblendedCost"],
        }


def test_four_notifications_reach_the_topics_and_the_owner(stacks: Stacks, own_weights: Stacks) -> None:
    for built, kinds in ((stacks, ["SNS"]), (own_weights, ["SNS", "EMAIL"])):
        assert [
            (
                one["Notification"]["NotificationType"],
                one["Notification"]["ComparisonOperator"],
                one["Notification"]["Threshold"],
                [subscriber["SubscriptionType"] for subscriber in one["Subscribers"]],
            )
            for one in budget(built)["NotificationsWithSubscribers"]
        ] == [
            (kind, "GREATER_THAN", percent, kinds)
            for kind, percent in (("ACTUAL", 50), ("ACTUAL", 80), ("FORECASTED", 100), ("ACTUAL", 100))
        ]
        policies = set(built.resources("Guardrail", "AWS::SNS::TopicPolicy"))
        assert len(policies) == 2
        for kind in ("AWS::Budgets::Budget", "AWS::Budgets::BudgetsAction"):
            (resource,) = built.resources("Guardrail", kind).values()
            assert policies <= set(resource["DependsOn"]), "AWS Budgets refuses a topic that it may not publish to"


def test_the_action_is_made_last_of_all_as_its_role_has_to_be_known_everywhere(stacks: Stacks) -> None:
    """Terraform's provider tries for two minutes after AWS Budgets has refused a new role. CloudFormation may not."""
    template = stacks.template("Guardrail")["Resources"]
    ((name, action),) = stacks.resources("Guardrail", "AWS::Budgets::BudgetsAction").items()
    after = set(action["DependsOn"])
    own = {key for key in template if key.startswith("Alarm") and not key.startswith("Alarms")}
    assert template.keys() - own <= after and "AWS::SQS::Queue" in {template[one]["Type"] for one in after}


def test_only_actual_100_percent_reaches_the_kill_switch(stacks: Stacks) -> None:
    subscription = stacks.one("Guardrail", "AWS::SNS::Subscription", "KillSwitch")
    assert subscription["Protocol"] == "lambda"
    heard = [
        (n["Notification"]["NotificationType"], n["Notification"]["Threshold"])
        for n in budget(stacks)["NotificationsWithSubscribers"]
        if n["Subscribers"][0]["Address"] == subscription["TopicArn"]
    ]
    assert heard == [("ACTUAL", 100)]
    permission = stacks.one("Guardrail", "AWS::Lambda::Permission", "KillSwitch")
    assert permission["Principal"] == "sns.amazonaws.com"
    assert permission["SourceArn"] == subscription["TopicArn"]
    assert permission["FunctionName"] == subscription["Endpoint"]


@pytest.mark.parametrize(("topic", "services"), [("KillSwitch", ["budgets"]), ("Warnings", ["budgets", "cloudwatch"])])
def test_only_budgets_and_alarms_of_this_account_may_publish(stacks: Stacks, topic: str, services: list[str]) -> None:
    policy = stacks.one("Guardrail", "AWS::SNS::TopicPolicy", topic)
    allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [{"Service": f"{service}.amazonaws.com"} for service in services]
    for statement in allowed:
        assert statement["Action"] == "sns:Publish"
        assert set(statement["Condition"]) == {"StringEquals", "ArnLike"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    if "cloudwatch" in services:
        arn = json.dumps(allowed[-1]["Condition"]["ArnLike"]["aws:SourceArn"])
        assert ":cloudwatch:us-east-1:" in arn and ":alarm:captune-*" in arn


def test_at_100_percent_the_deny_goes_to_the_fine_tuning_role_and_to_no_other(stacks: Stacks) -> None:
    action = stacks.one("Guardrail", "AWS::Budgets::BudgetsAction")
    assert (action["ActionType"], action["ApprovalModel"]) == ("APPLY_IAM_POLICY", "AUTOMATIC")
    assert (action["NotificationType"], action["ActionThreshold"]) == ("ACTUAL", {"Type": "PERCENTAGE", "Value": 100})
    (role,) = action["Definition"]["IamActionDefinition"]["Roles"]
    outputs = stacks.template("FineTuning")["Outputs"].values()
    (logical_id,) = [o["Value"]["Ref"] for o in outputs if o.get("Export", {}).get("Name") == role["Fn::ImportValue"]]
    machine = stacks.machine("FineTuning")
    tear_down = stacks.machine("TearDown")
    assert machine["RoleArn"] == {"Fn::GetAtt": [logical_id, "Arn"]}
    assert tear_down["RoleArn"] != machine["RoleArn"]


def test_the_deny_stops_new_spending_but_neither_report_nor_dead_mans_switch(stacks: Stacks) -> None:
    policy = stacks.one("Guardrail", "AWS::IAM::ManagedPolicy")
    assert policy["PolicyDocument"]["Statement"] == [
        {"Action": ["sagemaker:Create*", "sagemaker:UpdateEndpoint*"], "Effect": "Deny", "Resource": "*"}
    ]
    assert not {"Roles", "Users", "Groups"} & set(policy), "attached by AWS Budgets, not by the deployment"


def test_the_action_may_attach_this_one_policy_to_this_one_role(stacks: Stacks) -> None:
    (statement,) = stacks.statements("ActionRole", "Guardrail")
    assert set(statement["Action"]) == {"iam:AttachRolePolicy", "iam:DetachRolePolicy"}
    assert "FineTuningRole" in statement["Resource"]["Fn::ImportValue"]
    assert "DenyNewSpending" in statement["Condition"]["ArnEquals"]["iam:PolicyARN"]["Ref"]
    (trust,) = stacks.one("Guardrail", "AWS::IAM::Role", "ActionRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "budgets.amazonaws.com"}


def test_every_way_a_run_can_end_starts_its_tear_down(stacks: Stacks) -> None:
    rule = stacks.one("Guardrail", "AWS::Events::Rule", "RunEnded")
    assert rule["State"] == "ENABLED"
    pattern = rule["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail-type"] == ["Step Functions Execution Status Change"]
    assert set(pattern["detail"]["status"]) == {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
    assert len(pattern["detail"]["stateMachineArn"]) == 1
    (target,) = rule["Targets"]
    filled = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        filled = filled.replace(f"<{name}>", path)
    assert filled == (
        '{"executionArn":$.detail.executionArn,"executionName":$.detail.name,"status":$.detail.status,"reason":"event"}'
    )
