"""A folder per part under .rehearsal/: the code as mutmut wants it, the tests, and mutmut itself beside our own environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from code_mutations.parts import LAMBDAS, PROJECT, TESTS, Part

_FOLDER = PROJECT / ".rehearsal" / "mutations"
_PINNED = PROJECT / "requirements-mutation.txt"
_STAMP = "installed-from"  # holds the hash of the list that the packages were installed from
# Properties are tried with fewer examples, and with the same ones for every mutant: no mutant dies by chance. mutmut runs a
# class of tests many times in one process, which is what differing_executors warns of.
_CONFTEST = """from hypothesis import HealthCheck, settings

checks = [HealthCheck.differing_executors, HealthCheck.too_slow]
settings.register_profile(
    "mutations", derandomize=True, database=None, max_examples=50, deadline=None, suppress_health_check=checks
)
settings.load_profile("mutations")
"""
# mutmut takes a module's name from its path and leaves out a leading src/, so lambdas/ is called src/ here.
_CONFIGURATION = """[tool.mutmut]
source_paths = ["src"]
only_mutate = {sources}
also_copy = ["proof"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
use_setproctitle = false

[tool.pytest.ini_options]
pythonpath = [".", "src"]
"""


class CannotMutate(RuntimeError):
    """The tool could not be installed or did not run; the message holds its last words."""


@dataclass(frozen=True)
class Workplace:
    """Where one part is mutated."""

    part: Part
    folder: Path

    @property
    def sources(self) -> Path:
        """The copy of lambdas/."""
        return self.folder / "src"

    @property
    def tests(self) -> list[str]:
        """The tests, relative to the folder."""
        return [f"tests/unit/{name}" for name in self.part.test_files()]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a Python module with mutmut at hand and without our own copy of the Lambdas. Raises CannotMutate when it fails."""
        path = os.pathsep.join((str(packages()), str(PROJECT)))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=self.folder, env=environment, text=True, capture_output=True
        )
        if done.returncode != 0:
            raise CannotMutate(f"{' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done


def packages() -> Path:
    """Returns the folder that holds mutmut and what it needs beyond requirements.txt, installed once from a pinned list.

    Raises CannotMutate with pip's last words. It is no part of the environment: none of the other commands needs it.
    """
    folder = _FOLDER / "packages"
    digest = hashlib.sha256(_PINNED.read_bytes()).hexdigest()
    stamp = folder / _STAMP
    if stamp.is_file() and stamp.read_text("utf-8") == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    install = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [sys.executable, "-m", *install, "--target", str(folder), "-r", str(_PINNED)], text=True, capture_output=True
    )
    if done.returncode != 0:
        raise CannotMutate(f"{_PINNED.name} could not be installed:\n{done.stderr[-2000:]}")
    stamp.write_text(digest, "utf-8")
    return folder


def prepare(part: Part, again: bool) -> Workplace:
    """Copies code and tests of a part. With `again`, what was found before is kept as long as the code is still the same."""
    folder = _FOLDER / part.name
    keep = again and folder.is_dir() and _same(part, folder / "src")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(LAMBDAS, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for source, name in ((TESTS, "tests/unit"), (PROJECT / "proof", "proof")):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests" / "conftest.py").write_text(_CONFTEST, "utf-8")
    place = Workplace(part, folder)
    sources = [f"src/{name}" for name in part.source_files()]
    (folder / "pyproject.toml").write_text(_CONFIGURATION.format(sources=sources, tests=place.tests), "utf-8")
    return place


def _same(part: Part, copy: Path) -> bool:
    return all(
        (copy / name).is_file() and (copy / name).read_bytes() == (LAMBDAS / name).read_bytes()
        for name in part.source_files()
    )
