"""An AWS account as the owner's commands see it: everything is in order until a test changes something."""

import json
import re
from collections.abc import Sequence
from typing import Any

from typer.testing import CliRunner

from captune.__main__ import app
from rehearsal.account.rights import Need, speaks_of
from stacks.configuration.images import TRAINING_SUCCESSORS
from tests.doubles.lambda_fakes import (
    MACHINE,
    TEAR_DOWN,
    Ecr,
    Events,
    Pricing,
    SageMaker,
    Service,
    ServiceQuotas,
    StepFunctions,
    page,
    refusal,
)
from tests.doubles.ledger_fakes import FakeLedger

ACCOUNT = "123456789012"
CALLER = f"arn:aws:iam::{ACCOUNT}:user/owner"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/deny"
# Of condition keys that are not a string, by the service authorization reference.
CONTEXT_TYPES = {
    "dynamodb:LeadingKeys": "stringList",
    "sagemaker:InstanceTypes": "stringList",
    "sagemaker:MaxRuntimeInSeconds": "numeric",
}
BUDGET, ACTION = "Captune-Guardrail-Budget", "11111111-2222-3333-4444-555555555555"
STACKS = ("Captune-Storage", "Captune-FineTuning", "Captune-Guardrail")
RUNNING = {"FineTuningArn": MACHINE, "TearDownArn": TEAR_DOWN, "LedgerTable": "ledger", "BucketName": "bucket"}
RELEASING = {"FineTuningRoleName": "fine-tuning", "DenySpendingPolicyArn": POLICY, "CapCents": "2500"}


def said(*words: object) -> tuple[int, str]:
    """The exit code of `captune` with these words, and what it prints."""
    answer = CliRunner().invoke(app, [str(word) for word in words])
    # On GitHub, and where FORCE_COLOR is set, the help is coloured also where nobody looks at it.
    return answer.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", answer.output)


class Answers(Service):
    """A service that answers each operation with what is given for it: a value, or a function of the request."""

    def __init__(self, name: str, **answers: Any) -> None:
        super().__init__()
        self.name, self.answers = name, answers

    def __getattr__(self, operation: str) -> Any:
        if not operation.startswith("on_"):
            return super().__getattr__(operation)
        answer = self.answers[operation.removeprefix("on_")]
        return answer if callable(answer) else lambda **request: answer


class FakeSession:
    """A boto3 session: makes the client of a service, which is the stand-in of it."""

    region_name = "us-east-1"

    def __init__(self, **services: Any) -> None:
        self.services = services
        self.asked: list[tuple[str, str | None]] = []

    def client(self, service: str, region_name: str | None = None, config: Any = None) -> Any:
        self.asked.append((service, region_name))
        return self.services[service]


def deployed(
    ledger: FakeLedger | None = None,
    running: Sequence[str] = (),
    machine: str = MACHINE,
    stacks: Sequence[str] = STACKS,
    protected: bool = False,
    **resources: Any,
) -> FakeSession:
    """An account with the stacks in it, after the budget alarm; executions of the `machine` are `running`."""
    cloudformation = CloudFormation(dict.fromkeys(stacks, {}))
    cloudformation.outputs = dict.fromkeys(stacks, RUNNING | RELEASING)
    cloudformation.protected = protected
    executions = {
        f"{machine.replace(':stateMachine:', ':execution:')}:{name}": {"status": "RUNNING"} for name in running
    }
    return FakeSession(
        cloudformation=cloudformation,
        sagemaker=SageMaker(**resources),
        stepfunctions=StepFunctions(executions),
        dynamodb=(ledger or FakeLedger()).table,
        iam=Iam(attached=True),
        sts=Answers("sts", get_caller_identity={"Account": ACCOUNT, "Arn": CALLER, "UserId": "AIDA"}),
    )


