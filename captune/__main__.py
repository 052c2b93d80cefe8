"""captune COMMAND [options]: `captune --help` lists the commands, `captune COMMAND --help` the options of one."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from typer.core import TyperGroup

from captune import (
    compare,
    copy_weights,
    corpus,
    costs,
    data,
    destroy,
    estimate,
    export,
    external,
    fetch,
    ledger,
    limits,
    runs,
    sample,
    serving,
)
from captune.account import NotDeployed, Refused
from captune.check import command as check
from common.errors import CaptuneError
from rehearsal.programs import CannotRun, as_typed
from stacks.configuration.settings import SettingsError

HERE, AFTER = "Your text, and a rehearsal on this machine", "After a run, rehearsed or in your account"
ACCOUNT, MONEY, PROOF = "Your AWS account", "Money", "Proof"
OWN: tuple[tuple[str, str, Callable[..., None], str], ...] = (
    ("data", HERE, data.command, "Count the texts and prompts in data/."),
    ("sample", HERE, sample.command, "Draw whole documents from all over a file of any size."),
    ("external", HERE, external.command, "Fetch external test sets: abstracts and reference pages."),
    ("corpus", HERE, corpus.command, "Fetch openly licensed text to train on."),
    ("check", HERE, check.command, "Check your files as a run would; without a file, your account. Free."),
    ("fetch", AFTER, fetch.command, "Copy a run's report, answers and adapter into results/."),
    ("export", AFTER, export.command, "Write a run's adapter for PEFT or llama.cpp, or one merged model, also for Ollama."),
    ("runs", AFTER, runs.command, "List the runs on this machine and in your account with their results."),
    ("compare", AFTER, compare.command, "Compare runs on the documents that all of them measured."),
    ("serve", AFTER, serving.serve_command, "Start an endpoint for an earlier run's adapter, within the cap."),
    ("extend", AFTER, serving.extend_command, "Keep a run's endpoint for longer, if the cap allows it."),
    ("stop", AFTER, serving.stop_command, "Stop a run and its endpoint now; the rest of its reservation is released."),
    ("limits", ACCOUNT, limits.command, "Show which open questions of docs/limits.md a run has answered."),
    ("copy-weights", ACCOUNT, copy_weights.command, "Copy the gated base model into your bucket, if SageMaker rejects it."),
    ("idle", ACCOUNT, destroy.idle_command, "Refuse while anything of this project bills or runs."),
    ("destroy", ACCOUNT, destroy.command, "Check, ask once and prepare what make destroy then removes."),
    ("estimate", MONEY, estimate.command, "Estimate how long a run takes and what it costs."),
    ("costs", MONEY, costs.command, "Show what each kind of run may cost at most."),
    ("ledger", MONEY, ledger.command, "Show what is reserved and spent this month."),
    ("prices", MONEY, costs.prices_command, "Refresh the pinned prices from the AWS Price List."),
)  # fmt: skip
# Modules of other folders. Each reads its own options in main(arguments); it is imported only when its command runs.
ELSEWHERE = (
    ("rehearse", HERE, "captune.rehearse", "Run the whole path with a small Llama: train, compare, report, remove."),
    ("use", AFTER, "captune.use", "Ask a run's two models: OpenAI's API, and a page with both answers."),
    ("benchmark", AFTER, "captune.benchmark", "Ask both models the questions of lm-eval's tasks, and compare item by item."),
    ("report", AFTER, "captune.report", "Judge a finished run's figures again and rewrite its report."),
    ("deployable", ACCOUNT, "captune.check.deployable", "Check what would stop a deployment; make deploy does so first."),
    ("test-states", ACCOUNT, "verification.conformance.expressions.on_aws", "Let Step Functions evaluate every expression, for a cent at most."),
    ("vllm", HERE, "rehearsal.sagemaker.vllm.environment", "Install the real model server, built for a CPU (Linux)."),
    ("tokens", HERE, "rehearsal.token_counts", "Count the texts in tokens of Llama 2's own vocabulary."),
    ("prove-cap", PROOF, "verification.simulation.__main__", "Prove the cap against failures, random months and planted faults."),
    ("evidence", PROOF, "verification.experiments.__main__", "Run null experiments and seeds: can the verdict be believed?"),
    ("nulls", PROOF, "verification.experiments.null_statistics", "Estimate how often the statistics alone say improved."),
    ("bench", PROOF, "verification.experiments.bench", "Run the training recipe beside the usual one on this machine."),
    ("picture", PROOF, "verification.experiments.picture", "Render the first screen of a report, by headless Chromium."),
    ("readme", PROOF, "captune.documentation", "Put tables of the code and figures of results/ into the README and docs/."),
    ("mutate", PROOF, "verification.mutations", "Change each line of the state machines, and list the changes that no test notices."),
    ("mutate-money", PROOF, "verification.money_mutations", "Plant faults in the code that holds money, and list those that no test notices."),
    ("conformance", PROOF, "verification.conformance.__main__", "Check every contract against the software that owns it."),
)  # fmt: skip
EXAMPLES = """\
**Examples**

