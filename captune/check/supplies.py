"""What only your own permissions show of an account before a run: its plan, newer images, and today's prices."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Any

from captune import account
from captune.check.findings import BUDGETS, Findings, ok, problem, warning
from common.aws import unless
from common.clock import date_in_words
from common.errors import PriceUnknown
from preflight import money
from preflight.account import images

# What cdk deploy wrote in a fresh environment: 213 MB of the CDK's library for Node, 121 of templates and assets.
NEEDED_BYTES = 400_000_000
_TRY = "use a newer version of this project, or try make conformance ARGS=training-image with its library versions, then change stacks/configuration/images.py"


def room(
    folders: Iterable[Path], free_bytes: Callable[[Path], int] = lambda folder: disk_usage(folder).free
) -> Findings:
    """Whether what the CDK writes for a deployment fits the disk; AWS CloudShell's home keeps 1 GB."""
    short = {str(folder): free for folder in folders if (free := free_bytes(folder)) < NEEDED_BYTES}
    for folder, free in short.items():
        text = f"{free / 1e6:.0f} MB are free in {folder}, and a deployment writes some {NEEDED_BYTES / 1e6:.0f}"
        yield problem("room", text, "make room; in AWS CloudShell use make check and make deploy, which write to /tmp")
    if not short:
        yield ok("room", f"there is more than {NEEDED_BYTES / 1e6:.0f} MB")


def written_to() -> list[Path]:
    """Where the CDK writes: this project, or what make chose in CloudShell, and the cache of its library, mostly in the home."""
    cache = os.environ.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT")
    folders = [Path(cache).parent] if cache else [account.PROJECT, Path.home()]
    return [folder for folder in folders if folder.is_dir()]


def newer_images(ecr_in: Callable[[str], Any], successors: Sequence[str]) -> Findings:
    """Whether the registry has an image that follows the training image, which the SDK does not list."""
    # Neither missing nor unanswered.
    there = [address.rpartition("/")[2] for address in successors if images.problem(ecr_in, address) == ("", "")]
    for one in there:
        yield warning("newer images", f"the registry has {one}, a successor of the training image", _TRY)
    if not there:
        yield ok("newer images", "the training image has no successor yet")


def plan(freetier: Any) -> Findings:
    """Whether the account has the paid plan: on the free one, which new accounts may have, AWS closes it with its credits."""
    subject = "account plan"
    found = unless("ResourceNotFoundException", freetier.get_account_plan_state)
    if not found:
        yield ok(subject, "AWS keeps none for this account, so it is not the free one")
        return
    credits, ends = found.get("accountPlanRemainingCredits"), found.get("accountPlanExpirationDate")
    left = f", with ${credits['amount']:.2f} of credits left" if credits else ""
    if found["accountPlanType"] == "PAID":
        yield ok(subject, f"is the paid one{left}")
        return
    until = f" or on {date_in_words(ends)}" if ends else ""
    text = f"is the free one{left}: AWS closes the account when they are used up{until}, and a running endpoint with it"
    yield warning(subject, text, "upgrade it first: Billing and Cost Management in the console, then Upgrade plan")


def budgets(client: Any, account_id: str) -> Findings:
    """Whether AWS Budgets answers in this account."""
    client.describe_budgets(AccountId=account_id, MaxResults=1)
    yield ok(BUDGETS, "answers in this account")


def price(pricing: Any, region: str, types: Sequence[str], use: str) -> Findings:
    """What a run reserves for an hour of each type, as Preflight finds it. `use` is `Training` or `Hosting`."""
    subject = f"price of {use.lower()}"
    for kind in types:
        try:
            found = money.find_price(pricing, region, kind, use)
        except PriceUnknown as error:
            yield problem(subject, str(error), PriceUnknown.advice)
        else:
            yield ok(subject, f"{kind} costs ${found.hourly_usd.normalize():f}/h ({found.source})")
