"""Every question in the order in which a person would mend things: who asks, what is set, what AWS has, what is deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from common.pricing.hardware import ENDPOINT_INSTANCES
from operations.check import alarm, definitions, deployment, needs, rights, supplies
from operations.check.findings import Finding, asking, later, ok, problem, warning
from operations.check.rights import Role
from operations.check.templates import Machine, Templates, Unresolved
from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING, Need
from stacks.configuration.catalog import public_bucket
from stacks.configuration.settings import Settings


class Clients(Protocol):
    """Makes the client of a service, in the account's region or in another one."""

    def client(self, service: str, region: str | None = None) -> Any: ...


@dataclass(frozen=True)
class Project:
    """What this checkout would deploy, and what it asks of the CDK bootstrap."""

    settings: Settings
    stacks: Mapping[str, dict[str, Any]]
    bootstrap_parameter: str
    bootstrap_version: int


def findings(aws: Clients, account: str, project: Project) -> Iterator[Finding]:
    """All findings, as they come. A question that AWS refuses or does not answer becomes a warning."""
    try:
        yield from _findings(aws, account, project)
    except Unresolved as error:
        yield problem("templates", str(error), "teach operations/check/templates.py that reference")


def _findings(aws: Clients, account: str, project: Project) -> Iterator[Finding]:
    settings = project.settings
    deployed = deployment.Deployed()
    yield from _settings(settings)
    yield from _bootstrap(aws, account, project)
    yield from asking(
        "stacks",
        "cloudformation:DescribeStacks, ListStackResources and GetTemplate",
        lambda: deployment.read(aws.client("cloudformation"), project.stacks, deployed),
    )
    yield from asking(
        "one region", "iam:GetPolicy", lambda: deployment.only_region(aws.client("iam"), account, deployed)
    )
    templates = Templates(account, settings.region, project.stacks, deployed.ids)
    machines = templates.machines()
    for machine in machines:
        yield from _definition(aws, machine)
    yield from _supplies(aws, settings, machines)
    for machine in machines:
        yield from _rights(aws, templates, machine)
    yield from _alarm(aws, settings, deployed, templates.alarms())


def _settings(settings: Settings) -> Iterator[Finding]:
    asked = settings.model.licence
    if settings.weights.own:
        yield ok("licence", f"you have accepted that of the weights at {settings.weights.uri} where you got them")
    elif asked.must_be_accepted and not settings.accept_eula:
        licence = f"aws s3 cp s3://{public_bucket(settings.region)}/{asked.eula_file} -"
        yield problem(
            "licence",
            f"that of {settings.model.name} is not accepted",
            f"read it ({licence}), then set accept_eula to true in cdk.json",
        )
    else:
        how = "is accepted in the settings" if asked.must_be_accepted else f"is {asked.name}: nobody has to accept it"
        yield ok("licence", f"that of {settings.model.name} {how}")
    for said in settings.warnings():
        text, _, fix = said.partition("; ")
        yield warning("settings", text, fix or "see cdk.json")


def _bootstrap(aws: Clients, account: str, project: Project) -> Iterator[Finding]:
    yield from asking(
        "cdk bootstrap",
        "ssm:GetParameter",
        lambda: deployment.bootstrap(aws.client("ssm"), project.bootstrap_parameter, project.bootstrap_version),
    )
    bucket = Templates(account, project.settings.region, project.stacks).assets_bucket()
    yield from asking(
        "bootstrap's key",
        "s3:GetEncryptionConfiguration",
        lambda: deployment.assets_key(aws.client("s3"), aws.client("cloudformation"), bucket),
    )


def _definition(aws: Clients, machine: Machine) -> Iterator[Finding]:
    yield from asking(
        f"definition of {machine.name}",
        "states:ValidateStateMachineDefinition",
        lambda: definitions.check(aws.client("stepfunctions"), machine.name, machine.text),
    )


