"""The deploy command: the real CDK CLI on an account that is not ours, and the templates against published schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from verification.conformance.contract import Contract
from verification.conformance.deploy import templates
from verification.conformance.deploy.account import REGION, Account, AccountFailed
from verification.conformance.deploy.account import version as emulator_version
from verification.conformance.deploy.cdk import CommandFailed, Commands
from verification.conformance.deploy.expected import RehearsalFailed, way_of_a_success
from verification.conformance.deploy.journey import Journey, NeverCame, steps
from verification.conformance.environments import FOREIGN
from rehearsal.account.assembly import Assembly

LOGS = FOREIGN / "logs" / "conformance"
_FOLDER = FOREIGN / "conformance" / "deploy"
_GATED = "s3://jumpstart-"  # how the address of the gated weights begins


def run(assembly: Path, say: Callable[[str], None] = print, *, planted: bool = False) -> list[Contract]:
    """Check the templates, then deploy, run and destroy.

    Args:
        assembly: the folder of the synthesized project.
        say: told what is going on, a line at a time.
        planted: whether a fault was planted in the assembly: then it is deployed as it is, and not synthesized again.

    Raises:
        CannotRun: the emulator or Node cannot be installed here.
    """
    say("deploy: the templates against CloudFormation's schemas")
    contracts = [templates.check(assembly, REGION)]
    if not contracts[0].holds:  # CloudFormation would refuse them, an emulator would not
        return contracts
    say("deploy: a rehearsed run, to compare with")
    try:
        expected = way_of_a_success(Assembly(assembly), _FOLDER / "rehearsed")
        with Account(_FOLDER / "account", LOGS) as account:
            commands = Commands(account.environment(), LOGS)
            journey = Journey(account, commands, expected, assembly if planted else None, _weights(assembly))
            for step in steps(journey):
                say(f"deploy: {step.__name__}")
                contracts.append(step())
    except (AccountFailed, CommandFailed, NeverCame, RehearsalFailed) as error:
        contracts.append(Contract("deploy", len(contracts), emulator_version(), (str(error),)))
    return contracts


def _weights(assembly: Path) -> str:
    """The S3 URI of the gated weights in the templates' substitutions."""
    return next(value for value in _substitutions(assembly) if value.startswith(_GATED))


def _substitutions(assembly: Path) -> Iterator[str]:
    for path in sorted(assembly.glob("*.template.json")):
        for resource in json.loads(path.read_text(encoding="utf-8")).get("Resources", {}).values():
            values = resource.get("Properties", {}).get("DefinitionSubstitutions", {}).values()
            yield from (value for value in values if isinstance(value, str))
