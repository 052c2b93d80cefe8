"""The failure matrix: every Task state of both machines meets every failure, in the real interpreter.

The rows come from the deployed definitions, so a new state has its cells as soon as it is written. A cell that its run
never reaches fails. Importing this module also registers the workflow's negative controls.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path

from proof.choice import positive
from proof.matrix import cell, controls, spot_runs, whole_runs
from proof.matrix.bench import Bench, assembly_folder
from proof.matrix.cell import Outcome
from proof.matrix.failures import FAILURES
from proof.result import Result

assert controls  # imported for what it registers
_bench: list[Bench] = []
STORIES = {**whole_runs.STORIES, **spot_runs.STORIES}


@dataclass
class Matrix:
    """What became of all cells and stories."""

    outcomes: list[Outcome] = field(default_factory=list)
    stories: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> int:
        """How many cells passed."""
        return sum(outcome.mark == "ok" for outcome in self.outcomes)

    @property
    def total(self) -> int:
        """How many cells apply."""
        return sum(not outcome.reason for outcome in self.outcomes)

    def lines(self) -> list[tuple[str, str]]:
        """The table: a row for each state and a column for each failure, and the counts below."""
        marks = {(outcome.state, outcome.failure): outcome.mark for outcome in self.outcomes}
        names = [failure.name for failure in FAILURES]
        lines = [("", " ".join(f"{name:<10}" for name in names))]
        for state in dict.fromkeys(outcome.state for outcome in self.outcomes):
            lines.append((state, " ".join(f"{marks.get((state, name), '-'):<10}" for name in names)))
        lines.append(("cells passed", f"{self.passed}/{self.total}"))
        reasons = sorted({outcome.reason for outcome in self.outcomes if outcome.reason})
        for reason in reasons:
            count = sum(outcome.reason == reason for outcome in self.outcomes)
            lines.append((f"n-a in {count} cells", reason))
        return lines + [(name, "FAIL" if wrong else "ok") for name, wrong in self.stories.items()]

    def broken(self) -> list[str]:
        """Every promise that was seen broken, with its cell."""
        cells = [f"{o.state} x {o.failure}: {words}" for o in self.outcomes for words in o.wrong]
        return cells + [f"{name}: {words}" for name, wrong in self.stories.items() for words in wrong]


def _open(folder: str) -> None:
    _bench.append(Bench(Path(folder)).__enter__())
    Finalize(None, _bench[0].__exit__, args=(None, None, None), exitpriority=10)


def _names() -> list[tuple[str, str]]:
    return cell.names(_bench[0])


def _cell(state: str, failure: str) -> Outcome:
    return cell.run(_bench[0], state, failure)


def _story(name: str) -> list[str]:
    try:
        return STORIES[name](_bench[0])
    except (TimeoutError, AssertionError, KeyError, ValueError, RuntimeError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]


def run(only: str = "", processes: int = 2) -> Matrix:
    """Runs the cells, and the stories too when nothing is left out. Each process has an account of its own."""
    begin, matrix = time.monotonic(), Matrix()
    # Not forked: each process starts moto's server and threads of its own.
    context = multiprocessing.get_context("spawn")
    folder = str(assembly_folder())
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_open, initargs=(folder,)) as pool:
        names = [pair for pair in pool.submit(_names).result() if only in pair[0] or only in pair[1]]
        stories = {name: pool.submit(_story, name) for name in STORIES if not only}
        cells = {pool.submit(_cell, *pair): pair for pair in names}
        done = {cells[future]: future.result() for future in as_completed(cells)}
        matrix.stories = {name: future.result() for name, future in stories.items()}
    matrix.outcomes = [done[pair] for pair in names]
    matrix.seconds = time.monotonic() - begin
    return matrix


def prove(only: str = "", processes: int = 2) -> Result:
    """The matrix as a part of the proof."""
    matrix = run(only, processes)
    broken = matrix.broken() or ([] if matrix.total else ["no cell was run"])
    return Result("Failure matrix", [*matrix.lines(), ("seconds", f"{matrix.seconds:.0f}")], broken)


def main() -> int:
    """Prints the table; 1 when a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m proof.matrix", description="The failure matrix.")
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=positive, default=2)
    asked = parser.parse_args()
    result = prove(asked.only, asked.processes)
    print(result.text())
    return 1 if result.broken else 0
