"""`captune check` as a whole, on the templates of this checkout: before the first deployment, and after it."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError
from botocore.parsers import ResponseParserError

from captune import account
from captune.check import command, questions
from captune.check.findings import Finding, Level, ok, problem
from captune.check.questions import Project
from captune.check.templates import Templates
from preflight.checks import CHECKS
from stacks.configuration.settings import Settings
from stacks.names import ONE_PER_ACCOUNT
from tests.doubles import aws_account as aws
from tests.doubles.aws_account import ACCOUNT, FakeSession, in_order
from tests.doubles.lambda_fakes import Events, refusal

GIVEN = {"region": "us-east-1", "accept_eula": "true", "alert_email": "owner@example.org"}
READING = ("describe_", "get_", "list_", "simulate_", "validate_", "batch_get_", "create_hub_content_presigned_urls")
# A right that has another name than the operation.
IN_OTHER_WORDS = ("list_objects_v2", "describe_budget")


@pytest.fixture(scope="module")
def project() -> Project:
    """What this checkout would deploy into the account, synthesized as the command does it."""
    return command.load(account.settings(GIVEN), GIVEN, ACCOUNT)


def after_deployment(project: Project) -> FakeSession:
    """The account with the stacks in it: each role has a name of CloudFormation's, and its policies."""
    stacks = aws.CloudFormation(dict(project.stacks))
    names = {"AWS::IAM::Role": "a-{}", "AWS::IAM::ManagedPolicy": aws.POLICY}
    for name, template in project.stacks.items():
        kinds = {key: names.get(resource["Type"], "") for key, resource in template["Resources"].items()}
        stacks.ids[name] = {key: form.format(key.lower()) for key, form in kinds.items() if form}
    ids = {(name, key): value for name, kept in stacks.ids.items() for key, value in kept.items()}
    templates = Templates(ACCOUNT, "us-east-1", project.stacks, ids)
    for name, template in project.stacks.items():
        values = template.get("Outputs", {}).items()
        stacks.outputs[name] = {key: str(templates.resolve(name, entry["Value"])) for key, entry in values}
    topics = {key: arn.rpartition(":")[2] for kept in stacks.outputs.values() for key, arn in kept.items()}
    guards = templates.guards()
    owner, sweeper = [("email", "owner@example.org", True)], [("lambda", guards.sweeper_arn, True)]
    iam = aws.Iam({role.arn: [{"Statement": role.statements}] for role in templates.roles()})
    iam.policies = {f"arn:aws:iam::{ACCOUNT}:policy/{ONE_PER_ACCOUNT}"}
    heard = {topics["ResultTopicArn"]: owner, topics["BudgetWarningsTopic"]: owner, topics["KillSwitchTopic"]: sweeper}
    targets, events = {guards.run_ended_rule: guards.tear_down_arn, guards.sweep_rule: guards.sweeper_arn}, Events()
    events.rules = {rule: ("ENABLED", target) for rule, target in targets.items()}
    alarms = aws.cloudwatch(*templates.alarms())
    return in_order(cloudformation=stacks, iam=iam, cloudwatch=alarms, sns=aws.sns(**heard), events=events)


def findings(session: FakeSession, project: Project) -> list[Finding]:
    return list(questions.findings(session.client, ACCOUNT, project))


def at(level: Level, session: FakeSession, project: Project) -> list[Finding]:
    return [finding for finding in findings(session, project) if finding.level == level]


@pytest.mark.slow
def test_before_the_first_deployment_only_what_needs_it_waits(project: Project) -> None:
    session = in_order()
    found = [(one.level, one.subject) for one in findings(session, project) if one.level != Level.OK]
    waiting = ("Captune-Storage", "Captune-FineTuning", "Captune-Guardrail", "budget")
    assert found == [(Level.LATER, subject) for subject in waiting]


@pytest.mark.slow
def test_after_the_deployment_everything_is_asked_and_nothing_changed(project: Project) -> None:
    session = after_deployment(project)
    found = findings(session, project)
    assert [one for one in found if one.level != Level.OK] == []
    asked = Counter(finding.subject.partition(" ")[0] for finding in found)
    kinds = Counter(one["Type"] for template in project.stacks.values() for one in template["Resources"].values())
    assert (asked["definition"], asked["price"], asked["permissions"]) == (2, 2, kinds["AWS::IAM::Role"])
    guards = {"budget", "budget action", "rules and kill switch", "AWS Budgets", "alarms", "e-mail of alarms", "e-mail"}
    of_preflight = {check.name for check in CHECKS if check.right}
    assert guards | of_preflight | {"cdk bootstrap"} <= {one.subject for one in found}
    calls = {operation for service in session.services.values() for operation, _ in service.calls}
    assert len(calls) > 10 and [call for call in calls if not call.startswith(READING)] == []
    assert {("pricing", "us-east-1"), ("ecr", "us-east-1")} <= set(session.asked)


