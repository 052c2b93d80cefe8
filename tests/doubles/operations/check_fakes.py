"""The services that `make check-aws` asks, of an account in which everything is in order until a test changes something.

IAM's simulation is played by a small evaluator of policies: an action is allowed when a statement allows it on the resource
under its conditions, and no statement denies it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from operations.check.findings import Finding, Level
from tests.doubles.lambda_fakes import Service, page, refusal

ACCOUNT = "123456789012"
CALLER = f"arn:aws:iam::{ACCOUNT}:user/owner"


def one(found: Iterator[Finding]) -> Finding:
    """The only finding."""
    (finding,) = found
    return finding


def levels(found: Iterator[Finding]) -> list[Level]:
    """How much each finding matters."""
    return [finding.level for finding in found]


class Sts(Service):
    """Says who asks."""

    name = "sts"

    def on_get_caller_identity(self) -> dict[str, Any]:
        return {"Account": ACCOUNT, "Arn": CALLER, "UserId": "AIDA"}


class Ssm(Service):
    """Parameters by name."""

    name = "ssm"

    def __init__(self, **more: str) -> None:
        super().__init__()
        self.parameters = {"/cdk-bootstrap/hnb659fds/version": "33", **more}

    def on_get_parameter(self, Name: str) -> dict[str, Any]:
        if Name not in self.parameters:
            raise refusal("ParameterNotFound")
        return {"Parameter": {"Name": Name, "Value": self.parameters[Name]}}


class CloudFormation(Service):
    """Stacks by name with the template that was synthesized; `own_key` says whether the bootstrap made a key of its own.

    The CDK CLI has put its Metadata into each resource before it uploaded the template, and CloudFormation gives `?` for what
    is not ASCII.
    """

    name = "cloudformation"

    def __init__(self, templates: dict[str, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.templates = templates or {}
        self.statuses = dict.fromkeys(self.templates, "CREATE_COMPLETE")
        self.outputs: dict[str, dict[str, str]] = {}
        self.ids: dict[str, dict[str, str]] = {}
        self.own_key = False
        self.protected = False
        self.resource_status = "CREATE_COMPLETE"

    def on_describe_stacks(self, NextToken: str | None = None) -> dict[str, Any]:
        stacks = [
            {
                "StackName": name,
                "StackStatus": status,
                "EnableTerminationProtection": self.protected,
                "Outputs": [
                    {"OutputKey": key, "OutputValue": value} for key, value in self.outputs.get(name, {}).items()
                ],
            }
            for name, status in self.statuses.items()
        ]
        answer: dict[str, Any] = page("Stacks", stacks, NextToken)
        return answer

    def on_list_stack_resources(self, StackName: str, NextToken: str | None = None) -> dict[str, Any]:
        rows: list[dict[str, str]] = [
            {"LogicalResourceId": key, "PhysicalResourceId": value, "ResourceStatus": self.resource_status}
            for key, value in self.ids.get(StackName, {}).items()
        ]
        rows.append({"LogicalResourceId": "BeingMade", "ResourceStatus": "CREATE_IN_PROGRESS"})
        answer: dict[str, Any] = page("StackResourceSummaries", rows, NextToken)
        return answer

    def on_get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:
        assert TemplateStage == "Original"
        template: dict[str, Any] = json.loads(json.dumps(self.templates[StackName]))
        for logical_id, resource in template.get("Resources", {}).items():
            resource["Metadata"] = {"aws:cdk:path": f"{StackName}/{logical_id}/Resource"}
        text = json.dumps(template, ensure_ascii=False)
        return {"TemplateBody": text.encode("ascii", errors="replace").decode()}

    def on_describe_stack_resource(self, StackName: str, LogicalResourceId: str) -> dict[str, Any]:
        if not self.own_key:
            raise refusal("ValidationError")
        return {"StackResourceDetail": {"LogicalResourceId": LogicalResourceId}}


class S3(Service):
    """JumpStart's bucket with weights in it, and the bootstrap's with its encryption."""

    name = "s3"

    def __init__(self, objects: dict[str, int] | None = None, key: str = "") -> None:
        super().__init__()
        self.objects = {"config.json": 600, "model-1.safetensors": 10**10} if objects is None else objects
        self.key = key
        self.prefixes: set[str] = set()

    def on_list_objects_v2(self, Bucket: str, Prefix: str) -> dict[str, Any]:
        return {"Contents": [{"Key": f"{Prefix}{name}", "Size": size} for name, size in self.objects.items()]}

    def on_get_bucket_encryption(self, Bucket: str) -> dict[str, Any]:
        rule: dict[str, str] = {"SSEAlgorithm": "aws:kms", **({"KMSMasterKeyID": self.key} if self.key else {})}
        return {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]}}


class StepFunctions(Service):
    """Accepts every definition that is JSON, unless `diagnostics` says otherwise."""

    name = "stepfunctions"

    def __init__(self, result: str = "OK", *diagnostics: dict[str, str]) -> None:
        super().__init__()
        self.result, self.diagnostics = result, list(diagnostics)

    def on_validate_state_machine_definition(
        self, definition: str, type: str, severity: str, maxResults: int
    ) -> dict[str, Any]:
        assert type == "STANDARD" and maxResults <= 100 and len(definition) <= 1_048_576
        assert "${" not in definition, "a substitution was left"
        assert json.loads(definition)["States"]
        return {"result": self.result, "diagnostics": self.diagnostics, "truncated": False}


class Ecr(Service):
    """Repositories of AWS that hold every image but the missing ones."""

    name = "ecr"

    def __init__(self, *missing: str) -> None:
        super().__init__()
        self.missing = missing

    def on_batch_get_image(self, imageIds: list[dict[str, str]], **request: Any) -> dict[str, Any]:
        (image,) = imageIds
        if image["imageTag"] in self.missing:
            return {"images": [], "failures": [{"imageId": image, "failureCode": "ImageNotFound"}]}
        return {"images": [{"imageId": image}], "failures": []}


class Pricing(Service):
    """A Price List with one price for every instance."""

    name = "pricing"

    def __init__(self, hourly: str | None = "1.515") -> None:
        super().__init__()
        self.hourly = hourly

    def on_get_products(self, ServiceCode: str, Filters: list[dict[str, str]]) -> dict[str, Any]:
        if self.hourly is None:
            return {"PriceList": []}
        dimensions = {"d": {"unit": "Hrs", "pricePerUnit": {"USD": self.hourly}}}
        terms = {"OnDemand": {"t": {"priceDimensions": dimensions}}}
        products = [{"product": {"attributes": {"component": use}}, "terms": terms} for use in ("Training", "Hosting")]
        return {"PriceList": [json.dumps(product) for product in products]}


class Iam(Service):
    """Evaluates policies. `attached` holds the documents of each role's ARN, once it is deployed."""

    name = "iam"

    def __init__(self, attached: dict[str, list[dict[str, Any]]] | None = None) -> None:
        super().__init__()
        self.attached = attached or {}
        self.more: dict[str, Any] = {}
        self.policies: set[str] = set()  # their ARNs

    def on_get_policy(self, PolicyArn: str) -> dict[str, Any]:
        if PolicyArn not in self.policies:
            raise refusal("NoSuchEntity")
        return {"Policy": {"Arn": PolicyArn}}

    def on_simulate_custom_policy(self, PolicyInputList: list[str], **request: Any) -> dict[str, Any]:
        return self._answer([json.loads(document) for document in PolicyInputList], **request)

    def on_simulate_principal_policy(self, PolicySourceArn: str, **request: Any) -> dict[str, Any]:
        return self._answer(self.attached[PolicySourceArn], **request)

    def _answer(
        self,
        documents: list[dict[str, Any]],
        ActionNames: list[str],
        ResourceArns: list[str],
        ContextEntries: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in ContextEntries or []}
        statements = [statement for document in documents for statement in document["Statement"]]
        (resource,) = ResourceArns
        return {
            "EvaluationResults": [
                {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision, **self.more}
                for action in ActionNames
                for decision in [_decision(statements, action, resource, context)]
            ],
            "IsTruncated": False,
        }


