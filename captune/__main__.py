"""captune COMMAND [options]: `captune --help` lists the commands, `captune COMMAND --help` the options of one command."""

import errno
import inspect
import io
import os
import re
import signal
import sys
import threading
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

HERE, RUN, ACCOUNT, MONEY = "On this machine", "Runs and their results", "Your AWS account", "Money"
DEV, CHECKS, GENERATED = "Maintainers", "Tests of captune itself", "Generated files"
# Name, group of the help, function, and purpose. A module is imported when its command runs or its help is asked.
COMMANDS = (
    ("rehearse", HERE, "captune.rehearse:command", "Run the whole workflow here with a small model and a simulated AWS account."),
    ("check", HERE, "captune.check.command:command", "Check FILE as a run would, or your AWS account if you give no FILE."),
    ("data", HERE, "captune.data:command", "Count the documents and prompts in data/."),
    ("sample", HERE, "captune.sample:command", "Draw whole documents from a file of any size."),
    ("external", HERE, "captune.external:command", "Fetch abstracts and reference pages as external test sets."),
    ("corpus", HERE, "captune.corpus:command", "Write a corpus of openly licensed text from SOURCE."),
    ("tokens", HERE, "rehearsal.token_counts:command", "Count the texts of data/ in tokens of Llama 2."),
    ("vllm", HERE, "rehearsal.sagemaker.vllm.environment:command", "Install vLLM, the real model server, built for a CPU (Linux)."),
    ("runs", RUN, "captune.runs:command", "List the runs on this machine and in your account with their results."),
    ("compare", RUN, "captune.compare:command", "Compare runs on the documents that all of them measured."),
    ("use", RUN, "captune.use:command", "Ask a run's base and fine-tuned model, in a browser or through an OpenAI-compatible API."),
    ("benchmark", RUN, "captune.benchmark:command", "Compare a run's base and fine-tuned model on tasks of lm-eval."),
    ("report", RUN, "captune.report:command", "Write a run's report again, judged by today's rule."),
    ("fetch", RUN, "captune.fetch:command", "Copy the report, answers and adapter of a run in your account to this machine."),
    ("export", RUN, "captune.export:command", "Write a run's adapter for PEFT, llama.cpp or Ollama."),
    ("run", ACCOUNT, "captune.executions:run_command", "Start a run in your account."),
    ("status", ACCOUNT, "captune.executions:status_command", "Show the state, elapsed time and cost so far of a run in your account."),
    ("logs", ACCOUNT, "captune.executions:logs_command", "Print the log events of a run's Lambdas and training job."),
    ("stop", ACCOUNT, "captune.serving:stop_command", "Stop a run and its endpoint now, and release the rest of its reservation."),
    ("serve", ACCOUNT, "captune.serving:serve_command", "Start an endpoint for an earlier run's adapter, within the cap."),
    ("extend", ACCOUNT, "captune.serving:extend_command", "Keep a run's endpoint for longer, if the cap allows it."),
    ("limits", ACCOUNT, "captune.limits:command", "Show which assumptions of docs/limits.md a run has confirmed."),
    ("copy-weights", ACCOUNT, "captune.copy_weights:command", "Copy the gated base model into your bucket, if SageMaker rejects it."),
    ("test-states", ACCOUNT, "verification.conformance.expressions.on_aws:command", "Evaluate every expression with Step Functions, for a cent at most."),
    ("destroy", ACCOUNT, "captune.destroy:command", "Check, ask once and prepare the removal by `make destroy`."),
    ("estimate", MONEY, "captune.estimate:command", "Estimate the time, cost and memory of a run."),
    ("costs", MONEY, "captune.costs:command", "Show the worst-case cost of each kind of run."),
    ("ledger", MONEY, "captune.ledger:command", "Show the reserved and actual cost of each run and month."),
    ("prove-cap", CHECKS, "verification.simulation.__main__:command", "Prove the cap against failures, random months and planted faults."),
    ("conformance", CHECKS, "verification.conformance.__main__:command", "Check every contract against the software that owns it."),
    ("mutate", CHECKS, "verification.mutations:command", "Change each line of the state machines, and list the changes that no test notices."),
    ("mutate-money", CHECKS, "verification.money_mutations:command", "Plant faults in the code that handles money, and list those that no test notices."),
    ("false-positives", CHECKS, "verification.experiments.null_statistics:command", "Estimate how often the statistics call a run without effect improved."),
    ("evidence", CHECKS, "verification.experiments.__main__:command", "Run the preregistered experiments and their negative controls."),
    ("bench", CHECKS, "verification.experiments.bench:command", "Compare the training recipe with the baseline recipe on this machine."),
    ("idle", CHECKS, "captune.destroy:idle_command", "Fail if anything of this project runs or is billed."),
    ("deployable", CHECKS, "captune.check.deployable:command", "Check for anything that would stop a deployment."),
    ("pages", GENERATED, "captune.documentation:command", "Update the generated tables and figures of the README and docs/."),
    ("picture", GENERATED, "verification.experiments.picture:command", "Take a picture of a report's first screen with headless Chromium."),
    ("prices", GENERATED, "captune.costs:prices_command", "Refresh the pinned prices from the AWS Price List."),
)  # fmt: skip
MOVED = {name: f"dev {name}" for name, group, *_ in COMMANDS if group in (CHECKS, GENERATED)}
MOVED |= {"outside": "external", "nulls": "dev false-positives", "readme": "dev pages"}
HANDS_ON = ("deployable",)  # commands that accept the options of another program
EXAMPLES = """\
**Examples**

`captune rehearse` trains, compares and reports in a few minutes on this machine

`captune rehearse --corpus mine.txt --words 0` does so with all of your own text

`captune check mine.txt` shows in a second why a run would reject your text

`captune use latest` asks both models of the newest run

`captune run --watch` starts a run in your account and follows it

`captune COMMAND -h` lists the options of a command. To deploy, run `make deploy`.
"""
_NO_ANSWER = (
    "Check that your AWS credentials are set (aws sts get-caller-identity; if you use AWS_PROFILE, aws configure list-profiles shows the names) "
    "and that the stacks are deployed in this region."
)
_NO_NETWORK = "Check that this machine reaches AWS: the network, the proxy (HTTPS_PROXY) and the region."
_NOT_DEPLOYED = "Deploy with make deploy, or name the region of your stacks: --region NAME"
_DENIED = (
    "Your AWS user or role lacks this permission: allow {action} for it. aws sts get-caller-identity shows who you are."
)
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
    """Loads and runs a command. Prints an expected error as one message: exit code 1, and no traceback."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command of these words; a command's options and code are loaded only now."""
        if (moved := MOVED.get(args[0])) and args[0] not in self.commands and not ctx.resilient_parsing:
            typer.echo(f"`captune {args[0]}` is now `captune {moved}`.", err=True)
            raise typer.Exit(2)
        name, command, rest = super().resolve_command(ctx, args)
        ctx.obj = rest  # the words as typed
        return name, command if isinstance(command, TyperGroup) else loaded(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was typed; the number that it returns is the exit code."""
        _leave_cleanly()
        # The Node of this environment: another one may be missing, or too old for the CDK, which then prints a page about it.
        os.environ.setdefault("JSII_NODE", str(Path(sys.executable).with_name("node")))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a character that the terminal cannot show must not end a command
        try:
            code = super().invoke(ctx) or 0
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if (told := _told(error)) is None:
                raise
            typer.echo(told, err=True)
            code = 1
        raise typer.Exit(code)


def _told(error: Exception) -> str | None:
    """The message for an expected error, with its fix; None for any other."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    from captune.account import NotDeployed, Refused
    from common.aws import error_code
    from common.errors import CaptuneError
    from rehearsal.programs import CannotRun, as_typed
    from stacks.configuration.settings import SettingsError

    match error:
        case ModuleNotFoundError():
            return f"This command needs {error.name}, which is not installed here: run make setup."
        case BrokenPipeError():
            return None  # Typer ends quietly when the reader of a pipe has left
        case Refused() | SettingsError() | CaptuneError() | CannotRun() | UnicodeDecodeError():
            return as_typed(str(error))
        case NotDeployed():
            return f"{type(error).__name__}: {error}. {_NOT_DEPLOYED}"
        case ClientError() | BotoCoreError():
            remedy = _NO_NETWORK if isinstance(error, ConnectionError | HTTPClientError) else _NO_ANSWER
            if isinstance(error, ClientError) and "AccessDenied" in error_code(error):
                named = re.search(r"perform: (\S+)", str(error))
                remedy = _DENIED.format(action=named[1] if named else error.operation_name)
            return f"{type(error).__name__}: {error}\n{remedy}"
        case OSError():  # some errors of botocore are of this kind too
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
            return f"{what}. {_REMEDIES.get(error.errno or 0, '')}".rstrip()
    return None


def _leave_cleanly() -> None:
    """Lets a command that is told to end leave its blocks, so that its folders and servers end with it."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda received, _: sys.exit(128 + received))


def loaded(name: str) -> Any:
    """A command with its options. Its help is its purpose, and the further paragraphs of its function's docstring."""
    target, purpose = next(row[2:] for row in COMMANDS if row[0] == name)
    module, _, function = target.partition(":")
    command = getattr(import_module(module), function)
    details = (inspect.getdoc(command) or "").partition("\n\n")[2]
    one = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    words = {"allow_extra_args": True, "ignore_unknown_options": True} if name in HANDS_ON else {}
    one.command(name, help=f"{purpose}\n\n{details}", context_settings=words)(command)
    return typer.main.get_command(one)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"captune {version('captune')}")
        raise typer.Exit


_STYLE: Any = {"cls": Commands, "no_args_is_help": True, "rich_markup_mode": "markdown", "pretty_exceptions_enable": False}  # fmt: skip
app = typer.Typer(**_STYLE, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
dev = typer.Typer(**_STYLE, help="Test captune itself, and update its generated files.")


@app.callback()
def _captune(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fine-tune an open-weight model on AWS under a monthly cap, and rehearse the whole workflow on this machine."""


def _listed() -> None:
    """Stands for a command in the list of commands."""


for _name, _group, _, _purpose in COMMANDS:
    (dev if _name in MOVED else app).command(_name, help=_purpose, rich_help_panel=_group)(_listed)
app.add_typer(dev, name="dev", rich_help_panel=DEV)


if __name__ == "__main__":
    app(prog_name="captune")
