"""The AWS budget: notifications, and at 100% a deny policy on the FineTuning role.

AWS Budgets sees costs 8 to 12 hours late. It is the second line of defence; the ledger, which is exact, is the first.
"""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.access import permissions
from stacks.access.roles import service_role
from stacks.configuration.settings import Settings
from stacks.names import KILL_SWITCH_TOPIC, PREFIX, Arns

_WARNINGS = (("ACTUAL", 50), ("ACTUAL", 80), ("FORECASTED", 100))
_LIMIT_PERCENT = 100


class Budget(Construct):
    """A monthly cost budget with two topics: `warnings` for people, also of CloudWatch's alarms, `kill_switch` for 100% actual.

    Two topics, because a notification gives its threshold only in its text.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, spender: iam.Role) -> None:
        super().__init__(scope, construct_id)
        self._email = settings.alert_email
        self.warnings = self._topic("Warnings", "Captune budget warnings")
        self.kill_switch = self._topic("KillSwitch", "Captune budget kill switch", KILL_SWITCH_TOPIC)
        self._let_alarms_warn()
        # No BudgetName: CloudFormation replaces a budget when a notification changes, and two cannot have one name.
        self.budget = budgets.CfnBudget(
            self,
            "Budget",
            budget={
                "budgetType": "COST",
                "timeUnit": "MONTHLY",
                "budgetLimit": {"amount": settings.budget_usd, "unit": "USD"},
                "filterExpression": _counted(settings.budget_scope),
                "metrics": ["UnblendedCost"],
            },
            notifications_with_subscribers=[
                *(self._notification(kind, percent, self.warnings) for kind, percent in _WARNINGS),
                self._notification("ACTUAL", _LIMIT_PERCENT, self.kill_switch),
            ],
        )
        # Made only when the policies of both topics let AWS Budgets publish, and removed before them. CloudFormation sees
        # no reference from a budget to a topic's policy, and an alarm before it would reach nobody.
        self.budget.node.add_dependency(self.warnings, self.kill_switch)
        self.deny_policy = iam.ManagedPolicy(
            self,
            "DenyNewSpending",
            description="Captune: AWS Budgets attaches this policy to the FineTuning role at 100% of the budget.",
            statements=[permissions.deny_new_spending()],
        )
        self.action = self._add_action(spender)
        self._add_outputs()

    def _topic(self, topic_id: str, display_name: str, name: str | None = None) -> sns.Topic:
        topic = sns.Topic(self, topic_id, topic_name=name, display_name=display_name, enforce_ssl=True)
        # Without this statement a budget deploys and silently delivers nothing.
        self._let_publish(topic, "BudgetsMayPublish", "budgets", _budgets_arn(self))
        return topic

    def _let_publish(self, topic: sns.Topic, sid: str, service: str, source_arn: str) -> None:
        account = cdk.Stack.of(self).account
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source_arn}},
            )
        )

    def _let_alarms_warn(self) -> None:
        """CloudWatch's alarms go to the warnings, and from there to the owner's address, which must confirm that once.

        AWS Budgets writes to the address by itself and needs no confirmation, so the subscription leaves its messages out:
        they are prose, and only an alarm is a JSON object with an AlarmName.
        """
        self._let_publish(
            self.warnings, "AlarmsMayPublish", "cloudwatch", Arns(cdk.Stack.of(self)).alarm(f"{PREFIX}-*")
        )
        if self._email:
            sns.CfnSubscription(
                self,
                "AlarmsByEmail",
                topic_arn=self.warnings.topic_arn,
                protocol="email",
                endpoint=self._email,
                filter_policy={"AlarmName": [{"exists": True}]},
                filter_policy_scope="MessageBody",
            )

    def _subscribers(self, topic: sns.Topic) -> list[tuple[str, str]]:
        return [("SNS", topic.topic_arn), *([("EMAIL", self._email)] if self._email else [])]

    def _notification(self, kind: str, percent: int, topic: sns.Topic) -> dict[str, Any]:
        return {
            "notification": {
                "notificationType": kind,
                "comparisonOperator": "GREATER_THAN",
                "threshold": percent,
                "thresholdType": "PERCENTAGE",
            },
            "subscribers": [{"subscriptionType": way, "address": address} for way, address in self._subscribers(topic)],
        }

    def _add_action(self, spender: iam.Role) -> budgets.CfnBudgetsAction:
        role = service_role(
            self,
            "ActionRole",
            service="budgets",
            purpose="Captune: AWS Budgets attaches the deny policy to the FineTuning role.",
            # This one policy, to this one role, and off again.
            statements=[
                permissions.allow(
                    ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
                    spender.role_arn,
                    ArnEquals={"iam:PolicyARN": self.deny_policy.managed_policy_arn},
                )
            ],
            source_arn=_budgets_arn(self),
        )
        action = budgets.CfnBudgetsAction(
            self,
            "DenyAtLimit",
            budget_name=self.budget.ref,
            notification_type="ACTUAL",
            action_type="APPLY_IAM_POLICY",
            approval_model="AUTOMATIC",
            action_threshold={"type": "PERCENTAGE", "value": _LIMIT_PERCENT},
            definition={
                "iamActionDefinition": {"policyArn": self.deny_policy.managed_policy_arn, "roles": [spender.role_name]}
            },
            execution_role_arn=role.role_arn,
            # To the warnings: this message also comes when the action is reset, which must not stop a run.
            subscribers=[{"type": way, "address": address} for way, address in self._subscribers(self.warnings)],
        )
        action.node.add_dependency(self.warnings, self.kill_switch)  # for the same reason
        return action

    def _add_outputs(self) -> None:
        policy_arn = self.deny_policy.managed_policy_arn
        outputs = {
            "BudgetWarningsTopic": (
                self.warnings.topic_arn,
                "Subscribe to get budget warnings (50%, 80% and forecast 100%) and every alarm",
            ),
            "KillSwitchTopic": (self.kill_switch.topic_arn, "Publish here to stop all runs of Captune"),
            "DenySpendingPolicyArn": (policy_arn, "The policy that AWS Budgets attaches to the FineTuning role"),
        }
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(cdk.Stack.of(self), name, value=value, description=description)


def _counted(scope: str) -> dict[str, Any]:
    """What the budget counts: the whole bill before credits and refunds, or only what has the project's tag.

    With credits a new account's would hide the spending, and the alarm would come when they are used up. Names and values are
    those of Cost Explorer's API, in which a tag of the user's has no prefix.
    """
    spent = {"not": {"dimensions": {"key": "RECORD_TYPE", "values": ["Credit", "Refund"]}}}
    return {"and": [spent, {"tags": {"key": "project", "values": [PREFIX]}}]} if scope == "tag" else spent


def _budgets_arn(scope: Construct) -> str:
    """The budgets of this account. They are global: their ARNs carry no region."""
    stack = cdk.Stack.of(scope)
    return f"arn:{stack.partition}:budgets::{stack.account}:*"
