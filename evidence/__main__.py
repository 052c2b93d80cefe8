"""python -m evidence   (make evidence): runs the null experiments and the seeds, and prints the table that the README quotes.

Each experiment is a whole rehearsal: the same template, state machines, Lambdas and training script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evidence.experiments import PROJECT, Experiment, all_experiments
from evidence.rewrite import judged_again
from evidence.table import as_markdown, recall_together, row

RESULTS = PROJECT / "results" / "evidence"
TABLE = PROJECT / "results" / "evidence.md"


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiments; answers 0 when every verdict of those that were chosen is as expected."""
    parser = argparse.ArgumentParser(
        prog="python -m evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="run this experiment only; may be repeated")
    parser.add_argument(
        "--again", action="store_true", help="run experiments once more whose results, for the same texts, are there"
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and leave")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        known = all_experiments(Path(folder))
        unknown = sorted(set(chosen.only or []) - {e.name for e in known})
        if unknown:
            parser.error(f"there is no experiment {', '.join(unknown)}; --list names them")
        experiments = [e for e in known if not chosen.only or e.name in chosen.only]
        if chosen.list:
            print("\n".join(f"{e.name:<22} {e.describes}" for e in experiments))
            return 0
        for number, experiment in enumerate(experiments, 1):
            print(f"[{number}/{len(experiments)}] {experiment.name}: {experiment.describes}", flush=True)
            _run(experiment, chosen.again)
        # Also those that were not chosen now: the table is of everything that was found with these texts and settings.
        found = [(e, _summary(e)) for e in known if _is_kept(e)]
    rows = [row(e, summary) for e, summary in found]
    together = recall_together([summary for e, summary in found if not e.is_null])
    table = as_markdown(rows) + (f"\n\n{together}" if together else "")
    TABLE.write_text(table + "\n", "utf-8")
    print(f"\n{table}")
    unexpected = [r.name for r in rows if not r.as_expected]
    print(
        f"\n{len(rows) - len(unexpected)} of {len(rows)} verdicts as expected"
        + (f"; not: {', '.join(unexpected)}" if unexpected else "")
    )
    return 1 if {e.name for e in experiments} & set(unexpected) else 0


def _run(experiment: Experiment, again: bool) -> None:
    if not again and _is_kept(experiment):
        print(f"  kept from results/evidence/{experiment.name} (--again runs it once more)", flush=True)
        return
    mark, inputs = _mark(experiment), experiment.fingerprint()
    mark.unlink(missing_ok=True)
    ended = subprocess.run([sys.executable, "-m", "rehearsal", *experiment.command(RESULTS)], cwd=PROJECT, check=False)
    if ended.returncode:
        raise SystemExit(f"the rehearsal of {experiment.name} ended with {ended.returncode}; its lines above say why")
    mark.write_text(inputs, "utf-8")


def _mark(experiment: Experiment) -> Path:
    """The file that tells what a finished run was made with; a run that failed leaves none."""
    return RESULTS / experiment.name / "inputs.sha256"


def _is_kept(experiment: Experiment) -> bool:
    mark = _mark(experiment)
    return mark.is_file() and mark.read_text("utf-8") == experiment.fingerprint()


def _summary(experiment: Experiment) -> dict[str, Any]:
    return judged_again(json.loads((RESULTS / experiment.name / "summary.json").read_text("utf-8")))


if __name__ == "__main__":
    sys.exit(main())
