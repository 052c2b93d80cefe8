"""python -m gates   (make check): every gate that a change has to pass, one line each.

Runs all of them, whatever the first ones say, and prints the words of each that fails. Exit code 0 when none did.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from gates import checks, coverage_floor
from gates.checks import Check, Outcome

PROJECT = Path(__file__).resolve().parent.parent
MEASURED = PROJECT / ".coverage.json"
MARKED = {"fast": "not slow", "usual": "not thorough", "thorough": "thorough"}
TOLD = {
    "fast": "the fast ones",
    "usual": "all but the thorough ones",
    "thorough": "the thorough ones",
    "all": "all of them",
}
TESTS = ("-m", "pytest", "-q", "-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")


def main(arguments: list[str] | None = None) -> int:
    """Runs the gates; answers 0 when every one of them is passed."""
    parser = argparse.ArgumentParser(
        prog="python -m gates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--tests",
        choices=(*TOLD, "none"),
        default="fast",
        help="which tests; usual: all but the thorough ones (default: fast)",
    )
    parser.add_argument(
        "--only", choices=(*checks.NAMES, "tests"), action="append", help="this gate only; may be repeated"
    )
    parser.add_argument(
        "--coverage",
        action=argparse.BooleanOptionalAction,
        help="and how much of the code these tests reach, with its floor (default: of the fast ones, beside the other gates)",
    )
    chosen, for_pytest = parser.parse_known_args(arguments)
    passed = [_passes(check) for check in checks.ALL if not chosen.only or check.name in chosen.only]
    fast = chosen.tests == "fast"
    if chosen.tests != "none" and (not chosen.only or "tests" in chosen.only):
        # To measure takes twice the time: of the fast tests a minute, of all of them more than `make test` has to spare.
        measure = fast and not chosen.only if chosen.coverage is None else chosen.coverage
        passed.append(_tests_pass(chosen.tests, for_pytest, measure))
    return 0 if all(passed) else 1


def _passes(check: Check) -> bool:
    begun = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).parent / check.command[0]), *check.command[1:]],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    outcome = check.judge(done)
    _tell(check.name, outcome, time.monotonic() - begun)
    return outcome.passed


def _tests_pass(which: str, for_pytest: list[str], measure: bool) -> bool:
    """Runs the tests where a person can watch them, then looks at what they reached."""
    begun = time.monotonic()
    chosen = ["-m", MARKED[which]] if which in MARKED else []
    if measure:
        chosen += ["--cov", f"--cov-report=json:{MEASURED}"]
        MEASURED.unlink(missing_ok=True)
    ended = subprocess.run([sys.executable, *TESTS, *chosen, *for_pytest], cwd=PROJECT, check=False)
    passed = ended.returncode == 0
    _tell("tests", Outcome(passed, TOLD[which]), time.monotonic() - begun)
    if not measure or not MEASURED.is_file():
        return passed and not measure
    floors = coverage_floor.BY_THE_FAST_TESTS if which == "fast" else coverage_floor.BY_EVERY_TEST
    covered = coverage_floor.judge(MEASURED.read_text("utf-8"), floors)
    _tell("coverage", covered, 0)
    return passed and covered.passed


def _tell(name: str, outcome: Outcome, seconds: float) -> None:
    if outcome.words:
        print(outcome.words.rstrip())
    print(f"{name:<11}{'passed' if outcome.passed else 'FAILED'}  {outcome.count}  ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
