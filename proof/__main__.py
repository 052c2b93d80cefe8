"""Proves that the cap is a wall, and prints one table.

python -m proof                             everything: the failure matrix, 3,000 months, outages, accidents, threads, mutations
python -m proof --months 500 --seed 7       fewer months, from another seed
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from proof.choice import positive
from proof.controls import runner as controls
from proof.matrix import runner as matrix
from proof.result import Result
from proof.simulation import accidents, months, storms, threads


def parts(asked: argparse.Namespace) -> list[Callable[[], Result]]:
    """The parts of the proof, in the order of the table."""
    return [
        matrix.prove,
        lambda: months.prove(asked.months, asked.seed, asked.processes),
        lambda: storms.prove(asked.processes),
        lambda: accidents.prove(asked.processes),
        lambda: threads.prove(asked.seed),
        lambda: controls.prove(asked.processes),
    ]


def main(arguments: list[str] | None = None, prog: str = "python -m proof") -> int:
    """Runs every part; 1 when any promise was broken or a mutation was missed."""
    parser = argparse.ArgumentParser(prog=prog, description="Proves that the cap is a wall.")
    parser.add_argument("--months", type=positive, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=positive, default=os.cpu_count() or 2)
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep what is printed, as Markdown")
    asked = parser.parse_args(arguments)
    broken = False
    printed: list[str] = []
    for part in parts(asked):
        begin = time.monotonic()
        result = part()
        broken = broken or bool(result.broken)
        printed.append(f"{result.text()}\n  ({time.monotonic() - begin:.0f} s)\n")
        print(printed[-1], flush=True)
    printed.append("BROKEN: the cap does not hold." if broken else "The cap holds.")
    print(printed[-1])
    if asked.write:
        asked.write.write_text("```text\n" + "\n".join(printed) + "\n```\n", "utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
