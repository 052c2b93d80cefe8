"""`captune runs`: the runs on this machine and in your account, newest first, with their results."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from captune import account
from captune.account import NotDeployed, Refused, output
from captune.fetch import runs_in
from captune.flags import AsJson, Region, Results
from captune.kept_run import kept, name_of, not_found, only_here, refused_run
from common.contracts import run_folder
from common.names import execution_name_of
from common.storage import Storage
from rehearsal.programs import as_typed
from report.content.circumstances import is_of_records, is_rehearsed
from report.content.figures import estimate
from report.formatting import NONE, money, plural, printable, range_text, whole
from report.summary_types import has_figures, or_empty

REHEARSED, FETCHED, ACCOUNT = "rehearsed", "fetched", "account"
SEED = "seed"
TEXTS = {"heldout": "Held-out text", "outside": "External test set", "control": "Retention set"}
HEAD = ("Run", "Where", "Started", "Verdict", "Loss", "Cost")
# Settings that do not affect the results. Texts are distinguished by their counts, not by the names of their files.
_NO_MATTER = {"checkpoint_minutes", "corpus", "device_name", "held_out", "keep_endpoint_minutes", "prompts", "python",
              "time_budget_seconds"}  # fmt: skip
_WIDTH = 170  # of a table that no terminal shows
_MORE = "Loss is the change on held-out text. More figures: captune runs --json, captune compare RUN RUN"
_BETWEEN = 3  # characters between two columns


@dataclass(frozen=True)
class Run:
    """A run that was rehearsed here, fetched, or is only in the account; `read` gives the content of its summary."""

    name: str
    where: str
    plan: Mapping[str, Any]
    read: Callable[[], bytes | None]

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """What the report shows; empty while there is none. Raises Refused."""
        return parsed(self.read() or b"{}", f"The summary of the run {self.name}")

    @property
    def model(self) -> str:
        """The base model that was trained, with its quantisation; the planned one of a run that has not come so far."""
        model = or_empty(self.summary.get("base_model"))
        bits = model.get("quantization") or "none"
        name = model.get("name") or or_empty(self.plan.get("baseModel")).get("name") or NONE
        return str(name) if bits == "none" else f"{name} ({bits})"

    @property
    def corpus(self) -> str:
        """Such as `medical: 1,345 documents, 368,457 words`."""
        if "domain" not in self.plan:  # it was refused
            return NONE
        counts = or_empty(self.summary.get("corpus") or self.plan.get("corpus"))
        own = or_empty(self.plan.get("input")).get("corpus")
        texts = plural(counts.get("documents"), "record" if is_of_records(self.summary) else "document")
        return f"{own or self.plan.get('domain')}: {texts}, {whole(counts.get('words'))} words"

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """With what the run was trained, by names of the settings: runs of equal conditions differ by chance alone."""
        used, counts = or_empty(self.summary.get("configuration")), or_empty(self.summary.get("corpus"))
        given = or_empty(used.get("input") or self.plan.get("input"))
        found = {SEED: self.plan.get(SEED)}
        found |= {re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", key): value for key, value in given.items()}
        found |= {**or_empty(used.get("settings")), **or_empty(used.get("environment"))}
        found |= {key: used.get(key) for key in ("training_instance_type", "training_instance_count")}
        found |= {f"corpus_{key}": value for key, value in counts.items()} | {"base_model": self.model}
        found["steps"] = or_empty(self.summary.get("training")).get("steps")
        return {key: value for key, value in found.items() if key not in _NO_MATTER}

    def facts(self) -> Mapping[str, Any]:
        """Recall of the key facts over all answers of both models; empty where it was not measured."""
        return or_empty(or_empty(or_empty(self.summary.get("recall")).get("knowledge")).get("all"))


def command(
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Show the newest N runs.")] = 20,
    here: Annotated[bool, typer.Option("--here", help="List only the runs on this machine; ask no account.")] = False,
    as_json: AsJson = False,
    results: Results = Path("results"),
    region: Region = None,
) -> None:
    """Lists runs; `captune compare` compares some of them document by document."""
    found, notes = on_this_machine(results)
    if not here:
        try:
            names = {run.plan["runName"] for run in found}
            s3, bucket = the_bucket(region)
            stored = [_stored(s3, bucket, name) for name in runs_in(s3, bucket) if name not in names]
            found += [run for run in stored if run]  # one that was refused has no plan
        except (ClientError, BotoCoreError, NotDeployed) as error:
            notes.append(f"Only this machine's runs are shown, for the account did not answer: {error}")
    found.sort(key=lambda run: str(run.plan.get("startedAt") or ""), reverse=True)
    if len(found) > last:
        notes.append(f"{plural(len(found) - last, 'older run')} not shown: --last {len(found)}")
    shown = [run for run in found[:last] if _readable(run, notes)]
    if as_json:
        print(json.dumps([to_dict(run) for run in shown], indent=2))
    elif shown:
        _show_rows(shown)
        notes.append(_MORE)
    else:
        notes.append(f"There is no run in {results}. `make rehearse` makes one.")
    for note in notes:
        typer.echo(as_typed(note), err=True)


def on_this_machine(results: Path) -> tuple[list[Run], list[str]]:
    """The runs in a folder of results, refused ones too, and what is wrong with those that cannot be read."""
    found, troubles = list[Run | None](), []
    for plan in sorted(results.glob(f"*/{run_folder.PLAN}")):
        try:
            found.append(_kept(str(plan.parent), results))
        except Refused as error:
            troubles.append(str(error))
    for file in sorted(results.glob(f"*/{run_folder.SUMMARY}")):
        if summary := refused_run(file.parent):
            here = is_rehearsed(summary)
            ended = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            in_place = {"runName": summary.get("run"), "startedAt": ended.isoformat()}
            found.append(Run(file.parent.name, REHEARSED if here else FETCHED, in_place, file.read_bytes))
    return [run for run in found if run], troubles


def the_bucket(region: str | None) -> tuple[Any, str]:
    """A client of S3 and the bucket of the deployed project. Raises NotDeployed."""
    session = account.session(region)
    name = output(session, "BucketName")
    return session.client("s3"), name


def find(named: Iterable[str], results: Path, region: str | None) -> list[Run]:
    """The runs of these names; the account is asked only for those that are not here. Raises Refused."""
    found: list[Run] = []
    for one in named:
        if (run := _kept(one, results)) is None:
            here = [run.name for run in on_this_machine(results)[0]]
            with only_here(one, results):
                s3, bucket = the_bucket(region)
            if (run := _stored(s3, bucket, name_of(one))) is None:
                raise not_found(one, [*here, *runs_in(s3, bucket)], f"in {results}, nor in the bucket {bucket}")
        found.append(run)
    return found


def differing(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The conditions of each run that are not the same in all of them that have been measured."""
    measured = [run.conditions for run in runs if run.summary.get("heldout")]
    keys = dict.fromkeys(key for one in measured for key in one)
    differ = [key for key in keys if len({json.dumps(one.get(key)) for one in measured}) > 1]
    return [{key: run.conditions[key] for key in differ if key in run.conditions} for run in runs]


