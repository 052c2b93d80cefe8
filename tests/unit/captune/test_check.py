"""`captune check` as a whole, on the templates of this checkout: before the first deployment, and after it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError
from botocore.parsers import ResponseParserError
from typer.testing import CliRunner

from captune import account
from captune.__main__ import app
from captune.check import command, questions
from captune.check.findings import Finding, Level, ok, problem
from captune.check.questions import Project
from captune.check.templates import Templates, Unresolved
from stacks.configuration.settings import Settings
from stacks.names import ONE_PER_ACCOUNT
from tests.doubles.aws_account import ACCOUNT, CALLER, Account, Answers, CloudFormation, Iam, cloudwatch, in_order, sns
from tests.doubles.lambda_fakes import refusal
from tests.doubles.service_quotas import ServiceQuotas

GIVEN = {"region": "us-east-1", "accept_eula": "true", "alert_email": "owner@example.org"}
READING = ("describe_", "get_", "list_", "simulate_", "validate_", "batch_get_")
# A right that has another name than the operation.
IN_OTHER_WORDS = ("list_objects_v2", "get_bucket_encryption", "describe_budget", "describe_stack_resource")
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sagemaker:Create*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def project() -> Project:
    """What this checkout would deploy into the account, synthesized as the command does it."""
    return command.load(account.settings(GIVEN), GIVEN, ACCOUNT)


def after_deployment(project: Project) -> Account:
    """The account with the stacks in it: every resource has a name of CloudFormation's, and each role its policies."""
    stacks = CloudFormation(dict(project.stacks))
    machine = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine"
    roles = []
    for name, template in project.stacks.items():
        for logical_id, resource in template["Resources"].items():
            physical_id = {
                "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/deny",
                "AWS::SNS::Topic": f"arn:aws:sns:us-east-1:{ACCOUNT}:{logical_id}",
                "AWS::StepFunctions::StateMachine": f"{machine}:{resource.get('Properties', {}).get('StateMachineName')}",
                "AWS::SQS::Queue": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{logical_id}",
            }.get(resource["Type"], f"{name}-{logical_id}-ABC".lower())
            stacks.ids.setdefault(name, {})[logical_id] = physical_id
            roles += [logical_id] if resource["Type"] == "AWS::IAM::Role" else []
    ids = {(name, key): value for name, kept in stacks.ids.items() for key, value in kept.items()}
    templates = Templates(ACCOUNT, "us-east-1", project.stacks, ids)
    outputs: dict[str, str] = {}
    for name, template in project.stacks.items():
        values = template.get("Outputs", {}).items()
        stacks.outputs[name] = {key: str(templates.resolve(name, entry["Value"])) for key, entry in values}
        outputs |= {key: value.rpartition(":")[2] for key, value in stacks.outputs[name].items()}
    owner = [("email", "owner@example.org", True)]
    subscriptions: dict[str, Any] = {outputs["ResultTopicArn"]: owner, outputs["BudgetWarningsTopic"]: owner}
    return in_order(
        cloudformation=stacks,
        iam=Iam({str(templates.role_arn(role)): templates.inline_policies(role) for role in roles}),
        cloudwatch=cloudwatch(*templates.alarms()),
        sns=sns(**subscriptions, **{outputs["KillSwitchTopic"]: [("lambda", "arn:sweeper", True)]}),
    )


def findings(session: Account, project: Project) -> list[Finding]:
    return list(questions.findings(session.client, ACCOUNT, project))


def at(level: Level, session: Account, project: Project) -> list[Finding]:
    return [finding for finding in findings(session, project) if finding.level == level]


@pytest.mark.slow
def test_before_the_first_deployment_only_what_needs_it_waits(project: Project) -> None:
    found = [(one.level, one.subject) for one in findings(in_order(), project) if one.level != Level.OK]
    waiting = ("Captune-Storage", "Captune-FineTuning", "Captune-Guardrail", "budget")
    assert found == [(Level.LATER, subject) for subject in waiting]


