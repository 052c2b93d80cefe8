"""captune evidence: runs the declared experiments, and prints the table of which docs/verdict.md quotes some columns.

Each experiment is a whole rehearsal: the same template, state machines, Lambdas and training script. DECLARATION.md says what must
come out; it was written before the seeds were run. Exit code 0 when the chosen experiments came out as declared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from captune.external import TARGET
from captune.report import judged_again
from report.findings.verdict import IMPROVED
from verification.experiments.experiments import OUTSIDE_SHA256, PROJECT, Experiment, all_experiments
from verification.experiments.table import PAGE_COLUMNS, as_markdown, figures_of, knowledge_together, load, row, store

RESULTS = PROJECT / "results" / "evidence"
TABLE = PROJECT / "results" / "evidence.md"
SHORT_TABLE = PROJECT / "results" / "evidence-short.md"
FIGURES = PROJECT / "results" / "evidence.json"


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments") -> int:
    """Runs the chosen experiments; answers 0 when they came out as declared."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=style)
    parser.add_argument("--only", action="append", metavar="NAME", help="run this experiment only; may be repeated")
    again = "run again what has figures of today's texts, settings and code in results/evidence.json, which is left out otherwise"
    parser.add_argument("--again", action="store_true", help=again)
    parser.add_argument("--list", action="store_true", help="list the experiments and leave")
    parser.add_argument("--table", action="store_true", help="run nothing: judge the figures in results/evidence.json")
    outside = (
        "text of the field by others (JSON Lines or titled text), on which every experiment is measured too "
        "(default: what captune external wrote)"
    )
    parser.add_argument("--outside", type=Path, metavar="FILE", help=outside)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        known = all_experiments(Path(folder), _outside(parser, given))
        if unknown := sorted(set(given.only or []) - {one.name for one in known}):
            parser.error(f"there is no experiment {', '.join(unknown)}; --list names them")
        chosen = [one for one in known if not given.only or one.name in given.only]
        if given.list:
            print("\n".join(f"{one.name:<22} {one.describes}" for one in chosen))
            return 0
        try:
            for number, experiment in enumerate(chosen if not given.table else [], 1):
                print(f"[{number}/{len(chosen)}] {experiment.name}: {experiment.describes}", flush=True)
                if not given.again and _of_today([experiment]):
                    print(f"  its figures are in results/{FIGURES.name} (--again runs it once more)", flush=True)
                else:
                    _run(experiment)
            return _print_table(known, {one.name for one in chosen})
        except ValueError as error:
            raise SystemExit(f"captune: {error}") from error


def _outside(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Path | None:
    """The file of text by others; None where nothing is run and the declared one is meant."""
    if given.outside is None and (given.table or given.list):
        return None
    path: Path = given.outside or TARGET
    if not path.is_file():
        hint = "" if given.outside else ": run captune external first, which fetches the declared text by others"
        parser.error(f"there is no file {path}{hint}")
    return path.resolve()


def _of_today(known: list[Experiment]) -> dict[str, dict[str, Any]]:
    """The figures that were made with today's texts, settings and code, on this machine or another one."""
    kept = load(FIGURES)
    return {e.name: kept[e.name] for e in known if e.name in kept and e.is_made_with(kept[e.name]["inputs"])}


def _run(experiment: Experiment) -> None:
    """Rehearses and keeps the figures."""
    inputs = experiment.inputs()
    if code := _rehearse(experiment.command(RESULTS)):
        raise SystemExit(f"the rehearsal of {experiment.name} ended with {code}; its lines above say why")
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
            f"{FIGURES.name} holds no figures of today's texts, settings and code, so {TABLE.name} stays as it is. Run captune evidence, or "
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
        print(f"\nNot as declared: {', '.join(unexpected + ['choices over the seeds together'] * bool(failing))}.")
    elif not lacking:
        print("\nEverything came out as declared.")
    return 1 if chosen & {*unexpected, *lacking, *failing} else 0


def _measured_on(known: list[Experiment], found: dict[str, dict[str, Any]]) -> str:
    """Which text by others the figures are of."""
    sha256 = known[0].outside_sha256 or ""
    counts = {block["documents_count"] for figures in found.values() if (block := figures.get("outside"))}
    which = "the declared file" if sha256 == OUTSIDE_SHA256 else "not the declared file"
    return f"Text by others: {', '.join(map(str, sorted(counts))) or 'no'} documents, {which} (SHA-256 {sha256[:16]})."


if __name__ == "__main__":
    sys.exit(main())
