"""A folder per part under .rehearsal/: the code as mutmut wants it, the tests, and mutmut itself beside our own environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from code_mutations.parts import DOUBLES, LAMBDAS, PROJECT, TESTS, Part

FOLDER = PROJECT / ".rehearsal" / "mutations"
_PINNED = PROJECT / "requirements/mutation.txt"
# What the tests import or read beside the Lambdas.
_BESIDE = ("proof", "stacks", "training")
_STAMP = "installed-from"  # holds the hash of the list that the packages were installed from
# Properties are tried with fewer examples, and with the same ones for every mutant: no mutant dies by chance. mutmut runs a
# class of tests many times in one process, which is what differing_executors warns of. Quick tests go first: most mutants die
# of any test that reaches them.
_CONFTEST = """import json
from pathlib import Path

from hypothesis import HealthCheck, settings

checks = [HealthCheck.differing_executors, HealthCheck.too_slow]
settings.register_profile(
    "mutations", derandomize=True, database=None, max_examples=50, deadline=None, suppress_health_check=checks
)
settings.load_profile("mutations")


def pytest_collection_modifyitems(items):
    for notes in (Path("mutmut-stats.json"), Path("mutants/mutmut-stats.json")):
        if notes.is_file():
            seconds = json.loads(notes.read_text("utf-8"))["duration_by_test"]
            items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
"""
# mutmut takes a module's name from its path and leaves out a leading src/, so lambdas/ is called src/ here.
_CONFIGURATION = """[tool.mutmut]
source_paths = ["src"]
only_mutate = {sources}
also_copy = {beside}
pytest_add_cli_args = {arguments}
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
use_setproctitle = false

[tool.pytest.ini_options]
pythonpath = [".", "src"]
addopts = "--import-mode=importlib"
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

    @property
    def arguments(self) -> list[str]:
        """What pytest is told beside the tests."""
        chosen = ["-k", self.part.chosen] if self.part.chosen else []
        return ["-p", "no:cacheprovider", *chosen]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a Python module with mutmut at hand and without our own copy of the Lambdas. Raises CannotMutate when it fails."""
        path = os.pathsep.join((str(packages()), str(PROJECT)))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        # To look for the plugins of an environment takes as long as the tests of most mutants.
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=self.folder, env=environment, text=True, capture_output=True
        )
        if done.returncode != 0:
            raise CannotMutate(f"{' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done


def packages() -> Path:
    """Returns the folder that holds mutmut and what it needs beyond requirements/dev.txt, installed once from a pinned list.

    Raises CannotMutate with pip's last words. It is no part of the environment: none of the other commands needs it.
    """
    folder = FOLDER / "packages"
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
    """Copies code and tests of a part. With `again`, what was found of a function is kept while the function is the same."""
    folder = FOLDER / part.name
    if not again:
        shutil.rmtree(folder, ignore_errors=True)
    beside = [(PROJECT / name, name) for name in _BESIDE]
    for source, name in [(LAMBDAS, "src"), (TESTS, "tests/unit"), (DOUBLES, "tests/doubles"), *beside]:
        _bring_up_to_date(source, folder / name)
    (folder / "tests" / "__init__.py").touch()  # else our own tests, further down the path, would be imported
    (folder / "tests" / "conftest.py").write_text(_CONFTEST, "utf-8")
    place = Workplace(part, folder)
    sources = [f"src/{name}" for name in part.source_files()]
    configuration = _CONFIGURATION.format(
        sources=sources, beside=list(_BESIDE), arguments=place.arguments, tests=place.tests
    )
    (folder / "pyproject.toml").write_text(configuration, "utf-8")
    return place


def _bring_up_to_date(source: Path, copy: Path) -> None:
    """Copies what differs and removes what is gone: a file that is newer than its mutants is mutated anew."""
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for old in [path for path in copy.rglob("*") if path.is_file() and path.relative_to(copy) not in files]:
        old.unlink()
    for file in sorted(files):
        target = copy / file
        if not target.is_file() or target.read_bytes() != (source / file).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target)
