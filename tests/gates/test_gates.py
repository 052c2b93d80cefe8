"""The gates: what they read in the words of each tool, and that what they do not understand is not passed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gates import __main__ as command
from gates import checks, coverage_floor
from gates.checks import Check, Outcome
from gates.licences import LISTING, PROJECT, REQUIREMENT, REQUIREMENTS, Package, notices, read


def ended(stdout: str, code: int = 0) -> CompletedProcess[str]:
    return CompletedProcess([], code, stdout, "")


@pytest.mark.parametrize(
    ("judge", "said", "code", "passed", "count"),
    [
        (checks.formatted, "600 files already formatted\n", 0, True, "0 of 600 files"),
        (checks.formatted, "2 files would be reformatted, 598 files already formatted\n", 1, False, "2 of 600 files"),
        (checks.linted, "All checks passed!\n", 0, True, "0 findings"),
        (checks.linted, "E501 …\nFound 3 errors.\n", 1, False, "3 findings"),
        (checks.typed, "Success: no issues found in 572 source files\n", 0, True, "0 errors in 572 files"),
        (checks.typed, "Found 4 errors in 2 files (checked 572 source files)\n", 1, False, "4 errors in 572 files"),
        (checks.without_duplicates, "Total duplicate rate: 0.17%\n", 1, True, "0 blocks stand twice, 0.17 %"),
        (checks.without_duplicates, "Duplicate block:\nTotal duplicate rate: 0.51%\n", 0, False, "1 blocks stand twice"),
        (checks.without_duplicates, "no such option", 2, False, "no rate"),
        (checks.without_secrets, '{"results": {}}', 0, True, "0 found"),
        (checks.without_secrets, "", 1, False, "not searched"),
        (checks.licensed, "", 1, False, "no list"),
    ],
)  # fmt: skip
def test_a_tools_words_become_one_line(judge: object, said: str, code: int, passed: bool, count: str) -> None:
    assert callable(judge)
    outcome: Outcome = judge(ended(said, code))
    assert (outcome.passed, outcome.count.startswith(count)) == (passed, True), outcome


def test_where_git_names_no_file_nothing_was_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PROJECT", tmp_path)
    outcome = checks.without_secrets(ended('{"results": {}}'))
    assert (outcome.passed, outcome.count) == (False, "not searched")


def test_a_secret_is_told_with_its_place() -> None:
    found = {"results": {"a.py": [{"line_number": 3, "type": "AWS Access Key"}]}}
    outcome = checks.without_secrets(ended(json.dumps(found)))
    assert (outcome.passed, outcome.words) == (False, "a.py:3: AWS Access Key")


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT License", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("LGPL-2.1", True),
        ("GPL-3.0", False),
        ("GNU Affero General Public License", False),
        ("AGPL-3.0 AND MIT", False),
        ("MIT AND Proprietary", False),
        ("Apache-2.0; CC-BY-NC-4.0", False),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("UNKNOWN", False),
        ("LIMITED", False),
    ],
)
def test_a_licence_is_permissive_or_weak_copyleft(licence: str, allowed: bool) -> None:
    assert Package("x", "1", licence).is_allowed is allowed


def listed(*packages: tuple[str, str]) -> str:
    return json.dumps([{"Name": name, "Version": "1", "License": licence} for name, licence in packages])


def test_what_the_environment_holds_is_judged_but_for_ourselves_and_what_torch_brings() -> None:
    outcome = checks.licensed(
        ended(listed(("captune", "?"), ("nvidia-cublas", "its own"), ("a", "MIT"), ("b", "GPL-3.0")))
    )
    assert (outcome.passed, outcome.words) == (False, "b 1: GPL-3.0")
    assert outcome.count.startswith("1 of 2 packages")


def test_the_notices_name_what_is_pinned_and_nothing_else() -> None:
    told = notices(read(listed(("Some_Package", "MIT"), ("stray", "MIT"))), "# made by\nsome-package==1\n")
    assert "| Some_Package | 1 | MIT |" in told and "stray" not in told


@pytest.mark.slow
def test_every_package_that_is_asked_for_by_name_is_among_those_whose_licence_is_looked_at() -> None:
    tool = str(Path(sys.executable).parent / LISTING[0])
    listed = subprocess.run([tool, *LISTING[1:]], capture_output=True, text=True, check=True).stdout
    asked = "".join(
        (PROJECT / name).read_text("utf-8") for name in REQUIREMENTS if name != "requirements/constraints.txt"
    )
    told = notices(read(listed), asked)
    assert [found["name"] for found in REQUIREMENT.finditer(asked) if f"| {found['name']} |" not in told] == []


def test_the_notices_give_a_range_where_no_version_is_pinned() -> None:
    told = notices(
        read(listed(("torch", "BSD-3-Clause"), ("moto", "MIT"))), "torch>=2.6,<2.14\nmoto[server]==5.2.5  # S3\n"
    )
    assert "| torch | >=2.6,<2.14 | BSD-3-Clause |" in told and "| moto | 5.2.5 | MIT |" in told


def test_one_gate_that_fails_fails_the_command_and_the_rest_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_words = ("python", "-c", "print('words')")
    bad = Check("bad", print_words, lambda done: Outcome(False, "1 thing", done.stdout))
    good = Check("good", print_words, lambda done: Outcome(True, "1 thing"))
    monkeypatch.setattr(checks, "ALL", (bad, good))
    assert command.main(["--tests", "none"]) == 1
    assert [line.split("  (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "words", "bad        FAILED  1 thing", "good       passed  1 thing",
    ]  # fmt: skip


def measured(**folders: tuple[int, int]) -> str:
    """A report in which each folder has one file with so many of ten lines, and so many of ten branches, reached."""
    return json.dumps(
        {
            "files": {
                f"{folder}/a.py": {
                    "summary": {
                        "num_statements": 10, "covered_lines": lines, "num_branches": 10, "covered_branches": branches,
                    }
                }
                for folder, (lines, branches) in folders.items()
            }
        }
    )  # fmt: skip


def test_coverage_counts_lines_and_branches_of_each_folder() -> None:
    report = measured(stacks=(10, 8), lambdas=(9, 9))
    outcome = coverage_floor.judge(report, {"stacks": 90, "lambdas": 89})
    assert outcome == Outcome(True, "stacks 90.0 % (at least 90 %), lambdas 90.0 % (at least 89 %)")


def test_one_folder_below_its_floor_is_too_little_and_so_is_one_that_was_not_measured() -> None:
    report = measured(stacks=(10, 10), lambdas=(10, 7))
    assert coverage_floor.judge(report, {"stacks": 100, "lambdas": 85}).passed
    assert not coverage_floor.judge(report, {"stacks": 100, "lambdas": 86}).passed
    assert not coverage_floor.judge(report, {"stacks": 90, "training": 1}).passed


def test_the_fast_tests_alone_have_to_reach_nearly_all_that_decides_over_money() -> None:
    fast, every = coverage_floor.BY_THE_FAST_TESTS, coverage_floor.BY_EVERY_TEST
    assert fast.keys() == every.keys() == {"stacks", "lambdas", "rehearsal", "training"}
    assert min(fast["stacks"], fast["lambdas"]) >= min(every.values()) >= 90


@pytest.mark.parametrize(
    ("arguments", "is_measured"),
    [
        ([], True),  # make check
        (["--no-coverage"], False),
        (["--tests", "usual"], False),  # make test
        (["--only", "tests", "--tests", "thorough"], False),  # make test-thorough
        (["--only", "tests"], False),  # make test-fast
        (["--only", "tests", "--tests", "all", "--coverage"], True),  # make coverage
    ],
)
def test_what_the_tests_reach_is_measured_where_there_is_time_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], is_measured: bool
) -> None:
    begun: list[list[str]] = []

    def run(words: list[str], **options: object) -> CompletedProcess[str]:
        begun.append(words)
        return ended("")

    monkeypatch.setattr(checks, "ALL", ())
    monkeypatch.setattr(command, "MEASURED", tmp_path / "coverage.json")
    monkeypatch.setattr("subprocess.run", run)
    command.main(arguments)
    assert [("--cov" in words) for words in begun] == [is_measured]


@pytest.mark.parametrize(
    ("which", "marked"),
    [("fast", "not slow"), ("usual", "not thorough"), ("thorough", "thorough"), ("all", None)],
)
def test_every_test_is_run_by_one_command_or_the_other(
    monkeypatch: pytest.MonkeyPatch, which: str, marked: str | None
) -> None:
    begun: list[list[str]] = []

    def run(words: list[str], **options: object) -> CompletedProcess[str]:
        begun.append(words)
        return ended("")

    monkeypatch.setattr("subprocess.run", run)
    assert command.main(["--only", "tests", "--tests", which]) == 0
    (words,) = begun
    assert words[len(command.TESTS) + 1 :] == (["-m", marked] if marked else [])


# Enough for the fast tests, which leave what trains to the slow ones, and too little for all of them.
FAST = measured(stacks=(10, 10), lambdas=(10, 10), rehearsal=(6, 6), training=(7, 7))
EVERY = measured(stacks=(9, 9), lambdas=(9, 9), rehearsal=(9, 9), training=(9, 9))


@pytest.mark.parametrize(
    ("written", "tests", "code"),
    [
        (measured(), "fast", 1), (None, "fast", 1), (FAST, "fast", 0), (FAST, "all", 1), (EVERY, "all", 0),
        (EVERY, "fast", 1),
    ],
)  # fmt: skip
def test_tests_that_pass_and_reach_too_little_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str | None, tests: str, code: int
) -> None:
    report = tmp_path / "coverage.json"

    def run(words: list[str], **options: object) -> CompletedProcess[str]:
        assert f"--cov-report=json:{report}" in words
        if written is not None:
            report.write_text(written, "utf-8")
        return ended("")

    monkeypatch.setattr(command, "MEASURED", report)
    monkeypatch.setattr("subprocess.run", run)
    assert command.main(["--only", "tests", "--tests", tests, "--coverage"]) == code
