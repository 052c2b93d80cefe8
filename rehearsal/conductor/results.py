"""The end of a rehearsal: files copied out of the bucket, the figures on the screen, the proof that nothing is left."""

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ask.questions import samples_of
from common import errors
from common.contracts import run_folder
from common.storage import Storage
from rehearsal.account.cloud import Cloud
from rehearsal.models.weights import Substitute
from rehearsal.programs import CannotRun
from rehearsal.step_functions.executions import Execution
from report.content.circumstances import MEDICAL
from report.content.meaning import NO_OUTSIDE_TEXT

from .display import Display, cause_of

SHOWN_PROMPTS = 3
_MORE_TIME = " --set max_training_seconds=14400 gives it more time."
_SWEEP_SECONDS = 120
REPORT_BYTES = 8 << 20  # of a report with all answers
Keep = Callable[
    [Any, str, str, Path], None
]  # (s3, bucket, run, folder); raises OSError where the folder does not take it


def set_aside(target: Path) -> Path | None:
    """Move what an earlier run left in `target` beside it; return where it is now, None where there was nothing."""
    if not any((target / name).is_file() for name in (run_folder.PLAN, run_folder.SUMMARY, run_folder.PAGE)):
        return None
    beside = (target.with_name(f"{target.name}-earlier-{number}") for number in count(1))
    return target.rename(next(place for place in beside if not place.exists()))


def answers_of(cloud: Cloud, run: str) -> int:
    """How many answers a run asks for, of both models together, by its plan."""
    assert cloud.deployment is not None
    storage = Storage(cloud.client("s3"), cloud.deployment.bucket)
    plan = storage.read_json(run_folder.key(run, run_folder.PLAN)) or {}
    samples = int(plan.get("samplesPerPrompt") or 0)
    prompts = storage.read_lines(run_folder.key(run, run_folder.PROMPTS))
    return 2 * sum(1 + samples_of(prompt, samples) for prompt in prompts)


def try_place(target: Path, adapter_bytes: int) -> None:
    """Try, before anything runs, whether a run of this adapter can be kept in `target`. Raises CannotRun."""
    folder, needed = target.parent, adapter_bytes + REPORT_BYTES + run_folder.SPARE_BYTES
    try:
        if files := [one for one in (folder, target) if one.exists() and not one.is_dir()]:
            raise NotADirectoryError(errno.ENOTDIR, f"{files[0].name} is a file")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"captune")
        if (free := shutil.disk_usage(folder).free) < needed:
            raise OSError(errno.ENOSPC, f"{free:,} bytes are free and {needed:,} are needed")
    except OSError as error:
        raise CannotRun(
            f"The results cannot be written to {folder}: {error.strerror}. Use another folder: --results FOLDER"
        ) from error


def copy_out(
    cloud: Cloud, run: str, places: Sequence[Path], model: Substitute, display: Display, keep: Keep
) -> tuple[Path, dict[str, Any]]:
    """Copy what is kept of a run to the first of the places that takes it: the bucket goes with the rehearsal.

    Return the place and the run's summary, empty if it has none. Raises what the last place says.
    """
    assert cloud.deployment is not None
    for place in places:
        try:
            if earlier := set_aside(place):
                display.say(f"\nWhat an earlier run left in {escape(str(place))} is now in {escape(str(earlier))}.")
            keep(cloud.client("s3"), cloud.deployment.bucket, run, place)
        except OSError as error:
            if place == places[-1]:
                raise
            display.say(f"[red]The results cannot be kept in {escape(str(place))}:[/] {escape(str(error))}")
            continue
        if place != places[0]:
            display.say(f"[bold]They are in {escape(str(place))}.[/]")
        break
    return place, _summary(place / run_folder.SUMMARY, model)


def _summary(file: Path, model: Substitute) -> dict[str, Any]:
    """A run's summary, empty if it has none. One of a run that ended before its model was measured names the planned one: here it is another."""
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_bytes())
    named = found.get("base_model") or {}
    if named.get("planned_name") and named.get("matches_plan") is None:
        named |= {"name": model.name, "parameters": model.parameters, "matches_plan": False}
        file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return found


def dollars(cents: Any) -> str:
    """Cents as dollars, a dash where nothing is known."""
    return f"${cents / 100:.2f}" if isinstance(cents, (int, float)) else "–"