class CloudFormation(Service):
    """Stacks by name with their templates, outputs and physical ids.

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
        self.protected = False

    def on_describe_stacks(self, StackName: str = "", NextToken: str | None = None) -> dict[str, Any]:
        stacks = [
            {
                "StackName": name,
                "StackStatus": status,
                "EnableTerminationProtection": self.protected,
                "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.get(name, {}).items()],
            }
            for name, status in self.statuses.items()
            if StackName in ("", name)
        ]
        answer: dict[str, Any] = page("Stacks", stacks, NextToken)
        return answer

    def on_list_stack_resources(self, StackName: str, NextToken: str | None = None) -> dict[str, Any]:
        rows: list[dict[str, str]] = [
            {"LogicalResourceId": key, "PhysicalResourceId": value, "ResourceStatus": "CREATE_COMPLETE"}
            for key, value in self.ids.get(StackName, {}).items()
        ]
        rows.append({"LogicalResourceId": "BeingMade", "ResourceStatus": "CREATE_IN_PROGRESS"})
        answer: dict[str, Any] = page("StackResourceSummaries", rows, NextToken)
        return answer

    def on_get_template(self, StackName: str, TemplateStage: str) -> dict[str, Any]:
        template: dict[str, Any] = json.loads(json.dumps(self.templates[StackName]))
        for logical_id, resource in template.get("Resources", {}).items():
            resource["Metadata"] = {"aws:cdk:path": f"{StackName}/{logical_id}/Resource"}
        text = json.dumps(template, ensure_ascii=False)
        return {"TemplateBody": text.encode("ascii", errors="replace").decode()}


class Budgets(Service):
    """AWS Budgets with one action of ours."""

    name = "budgets"

    def __init__(self, status: str = "STANDBY", spent: str = "12.34") -> None:
        super().__init__()
        self.status, self.spent = status, spent
        self.has_action = True
        self.left_out = ["Credit", "Refund"]

    def _action(self) -> dict[str, Any]:
        definition = {"IamActionDefinition": {"PolicyArn": POLICY, "Roles": ["fine-tuning"]}}
        return {"ActionId": ACTION, "BudgetName": BUDGET, "Definition": definition, "Status": self.status}

    def on_describe_budget_actions_for_account(self, AccountId: str, NextToken: str | None = None) -> dict[str, Any]:
        stop = {"SsmActionDefinition": {"ActionSubType": "STOP_EC2_INSTANCES", "Region": "x", "InstanceIds": []}}
        somebody_elses = {"ActionId": "0" * 36, "BudgetName": "x", "Definition": stop, "Status": "STANDBY"}
        found = [somebody_elses, *([self._action()] if self.has_action else [])]
        answer: dict[str, Any] = page("Actions", found, NextToken)
        return answer

    def on_describe_budgets(self, AccountId: str, MaxResults: int) -> dict[str, Any]:
        return {"Budgets": []}

    def on_describe_budget(self, AccountId: str, BudgetName: str, ShowFilterExpression: bool = False) -> dict[str, Any]:
        limit = {"BudgetName": BUDGET, "BudgetLimit": {"Amount": "25.0", "Unit": "USD"}}
        left_out = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": self.left_out}}}
        shown = {"FilterExpression": left_out, "Metrics": ["UnblendedCost"]} if ShowFilterExpression else {}
        counted = {"CalculatedSpend": {"ActualSpend": {"Amount": self.spent, "Unit": "USD"}}} if self.spent else {}
        return {"Budget": {**limit, **shown, **counted}}


class Iam(Service):
    """IAM with the role that the budget action denies new spending to, which simulates policies as the rehearsed account reads them.

    `roles` holds the documents of each role's ARN, once it is deployed; `more` is added to each result.
    """

    name = "iam"

    def __init__(self, roles: dict[str, list[dict[str, Any]]] | None = None, attached: bool = False) -> None:
        super().__init__()
        self.roles, self.attached = roles or {}, attached
        self.more: dict[str, Any] = {}
        self.policies: set[str] = set()  # their ARNs

    def on_detach_role_policy(self, RoleName: str, PolicyArn: str) -> dict[str, Any]:
        assert (RoleName, PolicyArn) == ("fine-tuning", POLICY)
        if not self.attached:
            raise refusal("NoSuchEntity")
        self.attached = False
        return {}

    def on_get_policy(self, PolicyArn: str) -> dict[str, Any]:
        if PolicyArn not in self.policies:
            raise refusal("NoSuchEntity")
        return {"Policy": {"Arn": PolicyArn}}

    def on_simulate_principal_policy(self, PolicySourceArn: str, **request: Any) -> dict[str, Any]:
        return self._answer(self.roles[PolicySourceArn], **request)

    def _answer(
        self,
        documents: list[dict[str, Any]],
        ActionNames: list[str],
        ResourceArns: list[str],
        ContextEntries: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Any]:
        for entry in ContextEntries:
            assert entry["ContextKeyType"] == CONTEXT_TYPES.get(entry["ContextKeyName"], "string"), entry
        context = tuple((entry["ContextKeyName"], tuple(entry["ContextKeyValues"])) for entry in ContextEntries)
        statements = [statement for document in documents for statement in document["Statement"]]
        results = []
        for action in ActionNames:
            need = Need(action, ResourceArns[0], context)
            effects = {statement["Effect"] for statement in statements if speaks_of(statement, need)}
            decision = "explicitDeny" if "Deny" in effects else "allowed" if effects else "implicitDeny"
            results.append({"EvalActionName": action, "EvalDecision": decision})
        return {"EvaluationResults": [result | self.more for result in results], "IsTruncated": False}


def sns(**topics: Sequence[tuple[str, str, bool | None]]) -> Answers:
    """SNS with subscriptions by topic, as protocol, endpoint and whether it was confirmed; None where it has ended."""
    shown = {True: "arn:aws:sns:us-east-1:1:topic:1", False: "PendingConfirmation", None: "Deleted"}

    def listed(TopicArn: str, NextToken: str | None = None) -> Any:
        found = topics.get(TopicArn.rpartition(":")[2], [])
        rows = [{"Protocol": one, "Endpoint": two, "SubscriptionArn": shown[three]} for one, two, three in found]
        return page("Subscriptions", rows, NextToken)

    return Answers("sns", list_subscriptions_by_topic=listed)


def cloudwatch(*names: str, **changed: Any) -> Answers:
    """CloudWatch with these alarms; none of them is on, and `changed` says otherwise."""
    off = {"StateValue": "OK", "ActionsEnabled": True, "AlarmDescription": "It is. Do this.", **changed}
    alarms = [{"AlarmName": name, **off} for name in names]
    return Answers(
        "cloudwatch", describe_alarms=lambda AlarmTypes, **more: page("MetricAlarms", alarms, more.get("NextToken"))
    )


def s3() -> Answers:
    """S3 with weights in a folder."""
    there = {"config.json": 600, "model-1.safetensors": 10**10}

    def listed(Bucket: str, Prefix: str, MaxKeys: int = 1000) -> Any:
        rows = [{"Key": f"{Prefix}{name}", "Size": size} for name, size in there.items()]
        return {"Contents": rows, "KeyCount": len(rows)}

    return Answers("s3", list_objects_v2=listed)


def step_functions(result: str = "OK", *diagnostics: dict[str, str]) -> Answers:
    """Step Functions' validation, with this answer to every definition."""

    def validated(definition: str, **request: Any) -> Any:
        assert "${" not in definition and json.loads(definition)["States"], "a substitution was left"
        return {"result": result, "diagnostics": list(diagnostics), "truncated": False}

    return Answers("stepfunctions", validate_state_machine_definition=validated)


