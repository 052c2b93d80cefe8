"""`captune check`: signs in, synthesizes what would be deployed, asks, and prints each finding."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError
from rich.console import Console
from rich.text import Text

from captune import account
from captune.account import PROJECT, Refused
from captune.check import files
from captune.check.findings import NO_ANSWER, Finding, Findings, Level, ok, one_line, order_of_fixing
from captune.check.questions import Clients, Project, findings
from captune.flags import AsJson, External, Region
from captune.flags import Settings as Given
from rehearsal.programs import as_typed
from stacks.assembly import SynthesisFailed, synthesize
from stacks.configuration.settings import Settings

PROBLEMS, NOT_ASKED = 1, 2  # exit codes
_STYLES = {Level.OK: "green", Level.LATER: "dim", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
# A question that AWS throttles is asked five times with growing pauses; one that hangs is given up after 20 s each time.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
_SIGN_IN = (
    "Sign in (aws sso login, aws configure, or AWS_PROFILE), then try aws sts get-caller-identity. "
    "Where AWS could not be reached, look at the network and the proxy."
)


def command(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Check this text or these records; ask no account.", show_default=False, readable=False)] = None,
    held_out: Annotated[Path | None, typer.Option("--held-out", metavar="FILE", help="Check this held-out text or records too.", readable=False)] = None,
    outside: External = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="Check these prompts too.", readable=False)] = None,
    columns: Annotated[str, typer.Option(metavar="JSON", help="Name the columns of the records, as in the execution input.")] = "{}",
    given: Given = None,
    as_json: AsJson = False,
    region: Region = None,
) -> None:  # fmt: skip
    """Prints each finding.

    **With a file**, `captune check mine.txt` reads it as a run would and prints every fault with its fix. It asks no account.

    **Without a file**, `captune check` signs in to your AWS account and checks everything that could stop a run: quotas, permissions,
    prices, images and the deployed stacks. It changes nothing, and it is free.

    Exit codes: 0 no problem was found; 1 a problem was found; 2 AWS could not be asked.
    """
    chosen = account.given_settings(given, region)
    settings = account.settings(chosen)
    if any((file, held_out, outside, prompts)):
        asked = files.Given(file, held_out, outside, prompts, files.named(columns))
        raise typer.Exit(files.print_faults(asked, settings, as_json))
    console = Console(highlight=False, soft_wrap=True, quiet=as_json)
    found = ask(console, settings, chosen, findings)
    counted = Counter(finding.level for finding in found)
    console.print(
        f"{counted[Level.PROBLEM]} problems, {counted[Level.WARNING]} warnings, {counted[Level.OK]} in order. Nothing was changed, and nothing of this is charged for."
    )
    if counted[Level.PROBLEM] > 1:
        console.print(order_of_fixing(found))
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    raise typer.Exit(PROBLEMS if counted[Level.PROBLEM] else 0)


def ask(
    console: Console, settings: Settings, given: dict[str, str], question: Callable[[Clients, str, Project], Findings]
) -> list[Finding]:
    """Signs in, synthesizes and asks; prints each finding as it comes. Ends the command where AWS could not be asked."""
    aws = clients(settings.region)
    number, caller = identify(aws)
    project = load(settings, {"region": settings.region, **given}, number)
    found, signed_in = [], ok("credentials", f"account {number} in {settings.region}, as {caller}")
    for finding in chain([signed_in], question(aws, number, project)):
        found.append(finding)
        show(console, finding)
    return found


def clients(region: str) -> Clients:
    """Makes the clients of the environment's credentials. They neither hang nor give up at once."""
    # Made with the first client: a profile that does not exist is an error of that question.
    session = cache(boto3.Session)

    def client(service: str, elsewhere: str | None = None) -> Any:
        return session().client(service, region_name=elsewhere or region, config=_PATIENT)

    return client


def identify(aws: Clients) -> tuple[str, str]:
    """The account's id and the ARN of who asks. Ends the command without valid credentials."""
    try:
        answer = aws("sts").get_caller_identity()
    except (ClientError, *NO_ANSWER) as error:
        # No key, an expired one, a region that the account has not enabled, or no way to AWS.
        print(f"No valid AWS credentials found: {one_line(str(error)).rstrip('.')}. {_SIGN_IN}", file=sys.stderr)
        raise typer.Exit(NOT_ASKED) from None
    return answer["Account"], answer["Arn"]


def load(settings: Settings, given: dict[str, str], account_id: str) -> Project:
    """What this checkout would deploy into the account. Raises Refused where it cannot be synthesized."""
    with tempfile.TemporaryDirectory(prefix="captune-check-") as folder:
        try:
            assembly = synthesize(PROJECT, Path(folder), given, account_id)
        except SynthesisFailed as error:
            raise Refused(str(error)) from error
        artifacts = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))["artifacts"].values()
        stacks = {stack.name: stack.template for stack in assembly.stacks()}
    needed = [one["properties"] for one in artifacts if one["type"] == "aws:cloudformation:stack"]
    version = max(int(properties["requiresBootstrapStackVersion"]) for properties in needed)
    return Project(settings, stacks, needed[0]["bootstrapStackVersionSsmParameter"], version)


def show(console: Console, finding: Finding) -> None:
    """Prints a finding on one line, with its fix below it."""
    line = Text(f"{finding.level.value:<8}", style=_STYLES[finding.level])
    line.append(f" {finding.subject}: {finding.text}", style="" if finding.level != Level.LATER else "dim")
    if finding.fix:
        line.append(f"\n         {as_typed(finding.fix)}", style="dim")
    console.print(line)
