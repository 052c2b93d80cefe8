"""The packages of the functions that render: fetched by hash for Lambda, the versions of this environment, and a clear end where that fails."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stacks import lambda_code
from tests.doubles.machines.stacks_bench import ROOT, Stacks

BUNDLE = ROOT / "requirements" / "bundle.txt"


def test_a_package_is_fetched_by_its_hash_at_the_version_that_is_tested_here() -> None:
    pinned = re.findall(r"^(\S+==\S+) \\\n {4}--hash=sha256:", BUNDLE.read_text("utf-8"), re.M)
    assert [name.partition("==")[0] for name in pinned] == ["jinja2", "markupsafe", "typst"]
    tested = (ROOT / "requirements" / "constraints.txt").read_text("utf-8").casefold().split()
    assert set(pinned) <= set(tested)
    command = lambda_code.pip_command("target", BUNDLE)
    assert {"--require-hashes", "--only-binary=:all:", "--platform=manylinux2014_aarch64"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.14"


def test_the_code_stands_beside_its_packages_without_what_python_leaves_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "code" / "handler.py").write_text("")
    ended = {"returncode": 0}

    def pip(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, ended["returncode"], "", "no such host")

    monkeypatch.setattr(subprocess, "run", pip)
    packages = lambda_code.Packages(tmp_path / "code", BUNDLE)
    assert packages.try_bundle(str(tmp_path / "out"), None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["handler.py"]
    ended["returncode"] = 1
    with pytest.raises(
        SystemExit, match=r"requirements/bundle\.txt.*could not be fetched.*run the same command again.*no such host"
    ):
        packages.try_bundle(str(tmp_path / "out"), None)


def test_a_synthesis_without_bundling_gives_all_functions_the_same_code(stacks: Stacks) -> None:
    assert len({str(function["Code"]) for function in stacks.functions().values()}) == 1
