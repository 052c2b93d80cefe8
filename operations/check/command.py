"""The command: python -m operations check."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from operations.check.account import NoCredentials, identify, sign_in
from operations.check.findings import Finding, Level, ok
from operations.check.run import Project, findings
from rehearsal.account.assembly import SynthesisFailed, synthesize
from stacks.configuration.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]
PROBLEMS, NOT_ASKED = 1, 2  # exit codes
_STYLES = {Level.OK: "green", Level.LATER: "dim", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--json", action="store_true", help="print a JSON list of the findings instead of lines")
    add_setting(parser)


def add_setting(parser: argparse.ArgumentParser) -> None:
    """The option that gives a setting."""
    parser.add_argument(
        "-c",
        "--context",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting instead of the one in cdk.json, as for cdk deploy; may be repeated",
    )


def main(region: str, context: list[str], as_json: bool) -> int:
    """Runs the check and prints it; answers 0 when there is no problem, 1 when there is one, 2 when AWS could not be asked."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        given = {"region": region, **settings_of(context)}
        settings = Settings.from_context({**json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"], **given})
        account = sign_in(settings.region)
        number, caller = identify(account.client("sts"))
        project = load(settings, given, number)
    except (SettingsError, SynthesisFailed) as error:
        print(error, file=sys.stderr)
        return PROBLEMS
    except NoCredentials as error:
        print(error, file=sys.stderr)
        return NOT_ASKED
    who = ok("credentials", f"account {number} in {settings.region}, as {caller}")
    found = [who]
    if not as_json:
        show(console, [who])
    for finding in findings(account, number, project):
        found.append(finding)
        if not as_json:
            show(console, [finding])
    counted = Counter(finding.level for finding in found)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        console.print(
            f"{counted[Level.PROBLEM]} problems, {counted[Level.WARNING]} warnings, {counted[Level.OK]} in order. Nothing was changed, and nothing of this is charged for."
        )
    return PROBLEMS if counted[Level.PROBLEM] else 0


def load(settings: Settings, given: dict[str, Any], account: str) -> Project:
    """What this checkout would deploy into the account. Raises SynthesisFailed."""
    with tempfile.TemporaryDirectory(prefix="captune-check-") as folder:
        assembly = synthesize(ROOT, Path(folder), given, account)
        manifest = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        stacks = {stack.name: stack.template for stack in assembly.stacks()}
    asked = [
        artifact["properties"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    ]
    return Project(
        settings,
        stacks,
        asked[0]["bootstrapStackVersionSsmParameter"],
        max(int(properties["requiresBootstrapStackVersion"]) for properties in asked),
    )


def show(console: Console, found: Iterable[Finding]) -> None:
    """Prints findings, each on one line, with its fix below it."""
    for finding in found:
        line = Text(f"{finding.level.value:<8}", style=_STYLES[finding.level])
        line.append(f" {finding.subject}: {finding.text}", style="" if finding.level != Level.LATER else "dim")
        if finding.fix:
            line.append(f"\n         {finding.fix}", style="dim")
        console.print(line)


def settings_of(context: list[str]) -> dict[str, str]:
    """What was given with -c. Raises SettingsError for what is no KEY=VALUE."""
    return dict(_pair(text) for text in context)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise SettingsError(f"write a setting as KEY=VALUE, not {text!r}")
    return key, value
