"""`make check-aws` as a whole, on the templates of this checkout: before the first deployment, and after it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from operations.check import command, run, supplies
from operations.check.findings import Finding, Level
from operations.check.run import Project
from operations.check.templates import Templates
from preflight.account.quotas import Need
from stacks.configuration.settings import Settings
from stacks.names import ONE_PER_ACCOUNT
from tests.doubles.lambda_fakes import refusal
from tests.doubles.operations.budget_fakes import Budgets
from tests.doubles.operations.check_fakes import (
    ACCOUNT,
    S3,
    Cloud,
    CloudFormation,
    CloudWatch,
    Ecr,
    Iam,
    Pricing,
    Sns,
    Ssm,
    StepFunctions,
    Sts,
)
from tests.doubles.service_quotas import ServiceQuotas

pytestmark = pytest.mark.slow


GIVEN = {"accept_eula": "true", "alert_email": "owner@example.org"}
READING = ("describe_", "get_", "list_", "simulate_", "validate_", "batch_get_")
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sagemaker:Create*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def project() -> Project:
    """What this checkout would deploy into the account, synthesized as the command does it."""
    context = json.loads((command.ROOT / "cdk.json").read_text("utf-8"))["context"]
    return command.load(Settings.from_context({**context, **GIVEN}), GIVEN, ACCOUNT)


def cloud(**services: Any) -> Cloud:
    """An account in which everything is in order, and nothing is deployed."""
    return Cloud(
        **{
            "sts": Sts(),
            "ssm": Ssm(),
            "cloudformation": CloudFormation(),
            "s3": S3(),
            "stepfunctions": StepFunctions(),
            "ecr": Ecr(),
            "service-quotas": ServiceQuotas({"L-2D6DEB3C": 1.0, "L-9614C779": 1.0}),
            "pricing": Pricing(),
            "iam": Iam(),
            "budgets": Budgets(),
            "sns": Sns(),
            "cloudwatch": CloudWatch("somebody-elses"),
            **services,
        }
    )


def after_deployment(project: Project) -> Cloud:
    """The same account with the stacks in it: every resource has a name of CloudFormation's, and each role its policies."""
    stacks = CloudFormation(dict(project.stacks))
    for name, template in project.stacks.items():
        for logical_id, resource in template["Resources"].items():
            arn = {
                "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/deny",
                "AWS::SNS::Topic": f"arn:aws:sns:us-east-1:{ACCOUNT}:{logical_id}",
                "AWS::StepFunctions::StateMachine": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:"
                f"{resource.get('Properties', {}).get('StateMachineName')}",
                "AWS::SQS::Queue": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{logical_id}",
            }.get(resource["Type"], f"{name}-{logical_id}-ABC".lower())
            stacks.ids.setdefault(name, {})[logical_id] = arn
    ids = {(name, key): value for name, kept in stacks.ids.items() for key, value in kept.items()}
    templates = Templates(ACCOUNT, "us-east-1", project.stacks, ids)
    for name, template in project.stacks.items():
        stacks.outputs[name] = {
            key: str(templates.resolve(name, entry["Value"])) for key, entry in template.get("Outputs", {}).items()
        }
    roles = [
        logical_id
        for template in project.stacks.values()
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    ]
    results, switch, warnings = (
        stacks.outputs[f"Captune-{stack}"][output].rpartition(":")[2]
        for stack, output in (
            ("FineTuning", "ResultTopicArn"), ("Guardrail", "KillSwitchTopic"), ("Guardrail", "BudgetWarningsTopic"),
        )
    )  # fmt: skip
    owner = [("email", "owner@example.org", True)]
    return cloud(
        cloudformation=stacks,
        iam=Iam({templates.role_arn(role): templates.inline_policies(role) for role in roles}),
        cloudwatch=CloudWatch(*templates.alarms()),
        sns=Sns(**{results: owner, warnings: owner, switch: [("lambda", "arn:sweeper", True)]}),
    )


def findings(account: Cloud, project: Project) -> list[Finding]:
    return list(run.findings(account, ACCOUNT, project))


def not_in_order(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level != Level.OK]


def test_before_the_first_deployment_only_what_needs_it_waits(project: Project) -> None:
    found = not_in_order(findings(cloud(), project))
    assert [(finding.level, finding.subject) for finding in found] == [
        (Level.LATER, "Captune-Storage"),
        (Level.LATER, "Captune-FineTuning"),
        (Level.LATER, "Captune-Guardrail"),
        (Level.LATER, "budget"),
    ]


def test_after_the_deployment_everything_is_asked_and_in_order(project: Project) -> None:
    found = findings(after_deployment(project), project)
    assert not_in_order(found) == []
    subjects = {finding.subject for finding in found}
    assert {
        "budget",
        "budget action",
        "kill switch",
        "alarms",
        "e-mail of alarms",
        "e-mail",
        "Captune-FineTuning",
        "weights",
    } <= subjects


