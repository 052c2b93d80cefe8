"""The options of `captune rehearse`."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DatasetRejected, InvalidInput
from common.pricing.durations import LONGEST_KEEP_SECONDS
from common.settings import check_of, whole
from preflight import request
from rehearsal import user_files
from rehearsal.models import DEFAULT, STAND_INS
from rehearsal.programs import CannotRun
from stacks.configuration.settings import Settings

from . import resuming

# From wherever it is called, it is this checkout that is rehearsed; the results go where the person stands.
PROJECT = Path(__file__).resolve().parents[2]
DESCRIPTION = """\
Rehearse the whole path on this machine, without an AWS account: the synthesized stacks, the same state machines, the
same Lambda code and the same training script, against a Llama of 135 million parameters. Ends with a before/after
report in the results folder and the proof that nothing is left that would bill.
"""
EXIT_CODES = """\
exit codes: 0 the run and its tear-down succeeded and nothing is left; 1 the run failed or was refused (its error and
what to do are printed); 2 the options or settings are wrong; 130 stopped with Ctrl-C.
"""
# The rehearsal's own defaults, on top of cdk.json. No Llama weights are used, so this accepts no licence. A part of corpus and held-out
# text, greedy answers alone, some of the prompts and a part of text by others (see `files`) keep it within five minutes on two cores that
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
    model: str = DEFAULT  # of STAND_INS: what is trained and served in place of the real one
    arguments: Sequence[str] = ()  # as typed
    resumed: Path | None = None  # the folder of checkpoints of an earlier rehearsal with the same options

    def context(self, quick: Mapping[str, str] | None = None) -> dict[str, str]:
        """The context values for the synthesis: a person's, over those of a quick rehearsal, over the defaults here."""
        return {**DEFAULT_SETTINGS, **(quick or {}), **self.settings}


def refuse_what_needs_linux(training_instance_count: int) -> None:
    """Raise CannotRun for several training processes on another system: they are launched with a call to Linux's kernel."""
    if training_instance_count > 1 and platform.system() != "Linux":
        raise CannotRun(
            f"training_instance_count={training_instance_count} trains with as many processes, which a rehearsal can do on Linux only. "
            "Rehearse here with --set training_instance_count=1; a run on AWS is not concerned."
        )


def _folder_name(text: str) -> str:
    if text in ("", ".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of one folder; --results says where it goes")
    return text


def _file(text: str) -> Path:
    path = Path(text).expanduser()  # which zsh does not do behind CORPUS=
    try:
        user_files.checked_size(path)
    except DatasetRejected as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
    return path


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key, value


