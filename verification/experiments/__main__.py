"""python -m verification.experiments   (make evidence): runs the null experiments and the seeds, and prints the table that the README quotes.

Each experiment is a whole rehearsal: the same template, state machines, Lambdas and training script. What must come out
was declared before the seeds were run: verification/experiments/DECLARATION.md. Exit code 0 when it did for the experiments that were chosen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from verification.experiments.experiments import OUTSIDE_SHA256, PROJECT, Experiment, all_experiments
from verification.experiments.figures import figures_of, load, store
from verification.experiments.rewrite import judged_again
from verification.experiments.table import as_markdown, carried_over, recall_together, row
from operations.data.outside import TARGET

RESULTS = PROJECT / "results" / "evidence"
TABLE = PROJECT / "results" / "evidence.md"
FIGURES = PROJECT / "results" / "evidence.json"


class NothingToShow(ValueError):
    """None of the figures that are kept was made with what stands here today."""


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments") -> int:
    """Runs the experiments; answers 0 when those that were chosen came out as declared."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="run this experiment only; may be repeated")
    parser.add_argument(
        "--again",
        action="store_true",
        help="run experiments once more whose results, for the same texts, are there; without it, those whose figures are in results/evidence.json are left out",
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and leave")
    parser.add_argument(
        "--table",
        action="store_true",
        help="run nothing: judge the figures in results/evidence.json and print the table",
    )
    parser.add_argument(
        "--outside",
        type=Path,
        metavar="FILE",
        help="text of the field by others (JSON Lines or titled text), on which every experiment is measured too; the declared one is what make outside writes",
    )
    chosen = parser.parse_args(arguments)
    outside = _outside(parser, chosen)
    with tempfile.TemporaryDirectory() as folder:
        known = all_experiments(Path(folder), outside)
        unknown = sorted(set(chosen.only or []) - {e.name for e in known})
        if unknown:
            parser.error(f"there is no experiment {', '.join(unknown)}; --list names them")
        experiments = [e for e in known if not chosen.only or e.name in chosen.only]
        if chosen.list:
            print("\n".join(f"{e.name:<22} {e.describes}" for e in experiments))
            return 0
        try:
            for number, experiment in enumerate(experiments if not chosen.table else [], 1):
                print(f"[{number}/{len(experiments)}] {experiment.name}: {experiment.describes}", flush=True)
                if not (chosen.only or chosen.again) and _has_figures(experiment):
                    print(f"  its figures are in results/{FIGURES.name} (--again runs it once more)", flush=True)
                    continue
                _run(experiment, chosen.again)
                # With what it was made with, should a text have been changed since.
                inputs = _mark(experiment).read_text("utf-8")
                store(FIGURES, experiment.name, figures_of(_summary(experiment), inputs))
            return _print_table(known, {e.name for e in experiments})
        except ValueError as error:
            raise SystemExit(f"captune: {error}") from error


def _outside(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> Path | None:
    """The file of text by others; None where nothing is run and the declared one is meant."""
    if chosen.outside is None and (chosen.table or chosen.list):
        return None
    path: Path = chosen.outside or TARGET
    if not path.is_file():
        hint = "" if chosen.outside else ": run make outside first, which fetches the declared text by others"
        parser.error(f"there is no file {path}{hint}")
    return path.resolve()


def _print_table(known: list[Experiment], chosen: set[str]) -> int:
    """Prints and writes the table of all figures that were made with today's inputs; answers the exit code for those chosen.

    Raises NothingToShow where there are none: an earlier table is not replaced by an empty one.
    """
    kept = load(FIGURES)
    found = [
        (e, judged_again(kept[e.name])) for e in known if e.name in kept and kept[e.name]["inputs"] == e.fingerprint()
    ]
    if not found:
        raise NothingToShow(
            f"{FIGURES.name} holds no figures of today's texts, settings and code, so {TABLE.name} stays as it is. Run make evidence, or "
            "make the table with the commit that results/README.md names."
        )
    rows = [row(e, figures) for e, figures in found]
    seeds = [(e.seed, figures) for e, figures in found if not e.is_null]
    all_seeds = {e.name for e in known if not e.is_null}
    complete = len(seeds) == len(all_seeds)
    together = recall_together(dict(seeds)) if complete else None
    lacking = sorted({e.name for e in known} - {r.name for r in rows})
    table = as_markdown(rows, together, lacking, _measured_on(known, found), carried_over(found))
    TABLE.write_text(table + "\n", "utf-8")
    print(f"\n{table}")
    unexpected = [r.name for r in rows if not r.as_expected]
    # Fails closed: seeds that cannot be put together have shown nothing.
    together_fails = complete and not (together and together.as_expected)
    if unexpected or together_fails:
        print(f"\nNot as declared: {', '.join(unexpected + ['key facts over the seeds together'] * together_fails)}.")
    elif not lacking:
        print("\nEverything came out as declared.")
    return 1 if chosen & {*unexpected, *lacking} or (together_fails and chosen & all_seeds) else 0


def _measured_on(known: list[Experiment], found: list[tuple[Experiment, dict[str, Any]]]) -> str:
    """Which text by others the figures are of."""
    sha256 = known[0].outside_sha256 or ""
    counts = {block["documents_count"] for _, figures in found if (block := figures.get("outside"))}
    which = "the declared file" if sha256 == OUTSIDE_SHA256 else "not the declared file"
    return f"Text by others: {', '.join(map(str, sorted(counts))) or 'no'} documents, {which} (SHA-256 {sha256[:16]})."


def _run(experiment: Experiment, again: bool) -> None:
    if not again and _is_kept(experiment):
        print(f"  kept from results/evidence/{experiment.name} (--again runs it once more)", flush=True)
        return
    mark, inputs = _mark(experiment), experiment.fingerprint()
    mark.unlink(missing_ok=True)
    code = _rehearse(experiment.command(RESULTS))
    if code:
        raise SystemExit(f"the rehearsal of {experiment.name} ended with {code}; its lines above say why")
    mark.write_text(inputs, "utf-8")


def _rehearse(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "rehearsal", *arguments], cwd=PROJECT, check=False).returncode


def _mark(experiment: Experiment) -> Path:
    """The file that tells what a finished run was made with; a run that failed leaves none."""
    return RESULTS / experiment.name / "inputs.sha256"


def _is_kept(experiment: Experiment) -> bool:
    mark = _mark(experiment)
    return mark.is_file() and mark.read_text("utf-8") == experiment.fingerprint()


def _has_figures(experiment: Experiment) -> bool:
    """Whether it was run with today's inputs, wherever that was: all of them take longer than many a machine can be had."""
    return load(FIGURES).get(experiment.name, {}).get("inputs") == experiment.fingerprint()


def _summary(experiment: Experiment) -> dict[str, object]:
    summary: dict[str, object] = json.loads((RESULTS / experiment.name / "summary.json").read_text("utf-8"))
    return summary


if __name__ == "__main__":
    sys.exit(main())
