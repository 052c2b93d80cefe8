"""What a run of the tests draws: a test that knows the month, or what a model says, is noticed, and what was not tested is said last."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLANTED = """
import locale, os, random, time
from datetime import UTC, datetime
import pytest

def test_of_november(): assert f"{datetime.now(UTC):%Y-%m}" == "2026-11"
def test_of_this_machine(): assert time.tzname[0] == "UTC"
def test_of_this_draw(): assert random.Random(surroundings.weights_seed).random() < 0.5

@pytest.mark.skip(reason="a page: no browser; install one")
def test_of_a_browser(): ...
"""


def run(folder: Path, *words: str) -> tuple[int, list[str], list[str]]:
    """(exit code, tests that failed, lines) of the planted tests."""
    (folder / "test_planted.py").write_text(
        PLANTED.replace("import pytest", "import pytest\nfrom tests import surroundings")
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.surroundings", "--rootdir", str(folder), str(folder)]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    lines = done.stdout.splitlines()
    failed = sorted(line.partition("::")[2].split()[0] for line in lines if line.startswith("FAILED"))
    return done.returncode, failed, lines


NOVEMBER = ("--seed=1", "--at=2026-11-30T23:00", "--zone=UTC")
DECEMBER = ("--seed=0", "--at=2026-12-01T00:00", "--zone=Asia/Kathmandu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "failed"),
    [
        (NOVEMBER, 0, []),
        ((*NOVEMBER, "--no-skips"), 1, []),
        (DECEMBER, 1, ["test_of_november", "test_of_this_draw", "test_of_this_machine"]),
    ],
)
def test_a_test_of_here_and_now_fails(tmp_path: Path, words: tuple[str, ...], code: int, failed: list[str]) -> None:
    done, found, lines = run(tmp_path, *words)
    assert (done, found) == (code, failed)
    assert all(word.replace("=", " ") in lines[-2] for word in words[:3]), "how to repeat it"
    assert lines[-1] == "Not tested here: a page: no browser; install one"
