"""The gates that are a tool of others: what each is called with, and what its words say."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import CompletedProcess

from gates import licences
from gates.licences import PROJECT

Ended = CompletedProcess[str]

CODE = [
    "app.py",
    "stacks",
    "lambdas",
    "training",
    "rehearsal",
    "proof",
    "operations",
    "evidence",
    "conformance",
    "code_mutations",
    "gates",
    "captune",
]
# Of the tokens of all code. What stands twice today does so on purpose: training/ imports nothing from outside its folder.
MOST_DUPLICATES_PERCENT = 0.5
# Not searched for secrets: hashes of packages, texts, and what programs wrote. Long strings of letters are no secret by themselves.
WITHOUT_SECRETS = (
    r"(^requirements.*\.txt$|package-lock\.json$|^data/|^results/|^verification/experiments/texts/|\.snap$|/snapshots/)"
)


@dataclass(frozen=True)
class Outcome:
    """What a gate found; `words` are the tool's own, where a person has something to mend."""

    passed: bool
    count: str
    words: str = ""


@dataclass(frozen=True)
class Check:
    """One gate: a program of the environment with its arguments, and what its end means."""

    name: str
    command: tuple[str, ...]
    judge: Callable[[Ended], Outcome]


def _by_exit_code(done: Ended, count: str) -> Outcome:
    return Outcome(done.returncode == 0, count, "" if done.returncode == 0 else done.stdout + done.stderr)


def _first_number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else "0"


def formatted(done: Ended) -> Outcome:
    """ruff format."""
    wrong = _first_number(r"(\d+) files? would be reformatted", done.stdout)
    right = _first_number(r"(\d+) files? already formatted", done.stdout)
    return _by_exit_code(done, f"{wrong} of {int(wrong) + int(right)} files to format")


def linted(done: Ended) -> Outcome:
    """ruff check."""
    found = _first_number(r"Found (\d+) error", done.stdout)
    return _by_exit_code(done, f"{found} findings")


def typed(done: Ended) -> Outcome:
    """mypy, strict."""
    errors, files = _first_number(r"Found (\d+) error", done.stdout), _first_number(r"(\d+) source files?", done.stdout)
    return _by_exit_code(done, f"{errors} errors in {files} files, strict, tests included")


def without_duplicates(done: Ended) -> Outcome:
    """lizard, whose exit code tells of long functions and not of duplicates."""
    rate = re.search(r"Total duplicate rate: ([\d.]+)%", done.stdout)
    if rate is None:
        return Outcome(False, "no rate was told", done.stdout[-2000:] + done.stderr)
    blocks = done.stdout.count("Duplicate block:")
    passed = float(rate.group(1)) <= MOST_DUPLICATES_PERCENT
    words = "" if passed else done.stdout.partition("Duplicates\n")[2]
    return Outcome(
        passed,
        f"{blocks} blocks stand twice, {rate.group(1)} % of the code (at most {MOST_DUPLICATES_PERCENT} %)",
        words,
    )


def licensed(done: Ended) -> Outcome:
    """pip-licenses."""
    if done.returncode:
        return _by_exit_code(done, "no list")
    packages = licences.read(done.stdout)
    refused = [package for package in packages if not package.is_allowed]
    words = "\n".join(f"{package.name} {package.version}: {package.licence}" for package in refused)
    return Outcome(
        not refused, f"{len(refused)} of {len(packages)} packages neither permissive nor weak copyleft", words
    )


def without_secrets(done: Ended) -> Outcome:
    """detect-secrets."""
    if done.returncode:
        return _by_exit_code(done, "not searched")
    if not _tracked():
        return Outcome(False, "not searched", "git names no file here, and only what it tracks is searched")
    found = json.loads(done.stdout)["results"]
    words = [f"{file}:{one['line_number']}: {one['type']}" for file, all_ in sorted(found.items()) for one in all_]
    return Outcome(not words, f"{len(words)} found", "\n".join(words))


def _tracked() -> bool:
    """Whether git names any file: outside a checkout, and in one that it does not trust, the search finds nothing and says so nowhere."""
    return bool(subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, check=False).stdout)


ALL = (
    Check("format", ("ruff", "format", "--check", "."), formatted),
    Check("lint", ("ruff", "check", "."), linted),
    Check("types", ("mypy",), typed),
    Check("duplicates", ("lizard", "-Eduplicate", "-l", "python", "-i", "-1", *CODE), without_duplicates),
    Check("licences", licences.LISTING, licensed),
    Check(
        "secrets",
        (
            "detect-secrets", "scan", "--no-verify", "--exclude-files", WITHOUT_SECRETS,
            "--disable-plugin", "HexHighEntropyString", "--disable-plugin", "Base64HighEntropyString",
        ),
        without_secrets,
    ),
)  # fmt: skip
NAMES = tuple(check.name for check in ALL)
