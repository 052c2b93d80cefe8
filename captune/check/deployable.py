"""`captune dev deployable`: what `make deploy` asks first, so that it stops at once with a fix and not minutes later without one."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from captune import account
from captune.check.command import PROBLEMS, ask
from captune.check.findings import Level
from captune.check.questions import before_deployment
from captune.flags import Settings

_FIXED_BY_DEPLOYING = "make deploy"


def command(
    given: Settings = None,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Use this AWS profile.", show_default=False)] = "",
) -> int:
    """Prints what it finds, and returns the exit code: 0 if nothing stands in the way of a deployment.

    `make deploy` runs it with the options of `cdk deploy`; it reads these and ignores the others.
    """
    if profile:
        os.environ["AWS_PROFILE"] = profile
    chosen = account.given_settings(given, None)
    console = Console(highlight=False, soft_wrap=True)
    found = ask(console, account.settings(chosen), chosen, before_deployment)
    stops = [one.subject for one in found if one.level == Level.PROBLEM and not one.fix.startswith(_FIXED_BY_DEPLOYING)]
    if stops:
        print(
            f"Nothing was deployed. Fix {', '.join(stops)}; or deploy all the same: make deploy CHECK=no",
            file=sys.stderr,
        )
    return PROBLEMS if stops else 0