`captune rehearse` trains, compares and reports in some minutes, with nothing but this machine

`captune rehearse --corpus mine.txt --words 0` does so on all of a text of your own

`captune check mine.txt` shows in a second what a run would refuse

`captune use latest` asks both models of the run that was started last

`captune estimate --corpus mine.txt` estimates the run's time and cost

`captune check --region eu-west-1` shows what is missing in that region, for free

`captune ledger --json` prints the month's reservations and costs for a program

`captune COMMAND --help` lists the options of a command. Deploying is `make deploy`: it needs the CDK, and the licence and the e-mail address that you set in cdk.json.
"""
_NO_ANSWER = (
    "Check that your AWS credentials are set (aws sts get-caller-identity; where AWS_PROFILE is set, aws configure list-profiles shows its name) "
    "and that the stacks are deployed in this region."
)
_NO_NETWORK = "Check that this machine reaches AWS: the network, the proxy (HTTPS_PROXY) and the region."
_NO_ROOM = "Make room on that disk, then start the command again."
_NOT_YOURS = "Name a place where you may write, or change its permissions: ls -ld shows them."
_REMEDIES = {
    errno.ENOENT: "Correct the path.",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "Raise the limit on the size of a file: ulimit -f unlimited",
    errno.EACCES: _NOT_YOURS,
    errno.EROFS: _NOT_YOURS,
    errno.EPERM: _NOT_YOURS,
}


class Commands(TyperGroup):
    """Runs a command and prints an expected error as one message: exit code 1, and no traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was typed."""
        _leave_cleanly()
        # The Node of this environment: another one may be missing, or too old for the CDK, which then prints a page about it.
        os.environ.setdefault("JSII_NODE", str(Path(sys.executable).with_name("node")))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a character that the terminal cannot show must not end a command
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            missing = f"{error.name}, which is not installed here: run make setup."
            typer.echo(f"captune {ctx.invoked_subcommand} needs {missing}", err=True)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has left
        except (Refused, SettingsError, CaptuneError, CannotRun, UnicodeDecodeError) as refusal:
            typer.echo(as_typed(str(refusal)), err=True)
        except (ClientError, BotoCoreError, NotDeployed) as error:
            remedy = _NO_NETWORK if isinstance(error, ConnectionError | HTTPClientError) else _NO_ANSWER
            typer.echo(f"{type(error).__name__}: {error}\n{remedy}", err=True)
        except OSError as error:  # some errors of botocore are of this kind too
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
            typer.echo(f"{what}. {_REMEDIES.get(error.errno or 0, '')}".rstrip(), err=True)
        raise typer.Exit(1)


def _leave_cleanly() -> None:
    """Lets a command that is told to end leave its blocks, so that its folders and servers end with it."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda received, _: sys.exit(128 + received))


app = typer.Typer(
    cls=Commands,
    help="Fine-tune Llama 2 7B on AWS under a cap of $25, and rehearse all of it on this machine.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _add_elsewhere(name: str, group: str, module: str, purpose: str) -> None:
    words = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}

    @app.command(name, help=purpose, rich_help_panel=group, context_settings=words)
    def run(context: typer.Context) -> None:
        main = import_module(module).main
        prog = {"prog": f"captune {name}"} if "prog" in signature(main).parameters else {}
        raise typer.Exit(main(context.args, **prog))


for _panel in (HERE, AFTER, ACCOUNT, MONEY, PROOF):
    for _row in ELSEWHERE:
        if _row[1] == _panel:
            _add_elsewhere(*_row)
    for _name, _group, _function, _purpose in OWN:
        if _group == _panel:
            app.command(_name, help=_purpose, rich_help_panel=_group)(_function)


if __name__ == "__main__":
    app(prog_name="captune")
