"""The options of `captune rehearse`."""

import json
import os
import platform
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from common.errors import DatasetRejected, InvalidInput
from common.pricing.durations import LONGEST_KEEP_SECONDS
from common.settings import check_of, whole
from preflight import request
from rehearsal import user_files
from rehearsal.models import DEFAULT, STAND_INS
from rehearsal.programs import CannotRun
from stacks.configuration.settings import Settings

from . import resuming

# From wherever it is called, it is this checkout that is rehearsed; the results go to your current folder.
PROJECT = Path(__file__).resolve().parents[2]
# The rehearsal's own defaults, on top of cdk.json. No Llama weights are used, so this accepts no licence. A part of corpus and held-out
# text, only greedy answers, some of the prompts and a part of the external test set (see `files`) keep it within five minutes on two cores that
# train 175 tokens a second.
DEFAULT_WORDS = 8_000
DEFAULT_SETTINGS: dict[str, str] = {
    "accept_eula": "true",
    "epochs": "1",
    "samples_per_prompt": "0",
    "corpus_words": str(DEFAULT_WORDS),
}
_TEXT_OF_DOMAIN = "dataset.txt"  # how its file in data/ ends


@dataclass(frozen=True)
class Options:
    """The options of one rehearsal."""

    project: Path = PROJECT
    results: Path = Path("results")
    name: str | None = None  # of the folder in results; the run's name when None
    corpus: Path | None = None
    held_out: Path | None = None
    outside: Path | None = None
    prompts: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)  # on top of DEFAULT_SETTINGS
    input: dict[str, Any] = field(default_factory=dict)
    quick: bool = False
    budget_left_cents: int | None = None
    plain: bool = False
    no_capacity: Sequence[str] = ()  # instance types of which AWS has none free
    interruptions: Sequence[int] = ()  # steps at which the job, which is then on spot, loses its instance
    server: str = "transformers"  # or "vllm": what plays the endpoint's container
    model: str = DEFAULT  # of STAND_INS: what is trained and served instead of the real one
    arguments: Sequence[str] = ()  # as typed
    resumed: Path | None = None  # the folder of checkpoints of an earlier rehearsal with the same options

    def context(self, quick: Mapping[str, str] | None = None) -> dict[str, str]:
        """The context values for the synthesis: yours, over those of a quick rehearsal, over the defaults here."""
        return {**DEFAULT_SETTINGS, **(quick or {}), **self.settings}


def refuse_what_needs_linux(training_instance_count: int) -> None:
    """Raise CannotRun for several training processes on another system: they are launched with a call to Linux's kernel."""
    if training_instance_count > 1 and platform.system() != "Linux":
        raise CannotRun(
            f"training_instance_count={training_instance_count} trains with as many processes, which a rehearsal can do on Linux only. "
            "Rehearse here with --set training_instance_count=1; a run on AWS is not concerned."
        )