def show_summary(display: Display, summary: Mapping[str, Any]) -> None:
    """Verdict, losses, cost, and the answers to the first prompts side by side."""
    display.say()
    display.say(
        f"[bold]Verdict: {escape(str(summary.get('verdict')))}[/]  {escape(str(summary.get('headline') or ''))}. "
        f"{escape(str(summary.get('verdict_reason') or ''))}"
    )
    training = summary.get("training") or {}
    if early := training.get("stopped_early"):
        display.say(
            f"[yellow]Training ended after {training.get('steps')} of {training.get('planned_steps')} steps: {escape(str(early))}.[/]"
            + (_MORE_TIME if early == "time budget" else "")
        )
    for name, words in (("heldout", "Held-out"), ("outside", "External")):
        block = summary.get(name) or {}
        if isinstance(block.get("base_loss"), float) and isinstance(block.get("tuned_loss"), float):
            display.say(
                f"{words} loss: {block['base_loss']:.4f} before, {block['tuned_loss']:.4f} after (nats per token, "
                f"{block.get('tokens')} tokens, {escape(str((summary.get('base_model') or {}).get('name')))})"
            )
    if summary.get("choices"):
        known, why = (escape(str(summary.get(f"knowledge_{part}"))) for part in ("verdict", "reason"))
        display.say(f"Secondary metric, knowledge: {known}. {why}")
        _show_most_changed(display, summary["choices"].get("most_changed") or [])
    if summary.get("heldout") and summary.get("outside") is None:
        fetch = (
            " `captune external` fetches two for the medical domain, and its runs are measured on them from then on."
        )
        display.say(NO_OUTSIDE_TEXT + (fetch if summary.get("domain") == MEDICAL else ""))
    _show_answers(display, [row for row in summary.get("prompts") or [] if row.get("base") and row.get("tuned")])
    cost = summary.get("cost") or {}
    display.say(
        f"Cost, as it would have been on AWS for these seconds: {dollars(cost.get('actual_cents'))} of {dollars(cost.get('reserved_cents'))} "
        f"reserved (training {dollars(cost.get('training_cents'))}, endpoint {dollars(cost.get('endpoint_cents'))}, "
        f"everything else {dollars(cost.get('other_cents'))}); {dollars(cost.get('remaining_cents'))} of the cap is left."
    )


def _show_answers(display: Display, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    # By their place alone: chosen by the answers, they would show one model at its best. The rest stands in the report.
    shown = rows[:SHOWN_PROMPTS]
    table = Table(show_lines=True, expand=True, title="The same prompt, the same settings, before and after")
    if len(shown) < len(rows):
        table.caption = f"The first {len(shown)} of {len(rows)} prompts; all are in the report."
    for heading, ratio in (("prompt", 2), ("base model", 3), ("fine-tuned model", 3)):
        table.add_column(heading, ratio=ratio)
    for row in shown:
        texts = (row["prompt"], *(str(row[model]["greedy"]["text"]) for model in ("base", "tuned")))
        table.add_row(*(escape(" ".join(text.split())) for text in texts))
    display.console.print(table, soft_wrap=False)


def _show_most_changed(display: Display, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    half = len(rows) // 2
    table = Table(expand=True, title="What training changed most: how far each prompt prefers the correct option")
    # By the change alone, as many losses as gains: a choice that cannot flatter.
    table.caption = f"Of {half} the preference rose most, of {half} it fell most or rose least (nats per token above the distractors)."
    for heading, ratio in (("prompt", 4), ("correct option", 4), ("before", 1), ("after", 1)):
        table.add_column(heading, ratio=ratio, justify="left" if ratio > 1 else "right", min_width=6)
    for place, row in enumerate(rows):
        texts = (escape(row["prompt"]), escape(row["correct"]))
        table.add_row(*texts, *(f"{margin:+.2f}" for margin in row["margin"]), end_section=place + 1 == half)
    display.console.print(table, soft_wrap=False)


def show_missed(display: Display, summary: Mapping[str, Any], steps: Sequence[int]) -> None:
    """Say which of the interruptions at these steps never came, because the training had ended before."""
    missed = sorted(steps)[max(0, ((summary.get("training") or {}).get("starts") or 1) - 1) :]
    if missed:
        display.say(
            f"[yellow]No instance was taken away at step {', '.join(map(str, missed))}: the training ended before.[/]"
        )


def failure(execution: Execution) -> str:
    """Error, cause and what to do as one paragraph."""
    kind = getattr(errors, str(execution.error), None)
    advice = kind.advice if isinstance(kind, type) and issubclass(kind, errors.CaptuneError) else ""
    return f"{execution.error or execution.status}: {cause_of(execution.cause)} {advice}".strip()


def show_proof(display: Display, cloud: Cloud) -> bool:
    """Show what is left and how TearDown ended; return whether that is as it must be."""
    assert cloud.deployment is not None
    left, good = cloud.leftovers(), True
    display.say()
    display.say("[bold]Nothing billable is left[/]" if not any(left.values()) else "[bold red]Something is left[/]")
    for kind, names in left.items():
        mark = "[green]✓[/]" if not names else "[red]✗[/]"
        display.say(f"  {mark} {kind}: {escape(', '.join(names)) if names else 'none'}")
        good = good and not names
    tear_downs = cloud.executions.of_machine(cloud.deployment.tear_down)
    ended = {one.status for one in tear_downs}
    fine = ended == {"SUCCEEDED"}
    mark = "[green]✓[/]" if fine else "[red]✗[/]"
    display.say(f"  {mark} TearDown: {', '.join(sorted(ended)) or 'never started'}")
    for one in tear_downs:
        if one.error:
            display.say(f"    {escape(failure(one))}")
    return good and fine


def show_rights(display: Display, cloud: Cloud) -> bool:
    """Let the sweeper look once, show which calls the deployed policies forbid the role that made them, and return whether none was."""
    cloud.events.fire_timed_rules()
    cloud.settle(timeout=_SWEEP_SECONDS)
    if not cloud.refused:
        display.say(f"  [green]✓[/] permissions: the roles allow each of {cloud.calls_of_roles()} calls")
    for refused in dict.fromkeys(cloud.refused):
        display.say(f"  [red]✗[/] a permission is missing; add it in stacks/access: {escape(refused)}")
    return not cloud.refused