@pytest.mark.slow
def test_after_the_deployment_everything_is_asked_and_nothing_changed(project: Project) -> None:
    session = after_deployment(project)
    found = findings(session, project)
    assert [one for one in found if one.level != Level.OK] == []
    asked = Counter(finding.subject.partition(" ")[0] for finding in found)
    assert (asked["definition"], asked["image"], asked["rights"], asked["quota"], asked["price"]) == (2, 2, 5, 2, 2)
    guards = {"budget", "budget action", "kill switch", "alarms", "e-mail of alarms", "e-mail"}
    assert guards | {"licence", "cdk bootstrap", "bootstrap's key", "weights"} <= {one.subject for one in found}
    calls = {operation for service in session.services.values() for operation, _ in service.calls}
    assert len(calls) > 10 and [call for call in calls if not call.startswith(READING)] == []
    assert {("pricing", "us-east-1"), ("ecr", "us-east-1")} <= set(session.asked)


@pytest.mark.slow
def test_a_deployed_role_is_judged_with_what_the_alarm_attached(project: Project) -> None:
    session = after_deployment(project)
    (arn,) = [arn for arn in session.services["iam"].roles if "finetuningrole" in arn]
    session.services["iam"].roles[arn].append(DENY)
    refused = at(Level.PROBLEM, session, project)
    assert {one.subject for one in refused} == {"rights of captune-fine-tuning"}
    assert all("explicit deny" in one.text and "captune release" in one.fix for one in refused)
    assert any("sagemaker:CreateTrainingJob" in one.text for one in refused)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["FineTuningRole", "TearDownRole", "TrainingRole", "HostingRole", "SchedulerRole"])
def test_a_role_without_policies_is_found_before_it_is_deployed(project: Project, role: str) -> None:
    stacks = json.loads(json.dumps(project.stacks))
    (logical_id,) = [key for key in stacks["Captune-FineTuning"]["Resources"] if key.startswith(role)]
    stacks["Captune-FineTuning"]["Resources"][logical_id]["Properties"]["Policies"] = []
    refused = at(Level.PROBLEM, in_order(), dataclasses.replace(project, stacks=stacks))
    assert len({one.subject for one in refused}) == 1
    assert all("no statement allows it" in one.text for one in refused)


@pytest.mark.slow
def test_every_right_that_a_role_grants_is_asked_for(project: Project) -> None:
    session = in_order()
    findings(session, project)
    requests = session.services["iam"].called("simulate_custom_policy")
    asked = {action for request in requests for action in request["ActionNames"]}
    templates = Templates(ACCOUNT, "us-east-1", project.stacks)
    roles = [role for machine in templates.machines() for role in (machine.role, *machine.handed.values())]
    policies = [policy for role in roles for policy in templates.inline_policies(role)]
    granted = [statement["Action"] for policy in policies for statement in policy["Statement"]]
    actions = {one for action in granted for one in (action if isinstance(action, list) else [action])}
    assert {one for one in actions if not one.startswith(("logs:", "xray:"))} <= asked


@pytest.mark.slow
@pytest.mark.parametrize("is_deployed", [False, True], ids=["before", "after"])
def test_a_question_that_aws_refuses_is_one_warning_that_names_the_right(project: Project, is_deployed: bool) -> None:
    def make() -> Account:
        return after_deployment(project) if is_deployed else in_order()

    all_in_order = make()
    findings(all_in_order, project)
    asked = {(name, call) for name, service in all_in_order.services.items() for call, _ in service.calls}
    assert len(asked) >= 10
    for service, operation in sorted(asked):
        session = make()
        session.services[service].troubles[operation] = [refusal("AccessDeniedException")]
        warnings = at(Level.WARNING, session, project)
        assert len(warnings) == 1, (operation, warnings)
        action = operation.replace("_", "").removesuffix("v2")
        assert action in warnings[0].fix.lower() or operation in IN_OTHER_WORDS, warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["describe_stacks", "list_stack_resources", "get_template"])