def _checked(read: Callable[[object], Any]) -> Callable[[str], Any]:
    """Reads an option by the check of a setting."""

    def value(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("the input must be a JSON object, for example {}")
    return value


def _cents(text: str) -> int:
    try:
        dollars = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in dollars") from error
    if not 0 <= dollars <= 1000:
        raise argparse.ArgumentTypeError("an amount from 0 to 1000 dollars")
    return round(dollars * 100)


def parse(arguments: list[str] | None = None, prog: str = "captune rehearse") -> Options:
    """Read the command line; leaves with code 2 and a message when it is wrong."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for group in (_add_text, _add_run, _add_output):
        group(parser)
    arguments = sys.argv[1:] if arguments is None else arguments
    given, resumed = parser.parse_args(arguments), None
    if given.resume:
        if len(arguments) > 1:
            parser.error("--resume repeats the options of the rehearsal that was stopped: leave out the others")
        if (resumed := resuming.newest(PROJECT)) is None:
            parser.error(
                "no rehearsal was stopped after a checkpoint. The first is written after 10 minutes of training; --set checkpoint_minutes=1 "
                "writes one each minute"
            )
        try:
            given = parser.parse_args(arguments := resuming.arguments_of(resumed))
        except (OSError, ValueError) as error:
            parser.error(f"what the stopped rehearsal left in {resumed} cannot be read ({error}): start a new one")
    if given.held_out and not given.corpus:
        parser.error("--heldout belongs to a corpus of your own: give --corpus too")
    values = vars(given)
    settings, run_input = dict(values.pop("settings")), dict(values.pop("input"))
    words, domain, _ = values.pop("words"), values.pop("domain"), values.pop("resume")
    if words is not None:
        settings.setdefault("corpus_words", str(words))
    if domain:
        settings["domain"] = domain
    texts = (PROJECT / "data").glob(f"*{_TEXT_OF_DOMAIN}")
    known = sorted(file.name.removesuffix(_TEXT_OF_DOMAIN) for file in texts)
    if not given.corpus and (named := settings.get("domain")) and named not in known:
        parser.error(
            f"data/ has no text of the domain {named}. Choose {' or '.join(known)}, or give a text of your own: --corpus FILE"
        )
    for name, key in (("epochs", "epochs"), ("seed", "seed"), ("keep_endpoint_minutes", "keepEndpointMinutes")):
        if (value := values.pop(name)) is not None:
            run_input[key] = value
    if given.interruptions:
        run_input["spot"] = True
    # Of one kind, whatever they are: what is in the files is checked later.
    stored = {
        key: "corpora/mine.jsonl" for key, file in (("corpus", given.corpus), ("heldOut", given.held_out)) if file
    }
    try:
        request.parse({**run_input, **stored})
    except InvalidInput as error:
        parser.error(str(error))
    return Options(settings=settings, input=run_input, arguments=arguments, resumed=resumed, **values)


def _add_text(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the text").add_argument
    own = (
        "train on this UTF-8 text, or these records (JSON Lines, JSON, CSV, TSV, Parquet), instead of the domain's own"
    )
    add("--corpus", type=_file, metavar="FILE", help=own)
    held_out = "measure on this text; else a part of the corpus is kept apart"
    add("--heldout", "--held-out", dest="held_out", type=_file, metavar="FILE", help=held_out)
    outside = "measure on this text of the field by others, too (JSON Lines or titled text; default: what `captune external` fetched)"
    add("--outside", type=_file, metavar="FILE", help=outside)
    add("--prompts", type=_file, metavar="FILE", help="ask these prompts (JSON Lines)")
    add("--domain", help="one of the domains in data/ (default: medical)")
    words = (
        f"train on about N words of the text, whole documents from all over it; 0 for all of it (default: {DEFAULT_WORDS}, "
        "and of the project's own text only some prompts are asked, and a part of --outside is measured)"
    )
    add("--words", type=_checked(check_of(Settings, "corpus_words").read), metavar="N", help=words)


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the run").add_argument
    add(
        "--epochs",
        type=_checked(check_of(Settings, "epochs").read),
        metavar="N",
        help="passes over the corpus (default here: 1)",
    )
    add(
        "--seed",
        type=_checked(check_of(Settings, "seed").read),
        metavar="N",
        help="seed of training and sampling (default: 42)",
    )
    resume = "go on from the last checkpoint of a rehearsal that was stopped or killed, with its options"
    add("--resume", action="store_true", help=resume)
    keep = "keep the endpoint after the report; its clock is moved on"
    add(
        "--keep-endpoint-minutes",
        type=_checked(whole(0, LONGEST_KEEP_SECONDS // 60, "minutes").read),
        metavar="N",
        help=keep,
    )
    left = "pretend that only this much of the month's cap is left for runs"
    add("--budget-left", dest="budget_left_cents", type=_cents, metavar="DOLLARS", help=left)
    capacity = "pretend that AWS has no free instance of this type, such as ml.g5.2xlarge; may be repeated"
    add(
        "--no-capacity",
        type=_checked(check_of(Settings, "hosting_instance_type").read),
        metavar="TYPE",
        action="extend",
        default=[],
        help=capacity,
    )
    interrupt = (
        "train on spot, and take the instance away without notice at this step; may be repeated. What was learned since the last "
        "checkpoint is lost: --set checkpoint_minutes=1 keeps more"
    )
    add(
        "--interrupt-at",
        dest="interruptions",
        type=_checked(whole(1, 10**6, "steps").read),
        metavar="STEP",
        action="append",
        default=[],
        help=interrupt,
    )
    add("--input", type=_object, metavar="JSON", default={}, help="further keys of the execution input")
    setting = "any setting of cdk.json; may be repeated"
    add("--set", dest="settings", type=_setting, metavar="KEY=VALUE", action="append", default=[], help=setting)
    add(
        "--quick",
        action="store_true",
        help="a slice of the text, a few prompts, a few steps: about a minute where nothing else runs",
    )
    model = (
        "what is trained and served in place of the real model; gemma-3-270m is fetched, and Google's Gemma Terms of Use then apply to you; "
        "llama-2-7b-shape has Llama 2 7B's size and random weights, and takes 18 GB of memory, 15 GB of disk and half an hour"
    )
    add("--model", choices=tuple(STAND_INS), default=DEFAULT, help=model)
    server = "what answers on the endpoint: transformers and PEFT (default), or the real vLLM where `captune vllm` installed it"
    add("--server", choices=("transformers", "vllm"), default="transformers", help=server)


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is shown and kept").add_argument
    add(
        "--results", type=Path, metavar="DIR", default=Path("results"), help="where the report goes (default: results/)"
    )
    name = "name of the folder in the results (default: the run's name); an earlier run's folder of that name is moved aside"
    add("--as", dest="name", type=_folder_name, metavar="NAME", help=name)
    add("--plain", action="store_true", help="plain lines instead of a live display")
