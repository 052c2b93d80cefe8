"""`captune dev evidence`: runs the preregistered experiments, and prints the table that docs/verdict.md quotes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from captune.account import Refused
from captune.external import TARGET
from captune.flags import External
from captune.report import judged_again
from report.findings.verdict import IMPROVED
from verification.experiments.experiments import PREREGISTERED, PROJECT, Experiment, all_experiments
from verification.experiments.table import PAGE_COLUMNS, as_markdown, figures_of, knowledge_together, load, row, store

RESULTS = PROJECT / "results" / "evidence"
TABLE = PROJECT / "results" / "evidence.md"
SHORT_TABLE = PROJECT / "results" / "evidence-short.md"
FIGURES = PROJECT / "results" / "evidence.json"


def command(
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this experiment only; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run experiments again that have figures of today's texts, settings and code.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the experiments and exit.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Run no experiment: judge the figures in results/evidence.json.")] = False,
    outside: External = None,
) -> int:  # fmt: skip
    """Runs the chosen experiments; answers 0 when they came out as declared.

    Each experiment is a whole rehearsal. verification/experiments/DECLARATION.md states the expected results; it was written before
    the seeds were run. The exit code is 0 if the chosen experiments came out as preregistered.
    """
    with tempfile.TemporaryDirectory() as folder:
        known = all_experiments(Path(folder), None if (table or listed) and not outside else _external(outside))
        if unknown := sorted(set(only or []) - {one.name for one in known}):
            raise typer.BadParameter(f"there is no experiment {', '.join(unknown)}; --list names them")
        chosen = [one for one in known if not only or one.name in only]
        if listed:
            print("\n".join(f"{one.name:<22} {one.describes}" for one in chosen))
            return 0
        try:
            for number, experiment in enumerate(chosen if not table else [], 1):
                print(f"[{number}/{len(chosen)}] {experiment.name}: {experiment.describes}", flush=True)
                if not again and _of_today([experiment]):
                    print(f"  its figures are in results/{FIGURES.name} (--again runs it once more)", flush=True)
                else:
                    _run(experiment)
            return _print_table(known, {one.name for one in chosen})
        except ValueError as error:
            raise Refused(str(error)) from error


def _external(given: Path | None) -> Path:
    """The file of the external test set."""
    path = given or TARGET
    if not path.is_file():
        hint = "" if given else ": run captune external first, which fetches the preregistered external test set"
        raise typer.BadParameter(f"there is no file {path}{hint}")
    return path.resolve()


def _of_today(known: list[Experiment]) -> dict[str, dict[str, Any]]:
    """The figures that were made with today's texts, settings and code, on this machine or another one."""
    kept = load(FIGURES)
    return {e.name: kept[e.name] for e in known if e.name in kept and e.is_made_with(kept[e.name]["inputs"])}


def _run(experiment: Experiment) -> None:
    """Rehearses and keeps the figures."""
    inputs = experiment.inputs()
    if code := _rehearse(experiment.command(RESULTS)):
        raise Refused(f"The rehearsal of {experiment.name} ended with {code}; the lines above show why.")
    summary = json.loads((RESULTS / experiment.name / "summary.json").read_text("utf-8"))
    store(FIGURES, experiment.name, figures_of(summary, inputs))


def _rehearse(arguments: list[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "captune", "rehearse", *arguments], cwd=PROJECT, check=False
    ).returncode


def _print_table(known: list[Experiment], chosen: set[str]) -> int:
    """Prints and writes the table of all figures of today; answers the exit code for the chosen experiments.

    Raises ValueError where there are none: an empty table does not replace an earlier one.
    """
    found = {name: judged_again(figures) for name, figures in _of_today(known).items()}
    if not found:
        raise ValueError(
            f"{FIGURES.name} holds no figures of today's texts, settings and code, so {TABLE.name} stays as it is. Run captune dev evidence, or "
            "make the table with the commit that results/README.md names."
        )
    rows = [row(one, found[one.name]) for one in known if one.name in found]
    lacking = sorted({one.name for one in known} - found.keys())
    notes, failing = [_measured_on(known, found)], []
    for series in dict.fromkeys(one.series for one in known if not one.is_null):
        seeds = [one.name for one in known if one.series == series]
        must_know = next(one.must_know for one in known if one.series == series)
        if found.keys() >= set(seeds):
            verdict, words = knowledge_together({name: found[name] for name in seeds}) or ("", "")
            notes.append(words)
            # Seeds that cannot be put together have shown nothing.
            failing += seeds if must_know and verdict != IMPROVED else []
    if lacking:
        notes.append(
            f"Not in this table, since they were not run with today's texts and settings: {', '.join(lacking)}."
        )
    table = as_markdown(rows, notes)
    TABLE.write_text(table + "\n", "utf-8")
    SHORT_TABLE.write_text(as_markdown(rows, notes, PAGE_COLUMNS) + "\n", "utf-8")
    print(f"\n{table}")
    unexpected = [one.name for one in rows if not one.as_declared]
    if unexpected or failing:
        print(f"\nNot as preregistered: {', '.join(unexpected + ['choices over the seeds together'] * bool(failing))}.")
    elif not lacking:
        print("\nEverything came out as preregistered.")
    return 1 if chosen & {*unexpected, *lacking, *failing} else 0


def _measured_on(known: list[Experiment], found: dict[str, dict[str, Any]]) -> str:
    """Which external test set the figures are of."""
    sha256 = known[0].outside_sha256 or ""
    counts = {block["documents_count"] for figures in found.values() if (block := figures.get("outside"))}
    which = "the preregistered file" if sha256 in PREREGISTERED else "not the preregistered file"
    return (
        f"External test set: {', '.join(map(str, sorted(counts))) or 'no'} documents, {which} (SHA-256 {sha256[:16]})."
    )