def setting_words(settings: Mapping[str, Any]) -> str:
    """Settings in words: `seed 1, epochs 3`."""
    values = {
        key: f"{value:.3g}" if isinstance(value, float) else value
        for key, value in settings.items()
        if value is not None
    }
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items()) or NONE


def row(run: Run) -> tuple[str, ...]:
    """A run's line of the table; `HEAD` names its cells. Commands accept the name without its prefix."""
    cost, reserved = (or_empty(run.summary.get("cost")).get(key) for key in ("actual_cents", "reserved_cents"))
    spent = f"≤ {money(reserved)}" if cost is None and reserved is not None else money(cost)
    heldout = or_empty(run.summary.get("heldout"))
    change = estimate(heldout["difference"]) if has_figures(heldout) else NONE
    started = str(run.plan.get("startedAt") or NONE)[:10]
    return execution_name_of(run.name) or run.name, run.where, started, verdict(run), change, spent


def verdict(run: Run) -> str:
    """The verdict of a run; of one that did not end well, by which error."""
    unreported = "served only" if run.plan.get("serveOnly") else "no report yet"
    status = str(run.summary.get("status") or unreported)
    if status in ("SUCCEEDED", "RUNNING"):
        return str(run.summary["verdict"])
    return str(run.summary.get("error") or status)