def test_stacks_that_were_not_read_are_not_called_missing(project: Project, operation: str) -> None:
    session = after_deployment(project)
    session.services["iam"].policies = {f"arn:aws:iam::{ACCOUNT}:policy/{ONE_PER_ACCOUNT}"}
    session.services["cloudformation"].troubles[operation] = [refusal("Throttling")]
    found = [(one.level, one.subject) for one in findings(session, project) if one.level != Level.OK]
    assert found == [(Level.WARNING, "stacks")]


@pytest.mark.slow
def test_a_template_that_cannot_be_read_is_a_problem(project: Project) -> None:
    stacks = json.loads(json.dumps(project.stacks))
    for resource in stacks["Captune-FineTuning"]["Resources"].values():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            resource["Properties"]["DefinitionSubstitutions"]["TearDownFunctionArn"] = {"Fn::Base64": "x"}
    last = findings(in_order(), dataclasses.replace(project, stacks=stacks))[-1]
    assert (last.level, last.subject, "Fn::Base64" in last.text) == (Level.PROBLEM, "templates", True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "level", "text"),
    [
        ({}, Level.PROBLEM, "is not accepted"),
        ({"accept_eula": "true"}, Level.OK, "that of Llama 2 7B is accepted in the settings"),
        ({"base_model": "mistral-7b"}, Level.OK, "that of Mistral 7B v0.3 is Apache 2.0"),
        ({"weights_uri": "s3://mine/models/one/"}, Level.OK, "the weights at s3://mine/models/one/"),
    ],
)
def test_the_licence_is_judged_by_who_must_accept_it(project: Project, given: Any, level: Level, text: str) -> None:
    found = findings(in_order(), dataclasses.replace(project, settings=Settings.from_context(given)))
    licence, settings = (next(one for one in found if one.subject == subject) for subject in ("licence", "settings"))
    assert licence.level == level and text in licence.text
    assert settings.level == Level.WARNING and "alert_email" in settings.fix


@pytest.mark.slow
def test_quotas_are_sought_in_one_listing_and_unknown_ones_link_to_the_console(project: Project) -> None:
    types: dict[str, Any] = {"training_instance_type": ("ml.g6.xlarge",), "hosting_instance_type": ("ml.g6.2xlarge",)}
    quotas = ServiceQuotas({})
    other = dataclasses.replace(project, settings=dataclasses.replace(project.settings, **types))
    unknown = [
        one for one in at(Level.WARNING, in_order(**{"service-quotas": quotas}), other) if "quota" in one.subject
    ]
    assert len(unknown) == 2 and all("servicequotas/home/services/sagemaker/quotas" in one.fix for one in unknown)
    firsts = [one for one in quotas.called("list_service_quotas") if "NextToken" not in one]
    assert len(firsts) == 1


# The command

GOOD, BAD = ok("quota", "1 of ml.g5.2xlarge"), problem("licence", "is not accepted", "set accept_eula to true")


def run(monkeypatch: pytest.MonkeyPatch, found: list[Finding], *words: str) -> tuple[int, str, list[Any]]:
    """Exit code, output, and the settings that were checked, with these findings in place of AWS's answers."""
    seen: list[Any] = []
    monkeypatch.setattr(command, "identify", lambda aws: (ACCOUNT, CALLER))
    monkeypatch.setattr(command, "load", lambda settings, given, account: seen.append((settings, given)))
    monkeypatch.setattr(command, "findings", lambda aws, account, project: iter(found))
    answer = CliRunner().invoke(app, ["check", *words])
    return answer.exit_code, answer.output, seen


def test_each_finding_is_a_line_and_a_problem_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = run(monkeypatch, [GOOD, BAD])
    first, *lines, last = text.splitlines()
    assert (
        code == 1
        and f"account {ACCOUNT} in us-east-1" in first
        and last.startswith("1 problems, 0 warnings, 2 in order")
    )
    assert [line.split(maxsplit=1)[0] for line in lines] == ["ok", "problem", "set"]
    assert run(monkeypatch, [GOOD])[0] == 0


