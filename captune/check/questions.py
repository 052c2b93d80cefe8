"""Every question in the order in which a person would mend things: who asks, what is set, what AWS has, what is deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from captune.check import deployment, guards, rights, supplies
from captune.check.findings import Findings, Level, asking, later, ok, problem, warning
from captune.check.templates import Machine, Templates, Unresolved
from common.pricing.hardware import ENDPOINT_INSTANCES
from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING, Need
from stacks.configuration.catalog import public_bucket
from stacks.configuration.images import newer_images
from stacks.configuration.settings import Settings

Clients = Callable[..., Any]  # makes the client of a service, in the account's region or in the one that is named


@dataclass(frozen=True)
class Project:
    """What this checkout would deploy, and what it needs of the CDK bootstrap."""

    settings: Settings
    stacks: Mapping[str, dict[str, Any]]
    bootstrap_parameter: str
    bootstrap_version: int


def findings(aws: Clients, account: str, project: Project) -> Findings:
    """All findings, as they come. A question that AWS refuses or does not answer becomes a warning."""
    try:
        yield from _all(aws, account, project)
    except Unresolved as error:
        yield problem("templates", str(error), "add that reference to captune/check/templates.py")


def _all(aws: Clients, account: str, project: Project) -> Findings:
    """The findings, one question at a time: what the stacks answer decides which follow."""
    settings, deployed = project.settings, deployment.Deployed()
    cloudformation, s3, iam = aws("cloudformation"), aws("s3"), aws("iam")
    yield from _settings(settings)
    # The plan of an account is kept in one region.
    yield from asking("account plan", "freetier:GetAccountPlanState", supplies.plan(aws("freetier", "us-east-1")))
    version = deployment.bootstrap(aws("ssm"), project.bootstrap_parameter, project.bootstrap_version)
    yield from asking("cdk bootstrap", "ssm:GetParameter", version)
    bucket = Templates(account, settings.region, project.stacks).assets_bucket()
    key = deployment.assets_key(s3, cloudformation, bucket)
    yield from asking("bootstrap's key", "s3:GetEncryptionConfiguration", key)
    reading = "cloudformation:DescribeStacks, ListStackResources and GetTemplate"
    yield from asking("stacks", reading, deployment.read(cloudformation, project.stacks, deployed))
    yield from asking("one region", "iam:GetPolicy", deployment.only_region(iam, account, deployed))
    templates = Templates(account, settings.region, project.stacks, deployed.ids)
    machines = templates.machines()
    for machine in machines:
        validation = deployment.definition(aws("stepfunctions"), machine.name, machine.text)
        yield from asking(f"definition of {machine.name}", "states:ValidateStateMachineDefinition", validation)
    yield from _supplies(aws, settings, machines)
    for machine in machines:
        for role, needs, unread in _roles(templates, machine):
            right = "iam:SimulatePrincipalPolicy" if role.arn else "iam:SimulateCustomPolicy"
            yield from asking(f"rights of {role.title}", right, rights.check(iam, role, needs, unread))
    yield from _guards(aws, settings, deployed, templates.alarms())


def _settings(settings: Settings) -> Findings:
    asked = settings.model.licence
    if settings.weights.own:
        yield ok("licence", f"you have accepted that of the weights at {settings.weights.uri} where you got them")
    elif asked.must_be_accepted and not settings.accept_eula:
        read_it = f"read it (aws s3 cp s3://{public_bucket(settings.region)}/{asked.eula_file} -)"
        text = f"that of {settings.model.name} is not accepted"
        yield problem("licence", text, f"{read_it}, then set accept_eula to true in cdk.json")
    else:
        how = "is accepted in the settings" if asked.must_be_accepted else f"is {asked.name}: nobody has to accept it"
        yield ok("licence", f"that of {settings.model.name} {how}")
    for said in settings.warnings():
        text, _, fix = said.partition("; ")
        yield warning("settings", text, fix or "see cdk.json")


def _supplies(aws: Clients, settings: Settings, machines: list[Machine]) -> Findings:
    for address in sorted({address for machine in machines for address in rights.images(machine.text)}):
        yield from asking("image", "ecr:BatchGetImage", supplies.image(partial(aws, "ecr"), address))
    yield from supplies.newer_images(newer_images(settings.region))
    folder = settings.weights
    yield from asking("weights", f"s3:ListBucket on {folder.bucket}", supplies.weights(aws("s3"), folder))
    training, hosting = settings.training_instance_type, settings.hosting_instance_type
    needs = [
        Need(training, SPOT_TRAINING if settings.spot else TRAINING, settings.training_instance_count),
        Need(hosting, ENDPOINT, ENDPOINT_INSTANCES),
    ]
    quotas = supplies.quota(aws("service-quotas"), needs, settings.region)
    yield from asking("quotas", "servicequotas:GetServiceQuota", quotas)
    # The Price List has endpoints in a few regions only.
    listed = aws("pricing", "us-east-1")
    for types, use in ((training, "Training"), (hosting, "Hosting")):
        price = supplies.price(listed, settings.region, types, use)
        yield from asking(f"price of {use.lower()}", "pricing:GetProducts", price)


def _roles(templates: Templates, machine: Machine) -> Iterator[tuple[rights.Role, list[rights.Need], list[str]]]:
    """The role of a machine and those that it hands over, each with what is needed of it and the calls that were not read."""
    place = rights.Place(templates.account, templates.region, templates.data_bucket())
    needs, unread = rights.of_definition(machine.text, place)
    yield _role(templates, machine.name, machine.role), needs, unread
    if "Training" in machine.handed:
        training, hosting, scheduler = (machine.handed[name] for name in ("Training", "Hosting", "Scheduler"))
        yield _role(templates, "the training container", training), rights.of_training(machine.text, place), []
        yield _role(templates, "the hosting container", hosting), rights.of_hosting(machine.text, place), []
        yield _role(templates, "the schedule", scheduler), rights.of_scheduler(machine.text), []


def _role(templates: Templates, title: str, logical_id: str) -> rights.Role:
    return rights.Role(title, templates.inline_policies(logical_id), templates.role_arn(logical_id))


def _guards(aws: Clients, settings: Settings, deployed: deployment.Deployed, alarms: list[str]) -> Findings:
    """The second line of defence, and who hears of it."""
    outputs, sns, address = deployed.outputs, aws("sns"), settings.alert_email
    if policy := outputs.get("DenySpendingPolicyArn"):
        budget = guards.budget(aws("budgets"), policy, settings.budget_usd)
        yield from asking("budget", "budgets:ViewBudget and budgets:DescribeBudgetActionsForAccount", budget)
    elif deployed.stacks is not None:
        yield later("budget", "is not deployed")
    subscriptions = "sns:ListSubscriptionsByTopic"
    if topic := outputs.get("KillSwitchTopic"):
        yield from asking("kill switch", subscriptions, guards.kill_switch(sns, topic))
    if topic := outputs.get("BudgetWarningsTopic"):
        subject = "e-mail of alarms"
        yield from asking(subject, subscriptions, guards.email(sns, topic, address, subject, Level.PROBLEM))
        yield from asking("alarms", "cloudwatch:DescribeAlarms", guards.alarms(aws("cloudwatch"), alarms))
    if (topic := outputs.get("ResultTopicArn")) and address:
        # AWS Budgets writes to the address without a confirmation.
        yield from asking("e-mail", subscriptions, guards.email(sns, topic, address, "e-mail", Level.WARNING))
