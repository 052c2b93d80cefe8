"""The AWS operations that the check asks, by service. None of them changes anything, and none of them is charged for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

Answer = dict[str, Any]


class Pages(Protocol):
    """A paginator of botocore."""

    def paginate(self, **request: Any) -> Iterator[Answer]:
        """The pages of one listing."""


class Sts(Protocol):
    """sts:GetCallerIdentity, which needs no right."""

    def get_caller_identity(self) -> Answer: ...


class Ssm(Protocol):
    """ssm:GetParameter."""

    def get_parameter(self, *, Name: str) -> Answer: ...


class CloudFormation(Protocol):
    """cloudformation:DescribeStacks, DescribeStackResource, ListStackResources and GetTemplate."""

    def describe_stack_resource(self, *, StackName: str, LogicalResourceId: str) -> Answer: ...

    def get_template(self, *, StackName: str, TemplateStage: str) -> Answer: ...

    def get_paginator(self, name: Literal["describe_stacks", "list_stack_resources"], /) -> Pages: ...


class S3(Protocol):
    """s3:ListBucket and s3:GetEncryptionConfiguration."""

    def get_bucket_encryption(self, *, Bucket: str) -> Answer: ...

    def get_paginator(self, name: Literal["list_objects_v2"], /) -> Pages: ...


class StepFunctions(Protocol):
    """states:ValidateStateMachineDefinition."""

    def validate_state_machine_definition(
        self, *, definition: str, type: str, severity: str, maxResults: int
    ) -> Answer: ...


class Iam(Protocol):
    """iam:SimulateCustomPolicy before the deployment, iam:SimulatePrincipalPolicy after it; iam:GetPolicy."""

    def get_policy(self, *, PolicyArn: str) -> Answer: ...

    def get_paginator(self, name: Literal["simulate_custom_policy", "simulate_principal_policy"], /) -> Pages: ...


class Budgets(Protocol):
    """budgets:ViewBudget and budgets:DescribeBudgetActionsForAccount."""

    def describe_budget(self, *, AccountId: str, BudgetName: str) -> Answer: ...

    def get_paginator(self, name: Literal["describe_budget_actions_for_account"], /) -> Pages: ...


class Sns(Protocol):
    """sns:ListSubscriptionsByTopic."""

    def get_paginator(self, name: Literal["list_subscriptions_by_topic"], /) -> Pages: ...


class CloudWatch(Protocol):
    """cloudwatch:DescribeAlarms."""

    def get_paginator(self, name: Literal["describe_alarms"], /) -> Pages: ...