def test_json_lists_the_findings_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials, found = json.loads(run(monkeypatch, [BAD], "--json")[1])
    assert credentials["level"] == "ok"
    assert found == {
        "level": "problem",
        "subject": "licence",
        "text": "is not accepted",
        "fix": "set accept_eula to true",
    }


@pytest.mark.parametrize(("word", "part"), [("epochz=3", "nearest one is epochs"), ("epochs", "KEY=VALUE")])
def test_a_wrong_setting_is_refused_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, word: str, part: str
) -> None:
    code, text, seen = run(monkeypatch, [GOOD], "-c", word)
    assert (code, part in text, seen) == (1, True, [])


def test_the_settings_of_the_command_line_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, ((settings, given),) = run(monkeypatch, [GOOD], "-c", "region=eu-west-1", "-c", "budget_usd=40")
    assert (settings.region, settings.budget_usd, given["region"]) == ("eu-west-1", 40, "eu-west-1")


@pytest.mark.parametrize(
    "error", [NoCredentialsError(), refusal("ExpiredToken"), ResponseParserError("<html>\n</html>")]
)
def test_without_credentials_there_is_one_line_and_exit_code_two(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sts = Answers("sts")
    sts.troubles["get_caller_identity"] = [error]
    monkeypatch.setattr(command, "clients", lambda region: lambda service: sts)
    answer = CliRunner().invoke(app, ["check"])
    assert answer.exit_code == 2 and answer.output.count("\n") == 1 and "aws sso login" in answer.output


# The templates

TEMPLATE = {
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue"}, "Topic": {"Type": "AWS::SNS::Topic"}, "Bucket": {"Type": "AWS::S3::Bucket"},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/aws/x"}}, "Odd": {"Type": "AWS::Odd::Thing"},
    },
    "Outputs": {"Out": {"Value": {"Ref": "Bucket"}, "Export": {"Name": "exported"}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "deployed", "expected"),
    [
        ({"Ref": "Bucket"}, {}, "not-deployed-bucket"),
        ({"Ref": "Bucket"}, {"Bucket": "real"}, "real"),
        ({"Ref": "Topic"}, {"Topic": "arn:aws:sns:r:1:real"}, "arn:aws:sns:r:1:real"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, {"Queue": "https://sqs/1/real"}, "arn:aws:sqs:r:1:real"),
        ({"Fn::GetAtt": ["Log", "Arn"]}, {}, "arn:aws:logs:r:1:log-group:/aws/x:*"),
        ({"Fn::ImportValue": "exported"}, {}, "not-deployed-bucket"),
        ({"Fn::Join": ["-", ["a", {"Ref": "AWS::Region"}]]}, {}, "a-r"),
        ({"Fn::Sub": "x-${AWS::AccountId}"}, {}, "x-1"),
        ({"Ref": "AWS::Region", "Beside": 1}, {}, {"Ref": "AWS::Region", "Beside": 1}),
    ],
)
def test_a_reference_becomes_what_is_deployed_or_a_name_of_the_right_form(
    value: Any, deployed: dict[str, str], expected: Any
) -> None:
    ids = {("S", key): name for key, name in deployed.items()}
    assert Templates("1", "r", {"S": TEMPLATE}, ids).resolve("S", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nothing"}, {"Ref": "AWS::NoValue"}, {"Fn::GetAtt": ["Odd", "Arn"]}, {"Fn::GetAtt": ["Bucket", "Color"]},
        {"Fn::ImportValue": "?"}, {"Fn::Base64": "x"},
    ],
)  # fmt: skip
def test_a_reference_that_cannot_be_filled_in_is_an_error(value: Any) -> None:
    with pytest.raises(Unresolved):
        Templates("1", "r", {"S": TEMPLATE}).resolve("S", value)