def test_both_definitions_both_images_and_all_roles_are_asked_for(project: Project) -> None:
    account = after_deployment(project)
    found = Counter(finding.subject.partition(" ")[0] for finding in findings(account, project))
    assert (found["definition"], found["image"], found["rights"]) == (2, 2, 5)
    assert len(account.services["stepfunctions"].called("validate_state_machine_definition")) == 2


def test_nothing_that_is_asked_changes_anything(project: Project) -> None:
    account = after_deployment(project)
    findings(account, project)
    calls = set(account.calls())
    assert len(calls) > 10
    assert [call for call in calls if not call[1].startswith(READING)] == []


def test_the_deployed_roles_are_judged_with_what_the_alarm_attached_to_them(project: Project) -> None:
    account = after_deployment(project)
    (arn,) = [arn for arn in account.services["iam"].attached if "finetuningrole" in arn]
    account.services["iam"].attached[arn].append(DENY)

    refused = [one for one in findings(account, project) if one.level == Level.PROBLEM]

    assert {one.subject for one in refused} == {"rights of captune-fine-tuning"}
    assert all("explicit deny" in one.text and "make release" in one.fix for one in refused)
    assert any("sagemaker:CreateTrainingJob" in one.text for one in refused)


@pytest.mark.parametrize("role", ["FineTuningRole", "TearDownRole", "TrainingRole", "HostingRole", "SchedulerRole"])
def test_a_role_that_lost_its_policies_is_found_before_it_is_deployed(project: Project, role: str) -> None:
    stacks = json.loads(json.dumps(project.stacks))
    (logical_id,) = [key for key in stacks["Captune-FineTuning"]["Resources"] if key.startswith(role)]
    stacks["Captune-FineTuning"]["Resources"][logical_id]["Properties"]["Policies"] = [
        {"PolicyName": "Permissions", "PolicyDocument": {"Version": "2012-10-17", "Statement": []}}
    ]
    damaged = Project(project.settings, stacks, project.bootstrap_parameter, project.bootstrap_version)
    refused = [one for one in findings(cloud(), damaged) if one.level == Level.PROBLEM]
    assert len({one.subject for one in refused}) == 1
    assert all("no statement allows it" in one.text for one in refused)


def test_every_right_of_a_machine_is_asked_for(project: Project) -> None:
    account = cloud()
    findings(account, project)
    asked = {
        action for call in account.services["iam"].called("simulate_custom_policy") for action in call["ActionNames"]
    }
    templates = Templates(ACCOUNT, "us-east-1", project.stacks)
    for machine in templates.machines():
        for document in templates.inline_policies(machine.role):
            for statement in document["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert {one for one in actions if not one.startswith(("logs:", "xray:"))} <= asked


@pytest.mark.parametrize(
    ("service", "operation", "subject", "action"),
    [
        ("ssm", "get_parameter", "cdk bootstrap", "ssm:GetParameter"),
        ("s3", "get_bucket_encryption", "bootstrap's key", "s3:GetEncryptionConfiguration"),
        ("s3", "list_objects_v2", "weights", "s3:ListBucket"),
        ("cloudformation", "describe_stacks", "stacks", "cloudformation:DescribeStacks"),
        ("ecr", "batch_get_image", "image", "ecr:BatchGetImage"),
        ("iam", "simulate_custom_policy", "rights of", "iam:SimulateCustomPolicy"),
        ("iam", "get_policy", "one region", "iam:GetPolicy"),
        ("pricing", "get_products", "price of training", "pricing:GetProducts"),
        ("stepfunctions", "validate_state_machine_definition", "definition", "states:ValidateStateMachineDefinition"),
        ("service-quotas", "get_service_quota", "quota for", "servicequotas:GetServiceQuota"),
    ],
)
def test_a_right_that_the_reader_lacks_is_one_warning_that_names_it(
    project: Project, service: str, operation: str, subject: str, action: str
) -> None:
    account = cloud()
    account.services[service].troubles[operation] = [refusal("AccessDeniedException")]
    found = [one for one in findings(account, project) if one.level == Level.WARNING]
    assert len(found) == 1
    assert found[0].subject.startswith(subject)
    assert action in found[0].fix


@pytest.mark.parametrize(
    ("service", "operation", "subject", "action"),
    [
        ("iam", "simulate_principal_policy", "rights of", "iam:SimulatePrincipalPolicy"),
        ("budgets", "describe_budget", "budget", "budgets:ViewBudget"),
        ("sns", "list_subscriptions_by_topic", "kill switch", "sns:ListSubscriptionsByTopic"),
        ("cloudwatch", "describe_alarms", "alarms", "cloudwatch:DescribeAlarms"),
        ("cloudformation", "get_template", "stacks", "GetTemplate"),
    ],
)
def test_so_is_one_that_is_needed_after_the_deployment(
    project: Project, service: str, operation: str, subject: str, action: str
) -> None:
    account = after_deployment(project)
    account.services[service].troubles[operation] = [refusal("AccessDenied")]
    (found,) = [one for one in findings(account, project) if one.level == Level.WARNING]
    assert found.subject.startswith(subject)
    assert action in found.fix


@pytest.mark.parametrize("operation", ["describe_stacks", "list_stack_resources", "get_template"])
def test_stacks_that_could_not_be_read_are_not_said_to_be_missing(project: Project, operation: str) -> None:
    account = after_deployment(project)
    account.services["iam"].policies = {f"arn:aws:iam::{ACCOUNT}:policy/{ONE_PER_ACCOUNT}"}
    account.services["cloudformation"].troubles[operation] = [refusal("Throttling")]
    assert [(one.level, one.subject) for one in not_in_order(findings(account, project))] == [(Level.WARNING, "stacks")]


def test_a_licence_that_is_not_accepted_is_a_problem_and_a_missing_address_a_warning(project: Project) -> None:
    plain = Project(Settings(), project.stacks, project.bootstrap_parameter, project.bootstrap_version)
    found = {one.subject: one for one in findings(cloud(), plain)}
    assert found["licence"].level == Level.PROBLEM and "accept_eula" in found["licence"].fix
    assert found["settings"].level == Level.WARNING and "alert_email" in found["settings"].fix


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accept_eula": "true"}, "that of Llama 2 7B is accepted in the settings"),
        ({"base_model": "mistral-7b"}, "that of Mistral 7B v0.3 is Apache 2.0: nobody has to accept it"),
        ({"weights_uri": "s3://mine/models/one/"}, "you have accepted that of the weights at s3://mine/models/one/"),
    ],
)
def test_the_licence_is_judged_by_who_has_to_accept_it(project: Project, given: dict[str, str], said: str) -> None:
    other = Project(
        Settings.from_context(given), project.stacks, project.bootstrap_parameter, project.bootstrap_version
    )
    (found,) = [one for one in findings(cloud(), other) if one.subject == "licence"]
    assert found.level == Level.OK and found.text.startswith(said)