def _decision(statements: list[dict[str, Any]], action: str, resource: str, context: dict[str, str]) -> str:
    effects = {
        statement["Effect"]
        for statement in statements
        if _matches(action, statement["Action"])
        and _matches(resource, statement["Resource"])
        and all(
            key in context and _matches(context[key], values)
            for condition in statement.get("Condition", {}).values()
            for key, values in condition.items()
        )
    }
    return "explicitDeny" if "Deny" in effects else "allowed" if "Allow" in effects else "implicitDeny"


def _matches(value: str, patterns: str | list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


class Sns(Service):
    """Subscriptions by topic, as protocol, endpoint and whether it was confirmed; None where it has ended."""

    name = "sns"

    def __init__(self, **topics: Sequence[tuple[str, str, bool | None]]) -> None:
        super().__init__()
        self.topics = topics

    def on_list_subscriptions_by_topic(self, TopicArn: str, NextToken: str | None = None) -> dict[str, Any]:
        rows = [
            {
                "Protocol": protocol,
                "Endpoint": endpoint,
                "SubscriptionArn": f"{TopicArn}:1"
                if confirmed
                else "Deleted"
                if confirmed is None
                else "PendingConfirmation",
            }
            for protocol, endpoint, confirmed in self.topics.get(TopicArn.rpartition(":")[2], [])
        ]
        answer: dict[str, Any] = page("Subscriptions", rows, NextToken)
        return answer


class CloudWatch(Service):
    """Alarms by name, none of them on."""

    name = "cloudwatch"

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.alarms: dict[str, dict[str, Any]] = {
            name: {"AlarmName": name, "StateValue": "OK", "ActionsEnabled": True, "AlarmDescription": "It is. Do this."}
            for name in names
        }

    def on_describe_alarms(self, AlarmTypes: list[str], NextToken: str | None = None) -> dict[str, Any]:
        assert AlarmTypes == ["MetricAlarm"]
        answer: dict[str, Any] = page("MetricAlarms", list(self.alarms.values()), NextToken)
        return answer


class Cloud:
    """Makes the client of a service: the fake of it."""

    def __init__(self, **services: Any) -> None:
        self.services = services
        self.asked: list[tuple[str, str | None]] = []

    def client(self, service: str, region: str | None = None) -> Any:
        self.asked.append((service, region))
        return self.services[service]

    def calls(self) -> Iterator[tuple[str, str]]:
        """Every operation that was asked, with its service."""
        for name, service in self.services.items():
            yield from ((name, operation) for operation, _ in service.calls)


def raising(error: Exception) -> Callable[[], Iterator[Finding]]:
    """A question that ends in an error after its first finding."""

    def question() -> Iterator[Finding]:
        yield Finding(Level.OK, "first", "was answered")
        raise error

    return question