@pytest.mark.slow
def test_a_disabled_rule_and_a_guardrail_that_is_not_there_are_problems(project: Project) -> None:
    session = after_deployment(project)
    (name, _) = session.services["events"].rules
    session.services["events"].rules[name] = ("DISABLED", "")
    assert [name in one.text for one in at(Level.PROBLEM, session, project)] == [True]
    session = after_deployment(project)
    for kept in ("statuses", "outputs", "ids"):
        del getattr(session.services["cloudformation"], kept)["Captune-Guardrail"]
    (missing,) = at(Level.PROBLEM, session, project)
    assert missing.subject == "Captune-Guardrail" and "GuardrailMissing" in missing.text


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda project: in_order(), after_deployment], ids=["before", "after"])
def test_a_denied_question_names_its_permission(project: Project, make: Callable[[Project], FakeSession]) -> None:
    all_in_order = make(project)
    findings(all_in_order, project)
    asked = {(name, call) for name, service in all_in_order.services.items() for call, _ in service.calls}
    assert len(asked) >= 9
    asked -= {("pricing", "get_products")}  # then a run takes the pinned price
    for service, operation in sorted(asked):
        session = make(project)
        session.services[service].troubles[operation] = [refusal("AccessDeniedException")]
        # Stacks that were not read are not called missing, and their roles' rights not lacking.
        warnings = [one for one in findings(session, project) if one.level in (Level.WARNING, Level.PROBLEM)]
        expected = Level.PROBLEM if service == "budgets" else Level.WARNING
        assert [one.level for one in warnings] == [expected], (operation, warnings)
        action = operation.replace("_", "").removesuffix("v2")
        told = "AccessDeniedException" in warnings[0].text or action in warnings[0].fix.lower()
        assert told or operation in IN_OTHER_WORDS, warnings[0]


@pytest.mark.slow
def test_what_the_settings_lack_is_told(project: Project) -> None:
    lacking = dataclasses.replace(project, settings=Settings())
    (missing,) = at(Level.WARNING, in_order(), lacking)
    assert missing.subject == "settings" and "alert_email" in missing.fix
    assert [one.subject for one in at(Level.PROBLEM, in_order(), lacking)] == ["licence"]


GOOD, BAD = ok("quota", "1 of ml.g5.2xlarge"), problem("licence", "is not accepted", "set accept_eula to true")


def run(monkeypatch: pytest.MonkeyPatch, found: list[Finding], *words: str) -> tuple[int, str, list[Any]]:
    """Exit code, output, and the settings that were checked, with these findings in place of AWS's answers."""
    seen: list[Any] = []
    monkeypatch.setattr(command, "identify", lambda clients: (ACCOUNT, aws.CALLER))
    monkeypatch.setattr(command, "load", lambda settings, given, account: seen.append((settings, given)))
    monkeypatch.setattr(command, "findings", lambda aws, account, project: iter(found))
    return *aws.said("check", *words), seen


def test_each_finding_is_a_line_and_a_problem_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = run(monkeypatch, [GOOD, BAD])
    first, *lines, last = text.splitlines()
    assert code == 1 and f"account {ACCOUNT} in us-east-1" in first and last.startswith("1 problems, 0 warnings, 2 in")
    assert [line.split(maxsplit=1)[0] for line in lines] == ["ok", "problem", "set"]
    assert run(monkeypatch, [GOOD])[0] == 0


def test_of_several_problems_what_others_have_to_do_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets, quotas = problem("AWS Budgets", "is off", "ask"), problem("quotas", "are 0", "ask")
    _, text, _ = run(monkeypatch, [BAD, budgets, quotas, problem("cdk bootstrap", "was not run", "do it")])
    assert text.splitlines()[-1].endswith("hours to days (AWS Budgets, quotas); then licence, cdk bootstrap.")


def test_json_lists_the_findings_of_the_settings_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--json", "-c", "region=eu-west-1", "-c", "budget_usd=40")
    _, text, ((settings, context),) = run(monkeypatch, [BAD], *given)
    assert (settings.region, settings.budget_usd, context["region"]) == ("eu-west-1", 40, "eu-west-1")
    credentials, found = json.loads(text)
    assert (credentials["level"], found) == ("ok", dataclasses.asdict(BAD))


@pytest.mark.parametrize(
    "error", [NoCredentialsError(), refusal("ExpiredToken"), ResponseParserError("<html>\n</html>")]
)
def test_without_credentials_there_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    sts = aws.Answers("sts")
    sts.troubles["get_caller_identity"] = [error]
    monkeypatch.setattr(command, "clients", lambda region: lambda service: sts)
    code, text = aws.said("check")
    assert code == 2 and text.count("\n") == 1 and "aws sso login" in text


TYPES = {"Queue": "AWS::SQS::Queue", "Topic": "AWS::SNS::Topic", "Bucket": "AWS::S3::Bucket", "Odd": "AWS::Odd::Thing"}
TEMPLATE = {
    "Resources": {name: {"Type": kind} for name, kind in TYPES.items()},
    "Outputs": {"Out": {"Value": {"Ref": "Bucket"}, "Export": {"Name": "exported"}}},
}


@pytest.mark.parametrize(
    ("value", "deployed", "expected"),
    [
        ({"Ref": "Bucket"}, {}, "not-deployed-bucket"),
        ({"Ref": "Topic"}, {"Topic": "arn:aws:sns:r:1:real"}, "arn:aws:sns:r:1:real"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, {"Queue": "https://sqs/1/real"}, "arn:aws:sqs:r:1:real"),
        ({"Fn::ImportValue": "exported"}, {"Bucket": "real"}, "real"),
        ({"Fn::GetAtt": ["Odd", "Arn"]}, {}, None),
        ({"Fn::Base64": "x"}, {}, None),
    ],
)
def test_a_reference_becomes_a_real_or_likely_name(value: Any, deployed: dict[str, str], expected: str | None) -> None:
    templates = Templates("1", "r", {"S": TEMPLATE}, {("S", key): name for key, name in deployed.items()})
    if expected is None:
        with pytest.raises(ValueError, match="cannot fill in"):
            templates.resolve("S", value)
    else:
        assert templates.resolve("S", value) == expected
