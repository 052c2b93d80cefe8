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

from evidence.experiments import PROJECT, Experiment, all_experiments
from evidence.table import as_markdown, row

RESULTS = PROJECT / "results" / "evidence"
TABLE = PROJECT / "results" / "evidence.md"


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiments; answers 0 when every verdict is as expected."""
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
        experiments = [e for e in all_experiments(Path(folder)) if not chosen.only or e.name in chosen.only]
        if chosen.list:
            print("\n".join(f"{e.name:<22} {e.describes}" for e in experiments))
            return 0
        for number, experiment in enumerate(experiments, 1):
            print(f"[{number}/{len(experiments)}] {experiment.name}: {experiment.describes}", flush=True)
            _run(experiment, chosen.again)
    rows = [row(e, json.loads((RESULTS / e.name / "summary.json").read_text("utf-8"))) for e in experiments]
    table = as_markdown(rows)
    TABLE.write_text(table + "\n", "utf-8")
    print(f"\n{table}")
    unexpected = [r.name for r in rows if not r.as_expected]
    print(
        f"\n{len(rows) - len(unexpected)} of {len(rows)} verdicts as expected"
        + (f"; not: {', '.join(unexpected)}" if unexpected else "")
    )
    return 1 if unexpected else 0


def _run(experiment: Experiment, again: bool) -> None:
    summary, mark = (RESULTS / experiment.name / name for name in ("summary.json", "inputs.sha256"))
    inputs = experiment.fingerprint()
    if not again and summary.is_file() and mark.is_file() and mark.read_text("utf-8") == inputs:
        print(f"  kept from {summary.relative_to(PROJECT)} (--again runs it once more)", flush=True)
        return
    ended = subprocess.run([sys.executable, "-m", "rehearsal", *experiment.command(RESULTS)], cwd=PROJECT, check=False)
    if ended.returncode:
        raise SystemExit(f"the rehearsal of {experiment.name} ended with {ended.returncode}; its lines above say why")
    mark.write_text(inputs, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
