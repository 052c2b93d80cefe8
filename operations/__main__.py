"""python -m operations check | ledger | prices | release | idle | destroy | empty | data | costs | estimate | outside   (make has a target for each; make destroy runs destroy and empty)"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import CaptuneError
from operations import alarm, costs, destruction, estimate, idle, ledger_listing, price_list
from operations.check import command
from operations.data import losses as text_losses
from operations.data import outside, texts
from stacks.configuration.settings import Settings, SettingsError

SETTINGS_FILE = Path(__file__).resolve().parent.parent / "cdk.json"


def main(arguments: list[str] | None = None, prog: str = "python -m operations") -> int:
    """Runs one command; answers the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    context = json.loads(SETTINGS_FILE.read_text("utf-8"))["context"]
    parser.add_argument("--region", default=context["region"], help="default: the region in cdk.json")
    # Before the command or behind it; there it has no default, which would hide the one before.
    of_aws = argparse.ArgumentParser(add_help=False)
    of_aws.add_argument("--region", default=argparse.SUPPRESS, help="default: the region in cdk.json")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", parents=[of_aws], help="ask AWS everything that it answers for free: one line each, with its fix"
    )
    command.add_arguments(check)
    ledger = commands.add_parser(
        "ledger", parents=[of_aws], help="print what is reserved and spent, by month and by run"
    )
    ledger.add_argument("--json", action="store_true", help="print JSON instead of a table")
    prices = commands.add_parser(
        "prices", parents=[of_aws], help="refresh the pinned price table from the AWS Price List"
    )
    prices.add_argument(
        "--instance-type", action="append", help="an instance type to add to the table; may be repeated"
    )
    prices.add_argument("--price-region", action="append", help="a region to add to the table; may be repeated")
    commands.add_parser(
        "release",
        parents=[of_aws],
        help="reverse and reset what the budget alarm did, so that runs or cdk destroy work again",
    )
    commands.add_parser(
        "idle", parents=[of_aws], help="refuse with exit code 1 while anything of this project bills or runs"
    )
    destroy = commands.add_parser(
        "destroy",
        parents=[of_aws],
        help="check, ask once, and let the stacks be destroyed; cdk destroy comes after it, in make destroy",
    )
    destroy.add_argument("--data", action="store_true", help="the bucket and the ledger are to go too")
    destroy.add_argument("--yes", action="store_true", help="do not ask")
    emptying = commands.add_parser(
        "empty",
        parents=[of_aws],
        help="ask once and delete everything in the buckets, unless they were deployed with retain_data",
    )
    emptying.add_argument("--yes", action="store_true", help="do not ask")
    data = commands.add_parser("data", help="count the texts and prompts of data/; needs no account")
    data.add_argument("--loss", action="store_true", help="the stand-in's loss by register instead")
    data.add_argument(
        "--words", type=int, default=text_losses.DEFAULT_WORDS, help="of each register for --loss; 0 for all of it"
    )
    data.add_argument("--others", type=Path, metavar="FILE", help="a text by others whose loss is shown beside it")
    public = commands.add_parser("outside", help="fetch a public set of abstracts to measure on; needs no account")
    public.add_argument("--from-file", type=Path, metavar="FILE", help="the file, downloaded by hand")
    commands.add_parser("costs", help="what each kind of run may cost at most; needs no account")
    expected = commands.add_parser(
        "estimate", help="what a run with these settings is expected to take and to cost; needs no account"
    )
    expected.add_argument(
        "--corpus",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="the texts to train on (default: the domain's own)",
    )
    expected.add_argument(
        "--seeds",
        type=int,
        choices=range(1, 6),
        default=1,
        metavar="N",
        help="with how many seeds it trains (default: 1)",
    )
    command.add_setting(expected)
    chosen = parser.parse_args(arguments)
    if chosen.command == "estimate":
        return _estimated(context | {"region": chosen.region}, chosen.context, chosen.corpus, chosen.seeds)
    if chosen.command in ("data", "costs"):
        try:
            for lines in _counted(chosen) if chosen.command == "data" else [costs.table()]:
                print(lines, flush=True)
        except (OSError, UnicodeDecodeError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    if chosen.command == "outside":
        return _fetched(chosen.from_file)
    if chosen.command == "check":
        return command.main(chosen.region, chosen.context, chosen.json)
    try:
        session = boto3.Session(region_name=chosen.region)
        if chosen.command == "ledger":
            print(ledger_listing.show(session, Settings.from_context(context).cap_cents, as_json=chosen.json))
        elif chosen.command == "prices":
            print(price_list.refresh(session, chosen.instance_type or [], chosen.price_region or []))
        elif chosen.command == "idle":
            print(idle.check(session))
        elif chosen.command == "destroy":
            print(destruction.prepare(session, input, data=chosen.data, agreed=chosen.yes))
        elif chosen.command == "empty":
            print(destruction.empty(session, input, agreed=chosen.yes))
        else:
            print(alarm.release(session))
    except (idle.NotIdle, destruction.NotWanted, SettingsError, CaptuneError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError, LookupError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        print(
            "Check that your AWS credentials are set (aws sts get-caller-identity; where AWS_PROFILE is set, aws configure list-profiles shows its name) "
            "and that the stacks are deployed in this region.",
            file=sys.stderr,
        )
        return 1
    return 0


def _estimated(context: dict[str, object], given: list[str], corpora: list[Path], seeds: int) -> int:
    """Prints the estimate; answers the exit code."""
    try:
        print(estimate.of(Settings.from_context(context | command.settings_of(given)), corpora, seeds))
    except (SettingsError, CaptuneError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _fetched(source: Path | None) -> int:
    """Fetches the outside text; answers the exit code."""
    try:
        print(outside.fetch(source))
    except outside.OutsideUnavailable as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _counted(chosen: argparse.Namespace) -> Iterable[str]:
    return [text_losses.table(words=chosen.words, others=chosen.others)] if chosen.loss else texts.count()


if __name__ == "__main__":
    sys.exit(main())
