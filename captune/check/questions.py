"""Every question, in the order in which you would fix things: settings, account, what AWS offers, what is deployed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from captune.check import deployment, rights, supplies
from captune.check.findings import BUDGETS, Findings, Level, asking, later, ok, problem, warning
from captune.check.templates import Templates
from captune.destroy import GUARDRAIL
from common.clock import now
from preflight import checks
from preflight.checks import Clients
from stacks.configuration.images import training_successors
from stacks.configuration.settings import Settings
from stacks.definitions import run_settings


@dataclass(frozen=True)
class Project:
    """What this checkout would deploy, and what it needs of the CDK bootstrap."""

    settings: Settings
    stacks: Mapping[str, dict[str, Any]]
    bootstrap_parameter: str
    bootstrap_version: int


def findings(aws: Clients, account: str, project: Project) -> Findings:
    """All findings, one question at a time: what the stacks answer decides which follow. A denied one is a warning, unless it is of AWS Budgets."""
    settings, deployed = project.settings, deployment.Deployed()
    for name, said in settings.warnings().items():
        if name != "accept_eula":  # which Preflight's first check calls a problem
            text, _, fix = said.partition(". ")
            yield warning("settings", text, fix or "see cdk.json")
    yield from before_deployment(aws, account, project, deployed)
    yield from _preflight(aws, settings)
    newer = supplies.newer_images(partial(aws, "ecr"), training_successors(settings.region))
    yield from asking("newer images", "ecr:BatchGetImage", newer)
    for types, use in ((settings.training_instance_type, "Training"), (settings.hosting_instance_type, "Hosting")):
        # The Price List has endpoints in a few regions only.
        price = supplies.price(aws("pricing", "us-east-1"), settings.region, types, use)
        yield from asking(f"price of {use.lower()}", "pricing:GetProducts", price)
    iam, templates = aws("iam"), _templates(account, project, deployed)
    for role in templates.roles():
        yield from asking(
            f"permissions of {role.name}", "iam:SimulatePrincipalPolicy", rights.check(iam, role, account)
        )
    yield from _guards(aws, settings, deployed, templates)


def before_deployment(
    aws: Clients, account: str, project: Project, deployed: deployment.Deployed | None = None
) -> Findings:
    """What would stop a deployment, or make it useless. Fills `deployed`."""
    deployed = deployed or deployment.Deployed()
    cloudformation = aws("cloudformation")
    yield from supplies.room(supplies.written_to())
    # The plan of an account is kept in one region.
    yield from asking("account plan", "freetier:GetAccountPlanState", supplies.plan(aws("freetier", "us-east-1")))
    # The last stack would be denied, when the others already stand.
    yield from asking(BUDGETS, "budgets:ViewBudget", supplies.budgets(aws("budgets"), account))
    version = deployment.bootstrap(aws("ssm"), project.bootstrap_parameter, project.bootstrap_version)
    yield from asking("cdk bootstrap", "ssm:GetParameter", version)
    reading = "cloudformation:DescribeStacks, ListStackResources and GetTemplate"
    yield from asking("stacks", reading, deployment.read(cloudformation, project.stacks, deployed))
    yield from asking("one region", "iam:GetPolicy", deployment.only_region(aws("iam"), account, deployed))
    for name, text in _templates(account, project, deployed).machines():
        validation = deployment.definition(aws("stepfunctions"), name, text)
        yield from asking(f"definition of {name}", "states:ValidateStateMachineDefinition", validation)


def _templates(account: str, project: Project, deployed: deployment.Deployed) -> Templates:
    return Templates(account, project.settings.region, project.stacks, deployed.ids)


def _preflight(aws: Clients, settings: Settings) -> Findings:
    """The checks of Preflight that need nothing deployed, in its order."""
    asked = checks.AccountContext(run_settings(settings), now(), aws, aws)
    result = checks.PreflightResult.before_checks(asked.settings)
    for check in checks.CHECKS:
        if check.right:
            yield from asking(check.name, check.right, made(check, asked, result))


def made(check: checks.Check, asked: checks.AccountContext, result: checks.PreflightResult) -> Findings:
    """One check of Preflight, and what it raised, warned of or found in order."""
    told, faults = len(result.warnings), len(result.faults)
    said = result.attempt(lambda: check.look(asked, result))
    yield from (problem(check.name, str(fault)) for fault in result.faults[faults:])
    yield from (warning(check.name, text) for text in result.warnings[told:])
    if said and not result.warnings[told:]:
        yield ok(check.name, said)


def _guards(aws: Clients, settings: Settings, deployed: deployment.Deployed, templates: Templates) -> Findings:
    """The second line of defence, and who hears of it."""
    outputs, sns, address = deployed.outputs, aws("sns"), settings.alert_email
    if policy := outputs.get("DenySpendingPolicyArn"):
        budget = deployment.budget(aws("budgets"), policy, settings.budget_usd)
        yield from asking("budget", "budgets:ViewBudget and budgets:DescribeBudgetActionsForAccount", budget)
    elif deployed.stacks is not None:
        yield later("budget", "is not deployed")
    subscriptions = "sns:ListSubscriptionsByTopic"
    if GUARDRAIL in (deployed.stacks or ()):
        guards = deployment.guards(aws("events"), sns, templates.guards())
        right = f"events:DescribeRule, ListTargetsByRule and {subscriptions}"
        yield from asking("rules and kill switch", right, guards)
    if topic := outputs.get("BudgetWarningsTopic"):
        subject = "e-mail of alarms"
        yield from asking(subject, subscriptions, deployment.email(sns, topic, address, subject, Level.PROBLEM))
        alarms = deployment.alarms(aws("cloudwatch"), templates.alarms())
        yield from asking("alarms", "cloudwatch:DescribeAlarms", alarms)
    if (topic := outputs.get("ResultTopicArn")) and address:
        # AWS Budgets writes to the address without a confirmation.
        yield from asking("e-mail", subscriptions, deployment.email(sns, topic, address, "e-mail", Level.WARNING))