def price_list(hourly: str | None = "1.515") -> Pricing:
    """A Price List with one price for every instance."""
    terms = {"OnDemand": {"t": {"priceDimensions": {"d": {"unit": "Hrs", "pricePerUnit": {"USD": hourly}}}}}}
    uses = ("Training", "Hosting") if hourly else ()
    return Pricing(*({"product": {"attributes": {"component": use}}, "terms": terms} for use in uses))


def freetier(**more: Any) -> Answers:
    """The plan of the account: the paid one."""
    state = {"accountId": ACCOUNT, "accountPlanType": "PAID", "accountPlanStatus": "ACTIVE"}
    return Answers("freetier", get_account_plan_state={**state, **more})


def ssm(version: str | None = "33") -> Answers:
    """The version of the CDK bootstrap, None where it was not run."""

    def parameter(Name: str) -> Any:
        if version is None:
            raise refusal("ParameterNotFound")
        return {"Parameter": {"Name": Name, "Value": version}}

    return Answers("ssm", get_parameter=parameter)


def without_successors() -> Ecr:
    """A registry without an image that follows the training image."""
    ecr = Ecr()
    ecr.missing |= set(TRAINING_SUCCESSORS)
    return ecr


def in_order(**services: Any) -> FakeSession:
    """An account in which everything is in order, and nothing is deployed."""
    return FakeSession(
        **{
            "sagemaker": SageMaker(),
            "ssm": ssm(),
            "freetier": freetier(),
            "cloudformation": CloudFormation(),
            "s3": s3(),
            "stepfunctions": step_functions(),
            "ecr": without_successors(),
            "service-quotas": ServiceQuotas({"L-2D6DEB3C": 1.0, "L-9614C779": 1.0}),
            "pricing": price_list(),
            "iam": Iam(),
            "budgets": Budgets(),
            "sns": sns(),
            "events": Events(),
            "cloudwatch": cloudwatch("somebody-elses"),
            **services,
        }
    )
