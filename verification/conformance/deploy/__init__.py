"""The deploy command: the templates against published schemas, and the real CDK CLI on a third-party emulator."""

import json
from importlib.metadata import version
from pathlib import Path

from cfnlint.api import ManualArgs, lint

from rehearsal.account.cloud import Cloud
from rehearsal.programs import FOREIGN, StepFailed
from rehearsal.sagemaker.standin import PLAYED
from stacks.assembly import Assembly
from verification.conformance.contracts import Contract, Setting
from verification.conformance.deploy import account
from verification.conformance.deploy.journey import Journey, Success, calls_of
from verification.fake_engines import FakeHosting, FakeTraining

LOGS = FOREIGN / "logs" / "conformance"
_FOLDER = FOREIGN / "conformance" / "deploy"
_PATIENCE_SECONDS = 180.0


def run(setting: Setting) -> list[Contract]:
    """Check the templates, then deploy, run and destroy.

    Raises:
        CannotRun: the emulator or Node cannot be installed here.
    """
    setting.say("deploy: the templates against CloudFormation's schemas")
    contracts = [templates(setting.assembly)]
    if not contracts[0].holds:  # CloudFormation would refuse them, an emulator would not
        return contracts
    setting.say("deploy: a rehearsed run, to compare with")
    # A planted fault is in the assembly; without one, the CDK CLI synthesizes the project as it does for a person.
    app = ["--app", str(setting.assembly)] if setting.plant else ["--context", "accept_eula=true"]
    assembly = Assembly(setting.assembly)
    try:
        expected = _rehearsed(assembly, _FOLDER / "rehearsed")
        with account.opened(_FOLDER / "account", LOGS / "emulator.log") as opened:
            journey = Journey(opened, LOGS, expected, app, _weights(assembly))
            # With a planted fault, what is deployed is not this checkout.
            checked = [] if setting.plant else [journey.check]
            for step in (journey.deploy, *checked, journey.run, journey.tear_down, journey.destroy):
                setting.say(f"deploy: {step.__name__}")
                contracts.append(step())
    except StepFailed as error:
        contracts.append(Contract("deploy", len(contracts), account.version(), (str(error),)))
    return contracts


def templates(assembly: Path) -> Contract:
    """Check every resource of every template of a cloud assembly against the schemas that CloudFormation publishes.

    An emulator deploys a property that it does not know; CloudFormation refuses the stack.
    """
    problems, kinds = list[str](), list[str]()
    for path in sorted(assembly.glob("*.template.json")):
        text = path.read_text(encoding="utf-8")
        kinds += [resource["Type"] for resource in json.loads(text).get("Resources", {}).values()]
        problems += [
            f"{path.name}: {'.'.join(map(str, match.path))}: {match.message}"
            for match in lint(text, config=ManualArgs(regions=[account.REGION]))
            if match.rule.id.startswith("E")
        ]
    against = f"CloudFormation's resource schemas (cfn-lint {version('cfn-lint')})"
    return Contract("templates", len(kinds), against, tuple(problems), f"{len(set(kinds))} types of resources")


def _rehearsed(assembly: Assembly, folder: Path) -> Success:
    """Runs {} once in the rehearsed account with engines that finish immediately."""
    with Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=5000) as cloud:
        deployment = cloud.deploy(assembly)
        run = cloud.start({})
        cloud.settle(run, timeout=_PATIENCE_SECONDS)
        tear_downs = cloud.executions.of_machine(deployment.tear_down)
        for one in (run, *tear_downs):
            if one.status != "SUCCEEDED":
                raise StepFailed(f"the rehearsal has no success to compare with: {one}: {one.error}: {one.cause}")
        outer = {name for text in deployment.definitions.values() for name in json.loads(text)["States"]}
        entered = {name for one in tear_downs for name in one.states()}
        calls = calls_of(call for call in cloud.calls if call.service in PLAYED)
        return Success(outer.intersection(run.states()), outer & entered, calls)


def _weights(assembly: Assembly) -> str:
    """The S3 URI of the gated weights, which is one of the templates' substitutions."""
    resources = [resource for stack in assembly.stacks() for resource in stack.template["Resources"].values()]
    given = [resource.get("Properties", {}).get("DefinitionSubstitutions", {}) for resource in resources]
    return next(str(text) for values in given for text in values.values() if str(text).startswith("s3://jumpstart-"))
