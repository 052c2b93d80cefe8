"""The Guardrail stack: the budget, the kill switch, the event that starts every tear-down, the sweeper's clock."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from tests.doubles.machines.stacks_bench import Stacks, synthesize

pytestmark = pytest.mark.slow  # templates of settings of their own


def budget(stacks: Stacks) -> dict[str, Any]:
    answer: dict[str, Any] = stacks.one("Guardrail", "AWS::Budgets::Budget")
    return answer


def notifications(stacks: Stacks) -> list[tuple[str, int, list[str]]]:
    return [
        (
            n["Notification"]["NotificationType"],
            n["Notification"]["Threshold"],
            [s["SubscriptionType"] for s in n["Subscribers"]],
        )
        for n in budget(stacks)["NotificationsWithSubscribers"]
    ]


def test_the_budget_is_the_cap_of_a_month_over_the_whole_account(stacks: Stacks) -> None:
    assert {key: value for key, value in budget(stacks)["Budget"].items() if key != "CostTypes"} == {
        "BudgetLimit": {"Amount": 25, "Unit": "USD"},
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
    }


@pytest.mark.parametrize("scope", ["account", "tag"])
def test_the_budget_counts_everything_that_is_spent_whatever_credits_or_refunds_pay_for_it(scope: str) -> None:
    costs = budget(synthesize(f"budget_scope={scope}"))["Budget"]["CostTypes"]
    every_kind = botocore.session.get_session().get_service_model("budgets").shape_for("CostTypes").members
    assert set(costs) == set(every_kind)
    assert {kind for kind, counted in costs.items() if not counted} == {
        "IncludeCredit",
        "IncludeRefund",
        "UseBlended",
        "UseAmortized",
    }


@pytest.mark.parametrize("kind", ["AWS::Budgets::Budget", "AWS::Budgets::BudgetsAction"])
def test_the_alarm_exists_only_while_budgets_may_publish_to_its_topics(stacks: Stacks, kind: str) -> None:
    (resource,) = stacks.resources("Guardrail", kind).values()
    policies = set(stacks.resources("Guardrail", "AWS::SNS::TopicPolicy"))
    assert len(policies) == 2
    assert policies <= set(resource["DependsOn"])


def test_the_way_back_names_the_region_of_the_deployment() -> None:
    outputs = synthesize("region=eu-west-1").template("Guardrail")["Outputs"]
    assert outputs["WayBackCommand"]["Value"] == 'make release ARGS="-c region=eu-west-1"'


def test_the_budget_has_no_name_because_a_replaced_one_could_not_take_it_over(stacks: Stacks) -> None:
    assert "BudgetName" not in budget(stacks)["Budget"]


def test_tag_scope_counts_only_what_the_project_spends() -> None:
    scoped = budget(synthesize("budget_scope=tag", "budget_usd=40"))["Budget"]
    assert scoped["CostFilters"] == {"TagKeyValue": ["user:project$captune"]}
    assert scoped["BudgetLimit"]["Amount"] == 40


@pytest.mark.parametrize(("email", "kinds"), [("", ["SNS"]), ("owner@example.org", ["SNS", "EMAIL"])])
def test_four_notifications_reach_the_topics_and_the_owner(email: str, kinds: list[str]) -> None:
    stacks = synthesize(f"alert_email={email}")
    assert notifications(stacks) == [
        ("ACTUAL", 50, kinds),
        ("ACTUAL", 80, kinds),
        ("FORECASTED", 100, kinds),
        ("ACTUAL", 100, kinds),
    ]


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


@pytest.mark.parametrize(
    ("topic", "services"),
    [("KillSwitch", ["budgets.amazonaws.com"]), ("Warnings", ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"])],
)
def test_budgets_and_alarms_of_this_account_may_publish_and_no_other(
    stacks: Stacks, topic: str, services: list[str]
) -> None:
    policy = stacks.one("Guardrail", "AWS::SNS::TopicPolicy", topic)
    allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
    assert [statement["Principal"] for statement in allowed] == [{"Service": service} for service in services]
    for statement in allowed:
        assert statement["Action"] == "sns:Publish"
        assert set(statement["Condition"]) == {"StringEquals", "ArnLike"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_at_100_percent_the_deny_goes_to_the_fine_tuning_role_and_to_no_other(stacks: Stacks) -> None:
    action = stacks.one("Guardrail", "AWS::Budgets::BudgetsAction")
    assert (action["ActionType"], action["ApprovalModel"]) == ("APPLY_IAM_POLICY", "AUTOMATIC")
    assert (action["NotificationType"], action["ActionThreshold"]) == ("ACTUAL", {"Type": "PERCENTAGE", "Value": 100})
    roles = action["Definition"]["IamActionDefinition"]["Roles"]
    assert len(roles) == 1
    exported = roles[0]["Fn::ImportValue"]
    outputs = stacks.template("FineTuning")["Outputs"].values()
    (logical_id,) = [o["Value"]["Ref"] for o in outputs if o.get("Export", {}).get("Name") == exported]
    machine = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")
    tear_down = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "TearDown")
    assert machine["RoleArn"] == {"Fn::GetAtt": [logical_id, "Arn"]}
    assert tear_down["RoleArn"] != machine["RoleArn"]


def test_the_deny_stops_new_spending_but_neither_the_report_nor_the_dead_mans_switch(stacks: Stacks) -> None:
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
    role = stacks.one("Guardrail", "AWS::IAM::Role", "ActionRole")
    trust = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Principal"] == {"Service": "budgets.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_every_way_a_run_can_end_starts_its_tear_down(stacks: Stacks) -> None:
    rule = stacks.one("Guardrail", "AWS::Events::Rule", "RunEnded")
    assert rule["State"] == "ENABLED"
    pattern = rule["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail-type"] == ["Step Functions Execution Status Change"]
    assert set(pattern["detail"]["status"]) == {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
    assert len(pattern["detail"]["stateMachineArn"]) == 1
    (target,) = rule["Targets"]
    paths = target["InputTransformer"]["InputPathsMap"]
    assert set(paths.values()) == {"$.detail.executionArn", "$.detail.name", "$.detail.status"}
    filled = target["InputTransformer"]["InputTemplate"]
    for name, path in paths.items():
        filled = filled.replace(f"<{name}>", path)
    assert filled == (
        '{"executionArn":$.detail.executionArn,"executionName":$.detail.name,"status":$.detail.status,"reason":"event"}'
    )


def test_a_tear_down_that_could_not_be_started_is_retried_for_a_day_and_then_kept(stacks: Stacks) -> None:
    (target,) = stacks.one("Guardrail", "AWS::Events::Rule", "RunEnded")["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    queue = stacks.one("Guardrail", "AWS::SQS::Queue", "Undelivered")
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 86400
    policy = stacks.one("Guardrail", "AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
    services = {s["Principal"]["Service"] for s in policy if s["Effect"] == "Allow"}
    assert services == {"events.amazonaws.com", "sns.amazonaws.com"}
    assert any(s["Effect"] == "Deny" and s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} for s in policy)


def test_the_sweeper_looks_every_quarter_of_an_hour(stacks: Stacks) -> None:
    rule = stacks.one("Guardrail", "AWS::Events::Rule", "Sweep")
    assert rule["ScheduleExpression"] == "rate(15 minutes)"
    assert rule["Targets"][0]["Input"] == '{"reason":"sweep"}'
    permission = stacks.one("Guardrail", "AWS::Lambda::Permission", "AllowEventRule")
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["FunctionName"] == rule["Targets"][0]["Arn"]


def test_nothing_depends_on_what_only_aws_itself_can_make(stacks: Stacks) -> None:
    """A rehearsal skips budgets, policies of buckets, topics and queues, and subscriptions: nothing else may need them."""
    skipped = {"AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::Subscription",
               "AWS::Budgets::Budget", "AWS::Budgets::BudgetsAction"}  # fmt: skip
    for name in ("Storage", "FineTuning", "Guardrail"):
        template = stacks.template(name)
        absent = {key for key, entry in template["Resources"].items() if entry["Type"] in skipped}
        rest = {key: entry for key, entry in template["Resources"].items() if key not in absent}
        for key, owner in [*rest.items(), *template.get("Outputs", {}).items()]:
            used = absent & set(references({k: v for k, v in owner.items() if k != "DependsOn"}))
            assert not used, f"{key} refers to {used}"


def references(value: Any) -> list[str]:
    """The logical ids that a piece of a template refers to."""
    if isinstance(value, dict):
        found = [value["Ref"]] if isinstance(value.get("Ref"), str) else []
        if "Fn::GetAtt" in value:
            found.append(value["Fn::GetAtt"][0])
        return found + [one for part in value.values() for one in references(part)]
    return [one for part in value for one in references(part)] if isinstance(value, list) else []