def _supplies(aws: Clients, settings: Settings, machines: list[Machine]) -> Iterator[Finding]:
    for address in sorted({address for machine in machines for address in needs.images(machine.text)}):
        yield from _image(aws, address)
    yield from asking(
        "weights",
        f"s3:ListBucket on {settings.weights.bucket}",
        lambda: supplies.weights(aws.client("s3"), settings.weights),
    )
    training, hosting = settings.training_instance_type, settings.hosting_instance_type
    wanted = [
        Need(training, SPOT_TRAINING if settings.spot else TRAINING, settings.training_instance_count),
        Need(hosting, ENDPOINT, ENDPOINT_INSTANCES),
    ]
    yield from asking(
        "quotas",
        "servicequotas:GetServiceQuota",
        lambda: supplies.quota(aws.client("service-quotas"), wanted, settings.region),
    )
    for types, use in ((training, "Training"), (hosting, "Hosting")):
        yield from _price(aws, settings.region, types, use)


def _image(aws: Clients, address: str) -> Iterator[Finding]:
    question = supplies.image(lambda region: aws.client("ecr", region), address)
    yield from asking("image", "ecr:BatchGetImage", lambda: question)


def _price(aws: Clients, region: str, types: tuple[str, ...], use: str) -> Iterator[Finding]:
    # The Price List has endpoints in a few regions only.
    yield from asking(
        f"price of {use.lower()}",
        "pricing:GetProducts",
        lambda: supplies.price(aws.client("pricing", "us-east-1"), region, types, use),
    )


def _rights(aws: Clients, templates: Templates, machine: Machine) -> Iterator[Finding]:
    place = needs.Place(templates.account, templates.region, templates.data_bucket())
    own, unread = needs.of_definition(machine.text, place)
    yield from _role(aws, templates, f"{machine.name}", machine.role, own, unread)
    if "Training" in machine.handed:
        asked = {
            "Training": ("the training container", needs.of_training(machine.text, place)),
            "Hosting": ("the hosting container", needs.of_hosting(machine.text, place)),
            "Scheduler": ("the schedule", needs.of_scheduler(machine.text)),
        }
        for handed, (title, wanted) in asked.items():
            yield from _role(aws, templates, title, machine.handed[handed], wanted, [])


def _role(
    aws: Clients,
    templates: Templates,
    title: str,
    logical_id: str,
    wanted: list[needs.Need],
    unread: list[needs.Unread],
) -> Iterator[Finding]:
    arn = templates.role_arn(logical_id) if templates.is_deployed(logical_id) else None
    role = Role(title, templates.inline_policies(logical_id), arn)
    right = "iam:SimulatePrincipalPolicy" if arn else "iam:SimulateCustomPolicy"
    yield from asking(f"rights of {title}", right, lambda: rights.check(aws.client("iam"), role, wanted, unread))


def _alarm(aws: Clients, settings: Settings, deployed: deployment.Deployed, alarms: list[str]) -> Iterator[Finding]:
    outputs = deployed.outputs
    if policy := outputs.get("DenySpendingPolicyArn"):
        yield from asking(
            "budget",
            "budgets:ViewBudget and budgets:DescribeBudgetActionsForAccount",
            lambda: alarm.budget(aws.client("budgets"), policy, settings.budget_usd),
        )
    elif deployed.stacks is not None:
        yield later("budget", "is not deployed")
    right = "sns:ListSubscriptionsByTopic"
    if topic := outputs.get("KillSwitchTopic"):
        yield from asking("kill switch", right, lambda: alarm.kill_switch(aws.client("sns"), topic))
    if warnings := outputs.get("BudgetWarningsTopic"):
        address = settings.alert_email
        yield from asking("e-mail of alarms", right, lambda: alarm.alarms(aws.client("sns"), warnings, address))
        right_of_alarms = "cloudwatch:DescribeAlarms"
        yield from asking("alarms", right_of_alarms, lambda: alarm.states(aws.client("cloudwatch"), alarms))
    if (results := outputs.get("ResultTopicArn")) and settings.alert_email:
        yield from asking("e-mail", right, lambda: alarm.email(aws.client("sns"), results, settings.alert_email))
