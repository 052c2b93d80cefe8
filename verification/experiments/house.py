"""python -m verification.experiments.house --before FOLDER > results/house.md: how large the house is, and what a Lambda's cold start imports.

FOLDER is a checkout of an earlier commit: git worktree add --detach FOLDER 3c9f6b0. Times are of the processor and not of a
clock, so that a busy machine tells the same; each is the median of fresh interpreters.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from verification.experiments.experiments import PROJECT

FRESH_INTERPRETERS = 7
# As in Lambda: boto3 comes compiled with the runtime; a function's own code lies in a folder that cannot be written to, and is
# compiled at every cold start.
_COLD = """
import json, sys, time
folder, function, empty = sys.argv[1:]
sys.path.insert(0, folder)
begun = time.process_time()
import boto3
own = time.process_time()
sys.pycache_prefix, sys.dont_write_bytecode = empty, True
__import__(function + ".handler")
ended = time.process_time()
files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
print(json.dumps([own - begun, ended - own, [file for file in files if file.startswith(folder)]]))
"""


@dataclass(frozen=True)
class Room:
    """A top-level folder: its lines of Python and its files, the most files in one folder, and its longest file."""

    lines: int
    files: int
    most_files: int
    longest: tuple[int, str]


@dataclass(frozen=True)
class ColdStart:
    """What the import of one function takes in milliseconds: boto3, and its own code of so many bytes in so many modules."""

    boto3: float
    own: float
    modules: int
    size: int


def rooms(project: Path) -> dict[str, Room]:
    """Every top-level folder with Python in it that git tracks: what a build leaves there is not of the house."""
    listed = subprocess.run(["git", "ls-files", "-z", "--", "*/*.py"], cwd=project, capture_output=True, check=True)
    houses: dict[str, dict[Path, int]] = {}
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = Path(name)
        # One that was removed and not yet committed is still listed.
        if not path.parts[0].startswith(".") and (project / path).is_file():
            houses.setdefault(path.parts[0], {})[path] = (project / path).read_bytes().count(b"\n")
    found = {}
    for folder, lines in sorted(houses.items()):
        longest = max(lines, key=lambda path: (lines[path], str(path)))
        most = max(Counter(path.parent for path in lines).values())
        found[folder] = Room(sum(lines.values()), len(lines), most, (lines[longest], longest.as_posix()))
    return found


def package_size(lambdas: Path) -> int:
    """Bytes of the archive that every function is deployed with."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(lambdas.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                packed.write(path, path.relative_to(lambdas))
    return len(archive.getvalue())


def functions(lambdas: Path) -> list[str]:
    """The functions, by the folders of their handlers."""
    return sorted(path.parent.name for path in lambdas.glob("*/handler.py"))


def cold_start(lambdas: Path, function: str, interpreters: int = FRESH_INTERPRETERS) -> ColdStart:
    """The median of what fresh interpreters take to import a function."""
    told = []
    for _ in range(interpreters):
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, "-I", "-c", _COLD, str(lambdas.resolve()), function, empty]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=lambdas)
            told.append(json.loads(done.stdout))
    files = [Path(file) for file in told[0][2]]
    boto3, own = (statistics.median(1000 * one[part] for one in told) for part in (0, 1))
    return ColdStart(boto3, own, len(files), sum(file.stat().st_size for file in files))


def size_table(before: dict[str, Room], now: dict[str, Room]) -> list[str]:
    """Rows of both houses, room by room."""
    rows = [
        "| folder | lines before | lines now | files before | files now | most files in one folder, before | now | longest file, before | now |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in sorted(before.keys() | now.keys()):
        pair = [house.get(name) for house in (before, now)]
        lines = " | ".join(f"{room.lines:,}" if room else "–" for room in pair)
        files = " | ".join(str(room.files) if room else "–" for room in pair)
        most = " | ".join(str(room.most_files) if room else "–" for room in pair)
        longest = " | ".join(str(room.longest[0]) if room else "–" for room in pair)
        rows.append(f"| `{name}/` | {lines} | {files} | {most} | {longest} |")
    both = (before, now)
    lines = " | ".join(f"{sum(room.lines for room in house.values()):,}" for house in both)
    files = " | ".join(str(sum(room.files for room in house.values())) for house in both)
    most = " | ".join(str(max(room.most_files for room in house.values())) for house in both)
    longest = " | ".join(str(max(room.longest[0] for room in house.values())) for house in both)
    return [*rows, f"| all | {lines} | {files} | {most} | {longest} |"]


def start_table(before: dict[str, ColdStart], now: dict[str, ColdStart]) -> list[str]:
    """Rows of both houses' functions."""
    rows = [
        "| function | own code before (ms) | now | boto3 before (ms) | now | own modules before | now | their size before (KB) | now |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in sorted(before.keys() | now.keys()):
        pair = [house.get(name) for house in (before, now)]
        cells = [
            *(f"{one.own:.0f}" if one else "–" for one in pair),
            *(f"{one.boto3:.0f}" if one else "–" for one in pair),
            *(str(one.modules) if one else "–" for one in pair),
            *(f"{one.size / 1000:.0f}" if one else "–" for one in pair),
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measures both and prints the page; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m verification.experiments.house",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the earlier commit")
    before = parser.parse_args(arguments).before
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=before, capture_output=True, text=True, check=True
    ).stdout.strip()
    old, new = before / "lambdas", PROJECT / "lambdas"
    starts = [{name: cold_start(folder, name) for name in functions(folder)} for folder in (old, new)]
    print(
        "\n".join(
            [
                "# The house, before and now",
                "",
                f"Before is commit {commit}. Made on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()} on "
                f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, by `python -m verification.experiments.house`.",
                "",
                "## Lines of Python and files",
                "",
                *size_table(rooms(before), rooms(PROJECT)),
                "",
                "## The Lambdas' package, and what a cold start imports",
                "",
                f"All functions are deployed with one archive: {package_size(old) / 1000:.0f} KB before, {package_size(new) / 1000:.0f} KB now. "
                f"Times are processor time of this machine, the median of {FRESH_INTERPRETERS} fresh interpreters; own code is compiled each "
                "time, as in Lambda.",
                "",
                *start_table(*starts),
            ]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
