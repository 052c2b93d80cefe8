"""`captune deployable`: what `make deploy` asks first, so that it stops at once with a fix and not minutes later without one.

It takes the words that `cdk deploy` takes, and reads the settings (-c) and the profile among them.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from captune import account
from captune.check.command import PROBLEMS, ask
from captune.check.findings import Level
from captune.check.questions import before_deployment

_FIXED_BY_DEPLOYING = "make deploy"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what it finds, and returns the exit code: 0 if nothing stands in the way of a deployment."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--context", action="append")
    parser.add_argument("--profile")
    given, _ = parser.parse_known_args(arguments)
    if given.profile:
        os.environ["AWS_PROFILE"] = given.profile
    chosen = account.given_settings(given.context, None)
    console = Console(highlight=False, soft_wrap=True)
    found = ask(console, account.settings(chosen), chosen, before_deployment)
    stops = [one.subject for one in found if one.level == Level.PROBLEM and not one.fix.startswith(_FIXED_BY_DEPLOYING)]
    if stops:
        print(
            f"Nothing was deployed. Fix {', '.join(stops)}; or deploy all the same: make deploy CHECK=no",
            file=sys.stderr,
        )
    return PROBLEMS if stops else 0