TEXT, RUN, SHOWN = "Your text", "The run", "Output"  # groups of the help
INPUT = "Add these keys to the execution input: a JSON object, a file with one, or - for standard input."
SETTING_FLAGS, SETTING = (
    ("--set", "-c", "--context"),
    "Use this value of a setting instead of the one in cdk.json; may be repeated.",
)
WORDS = (
    f"Train on about N words, in whole documents from all of the text; 0 for all of it (default: {DEFAULT_WORDS:,}, and of the project's own "
    "texts only a part of the prompts and of the external test set)."
)
INTERRUPT = (
    "Train on spot, and interrupt the instance at this step; may be repeated. Training continues from the last checkpoint: "
    "--set checkpoint_minutes=1 writes more of them."
)
MODEL = (
    f"Train this proxy model: {', '.join(STAND_INS)} (default: {DEFAULT}). gemma-3-270m is downloaded under Google's Gemma Terms of Use; "
    "llama-2-7b-shape has random weights, and takes 18 GB of memory, 15 GB of disk and half an hour."
)
_KEPT = whole(0, LONGEST_KEEP_SECONDS // 60, "minutes")


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """Reads an option that accepts these names only."""

    def read(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}.")
        return text

    return read


def _folder_name(text: str) -> str:
    if text in ("", ".", "..") or Path(text).name != text:
        raise typer.BadParameter(f"{text!r} is no name of one folder; --results says where it goes")
    return text


def _file(text: str) -> Path:
    path = Path(text).expanduser()  # which zsh does not do behind CORPUS=
    try:
        user_files.checked_size(path)
    except DatasetRejected as fault:
        raise typer.BadParameter(str(fault)) from None
    return path


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return key, value


def checked(read: Callable[[object], Any]) -> Callable[[str], Any]:
    """Reads an option by the check of a setting."""

    def value(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return value


def json_object(text: str) -> dict[str, Any]:
    """Reads an option that is a JSON object, a file with one, or - for standard input."""
    try:
        content = text
        if text == "-":
            content = sys.stdin.read()
        elif os.path.isfile(text):
            content = Path(text).read_text("utf-8")
        found = json.loads(content)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{text} is not a file or JSON object: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter("the input must be a JSON object, for example {}")
    return found


def _cents(text: str) -> int:
    try:
        dollars = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an amount in dollars") from error
    if not 0 <= dollars <= 1000:
        raise typer.BadParameter("write an amount from 0 to 1000 dollars")
    return round(dollars * 100)


def _option(group: str, metavar: str, told: str, read: Callable[[str], Any] | None = None, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel=group, metavar=metavar, parser=read, help=told, show_default=False)


def _setting_of_run(name: str) -> Callable[[str], Any]:
    return checked(check_of(Settings, name).read)


def parse(arguments: Sequence[str]) -> Options:
    """Reads a command line. Raises BadParameter, which says what is wrong."""
    app = typer.Typer(add_completion=False)
    app.command()(read)
    command = typer.main.get_command(app)
    options: Options = command.main(list(arguments), prog_name="captune rehearse", standalone_mode=False, obj=list(arguments))  # fmt: skip
    return options


def read(
    context: typer.Context,
    corpus: Annotated[Path | None, _option(TEXT, "FILE", "Train on this text or these records (JSON Lines, JSON, CSV, TSV, Parquet).", _file)] = None,
    held_out: Annotated[Path | None, _option(TEXT, "FILE", "Measure on this text (default: a part of the corpus is held out).", _file)] = None,
    outside: Annotated[Path | None, _option(TEXT, "FILE", "Measure on this external test set too (default: the one that `captune external` fetched).", _file)] = None,
    prompts: Annotated[Path | None, _option(TEXT, "FILE", "Ask these prompts (JSON Lines).", _file)] = None,
    domain: Annotated[str | None, _option(TEXT, "NAME", "Use this domain of data/ (default: medical).")] = None,
    words: Annotated[int | None, _option(TEXT, "N", WORDS, _setting_of_run("corpus_words"))] = None,
    epochs: Annotated[int | None, _option(RUN, "N", "Train for N epochs (default: 1).", _setting_of_run("epochs"))] = None,
    seed: Annotated[int | None, _option(RUN, "N", "Seed training and sampling with N (default: 42).", _setting_of_run("seed"))] = None,
    resume: Annotated[bool, typer.Option("--resume", rich_help_panel=RUN, help="Continue the last interrupted rehearsal, with its options.")] = False,
    keep_endpoint_minutes: Annotated[int | None, _option(RUN, "N", "Keep the endpoint for N minutes of simulated time after the report.", checked(_KEPT.read))] = None,
    budget_left: Annotated[int | None, _option(RUN, "DOLLARS", "Pretend that only this much of the monthly cap is left.", _cents)] = None,
    no_capacity: Annotated[list[Any] | None, _option(RUN, "TYPE", "Pretend that AWS has no free instance of this type; may be repeated.", _setting_of_run("hosting_instance_type"))] = None,
    interrupt_at: Annotated[list[int] | None, _option(RUN, "STEP", INTERRUPT, checked(whole(1, 10**6, "steps").read))] = None,
    run_input: Annotated[dict[str, Any] | None, _option(RUN, "JSON|FILE", INPUT, json_object, "--input")] = None,
    settings: Annotated[list[Any] | None, _option(RUN, "NAME=VALUE", SETTING, _setting, *SETTING_FLAGS)] = None,
    quick: Annotated[bool, typer.Option("--quick", rich_help_panel=RUN, help="Use a slice of the text and a few prompts: about a minute.")] = False,
    model: Annotated[str, _option(RUN, "NAME", MODEL, one_of(STAND_INS))] = DEFAULT,
    server: Annotated[Literal["transformers", "vllm"], typer.Option(rich_help_panel=RUN, help="Answer with this server; `captune vllm` installs vLLM.")] = "transformers",
    results: Annotated[Path, typer.Option(rich_help_panel=SHOWN, metavar="FOLDER", help="Write the report to a folder in this one.")] = Path("results"),
    name: Annotated[str | None, _option(SHOWN, "NAME", "Call the report's folder NAME (default: the run's name); an earlier one is moved aside.", _folder_name, "--as")] = None,
    plain: Annotated[bool, typer.Option("--plain", rich_help_panel=SHOWN, help="Print plain lines instead of a live display.")] = False,
) -> Options:  # fmt: skip
    """Reads the options of a rehearsal.

    It uses the synthesized stacks, state machines, Lambda code and training script of a run on AWS. At the end you get the report
    and a proof that nothing billable is left.

    Exit codes: 0 the run and its teardown succeeded; 1 the run failed or was rejected, and its error and the fix are printed; 2 an
    option or setting is wrong; 130 you stopped it with Ctrl-C.
    """
    arguments: list[str] = list(context.obj)
    if resume:
        return _resumed(arguments)
    if held_out and not corpus:
        raise typer.BadParameter("--held-out belongs to a corpus of your own: give --corpus too")
    chosen, given = dict(settings or []), dict(run_input or {})
    if words is not None:
        chosen.setdefault("corpus_words", str(words))
    if domain:
        chosen["domain"] = domain
    texts = (PROJECT / "data").glob(f"*{_TEXT_OF_DOMAIN}")
    known = sorted(file.name.removesuffix(_TEXT_OF_DOMAIN) for file in texts)
    if not corpus and (named := chosen.get("domain")) and named not in known:
        raise typer.BadParameter(
            f"data/ has no text of the domain {named}. Choose {' or '.join(known)}, or give a text of your own: --corpus FILE"
        )
    for key, value in (("epochs", epochs), ("seed", seed), ("keepEndpointMinutes", keep_endpoint_minutes)):
        given |= {} if value is None else {key: value}
    given |= {"spot": True} if interrupt_at else {}
    # Of one kind, whatever they are: what is in the files is checked later.
    stored = {key: "corpora/mine.jsonl" for key, file in (("corpus", corpus), ("heldOut", held_out)) if file}
    try:
        request.parse({**given, **stored})
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None
    return Options(
        results=results, name=name, corpus=corpus, held_out=held_out, outside=outside, prompts=prompts, settings=chosen, input=given,
        quick=quick, budget_left_cents=budget_left, plain=plain, no_capacity=[kind for kinds in no_capacity or [] for kind in kinds],
        interruptions=interrupt_at or [], server=server, model=model, arguments=arguments,
    )  # fmt: skip


def _resumed(arguments: list[str]) -> Options:
    if len(arguments) > 1:
        raise typer.BadParameter("--resume repeats the options of the interrupted rehearsal: leave out the others")
    if (folder := resuming.newest(PROJECT)) is None:
        raise typer.BadParameter(
            "no rehearsal was interrupted after a checkpoint. The first is written after 10 minutes of training; --set checkpoint_minutes=1 "
            "writes one each minute"
        )
    try:
        return replace(parse(resuming.arguments_of(folder)), resumed=folder)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"the interrupted rehearsal in {folder} cannot be read ({error}): start a new one"
        ) from None