def test_the_price_list_and_the_images_are_asked_where_they_are(project: Project) -> None:
    account = cloud()
    findings(account, project)
    assert ("pricing", "us-east-1") in account.asked
    assert ("ecr", "us-east-1") in account.asked


def test_a_template_that_the_check_cannot_read_is_a_problem_and_no_crash(project: Project) -> None:
    stacks = json.loads(json.dumps(project.stacks))
    for resource in stacks["Captune-FineTuning"]["Resources"].values():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            resource["Properties"]["DefinitionSubstitutions"]["TearDownFunctionArn"] = {"Fn::Base64": "x"}
    damaged = Project(project.settings, stacks, project.bootstrap_parameter, project.bootstrap_version)
    last = findings(cloud(), damaged)[-1]
    assert (last.level, last.subject) == (Level.PROBLEM, "templates")
    assert "Fn::Base64" in last.text


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ssm", "get_parameter"),
        ("s3", "get_bucket_encryption"),
        ("s3", "list_objects_v2"),
        ("cloudformation", "describe_stacks"),
        ("ecr", "batch_get_image"),
        ("iam", "simulate_custom_policy"),
        ("pricing", "get_products"),
        ("stepfunctions", "validate_state_machine_definition"),
        ("service-quotas", "get_service_quota"),
    ],
)
def test_a_page_of_a_proxy_in_place_of_an_answer_ends_no_check(project: Project, service: str, operation: str) -> None:
    account = cloud()
    account.services[service].troubles[operation] = [ResponseParserError("<html>")]
    found = [one for one in findings(account, project) if one.level == Level.WARNING]
    assert len(found) == 1 and "did not answer" in found[0].text


def test_a_quota_has_to_hold_every_instance_of_a_job_and_is_told_with_its_code() -> None:
    def told(needed: int) -> Finding:
        needs = [Need(["ml.g5.2xlarge"], "spot training job usage", needed)]
        (found,) = supplies.quota(ServiceQuotas({"L-CAEE7DB7": 2.0}), needs, "us-east-1")
        return found

    assert (told(2).level, told(3).level) == (Level.OK, Level.PROBLEM)
    assert "(code L-CAEE7DB7) is 2 and 3 are needed" in told(3).text


def test_the_quotas_of_training_and_endpoint_are_sought_in_one_listing(project: Project) -> None:
    settings = dataclasses.replace(
        project.settings, training_instance_type=("ml.g6.xlarge",), hosting_instance_type=("ml.g6.2xlarge",)
    )
    account = cloud()
    found = findings(account, dataclasses.replace(project, settings=settings))
    asked = account.services["service-quotas"]
    # Two pages full of others and one with what is left, of the applied values and of the defaults.
    assert [operation for operation, _ in asked.calls] == ["list_service_quotas"] * 3 + [
        "list_aws_default_service_quotas"
    ] * 3
    unknown = [one for one in found if "could not be read" in one.text]
    assert len(unknown) == 2
    assert all("servicequotas/home/services/sagemaker/quotas" in one.fix for one in unknown)