def change_words(change: Mapping[str, Any]) -> str:
    """A change and its interval: `-0.53 (-0.58 to -0.49)`, with true minus signs."""
    return f"{estimate(change)} ({range_text(change)})"


def to_dict(run: Run) -> dict[str, Any]:
    """A run as JSON holds it."""
    return {
        "run": run.plan.get("runName"), "name": run.name, "where": run.where, "started_at": run.plan.get("startedAt"),
        "model": run.model, "corpus": run.corpus, "conditions": run.conditions, "verdict": verdict(run),
        **{text: without_documents(run.summary.get(text)) for text in TEXTS},
        "facts": run.facts() or None, "cost": run.summary.get("cost"),
    }  # fmt: skip


def without_documents(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The figures of a text, without those of each of its documents."""
    return {key: value for key, value in block.items() if key != "documents"} if block else None


def show(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; the words of a run are text and no markup."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    lines = [[printable(cell) for cell in cells] for cells in rows]
    widths = [max(map(len, column)) + _BETWEEN for column in zip(head, *lines, strict=True)]
    if sum(widths) > console.width:
        _show_one_by_one(console, caption, head, lines)
        return
    table = Table(title=caption or None, title_justify="left", box=SIMPLE_HEAD)
    for name in head:
        table.add_column(name)
    for cells in lines:
        table.add_row(*map(Text, cells))
    console.print(table)


def _show_rows(runs: Sequence[Run]) -> None:
    """One line a run, within 80 columns unless a name is long; the names can be copied."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in HEAD:
        table.add_column(
            name, overflow="fold", no_wrap=name == HEAD[0], justify="right" if name in HEAD[-2:] else "left"
        )
    for run in runs:
        table.add_row(*(Text(printable(cell)) for cell in row(run)))
    console.print(table)


def _show_one_by_one(console: Console, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that is wider than the screen: each row by its first cell, which can be copied, with the others below it by their names."""
    if caption:
        console.print(Text(caption))
    for first, *cells in rows:
        console.print(Text(first, style="bold"), soft_wrap=True)
        for name, cell in zip(head[1:], cells, strict=True):
            if cell not in ("", NONE):
                console.print(Padding(Text(f"{name}: {cell}"), (0, 0, 0, 2), expand=False))


def _kept(named: str, results: Path) -> Run | None:
    run = kept(named, results)
    if run is None:
        return None
    file = run.folder / run_folder.SUMMARY
    where = REHEARSED if run.rehearsed else FETCHED
    return Run(run.folder.name, where, run.plan, lambda: file.read_bytes() if file.is_file() else None)


def _stored(s3: Any, bucket: str, name: str) -> Run | None:
    storage = Storage(s3, bucket)
    plan = storage.read(run_folder.key(name, run_folder.PLAN))
    summary = run_folder.key(name, f"{run_folder.REPORT}{run_folder.SUMMARY}")
    if plan is None:
        return None
    return Run(name, ACCOUNT, parsed(plan, f"The plan of the run {name}"), lambda: storage.read(summary))


def _readable(run: Run, notes: list[str]) -> bool:
    try:
        return run.summary is not None
    except Refused as error:
        notes.append(str(error))
        return False


def parsed(content: bytes, what: str) -> dict[str, Any]:
    """A file of a run as JSON. Raises Refused; `what` names the file."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise Refused(
            f"{what} cannot be read ({error}). Fetch or rehearse the run again, or move its folder away."
        ) from error
    if not isinstance(found, dict):
        raise Refused(f"{what} is no JSON object. Fetch or rehearse the run again, or move its folder away.")
    return found
