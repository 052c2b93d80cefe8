"""The real model server's environment is made once from its requirements, and anew after a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.vllm import environment
from rehearsal.sagemaker.vllm.environment import (
    DEPLOYED,
    MEND,
    NEWEST,
    REQUIREMENTS,
    TORCH,
    VllmMissing,
    interpreter,
    main,
    make,
)

# Plays the environment's Python: writes down what pip is to install, and fails where it meets the word in `refuse`.
PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *"{refused}"*) exit 1;; esac
"""


class Machine:
    """A Linux machine whose virtual environments hold a program that plays Python."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log, self.folder, self.refused = folder / "log", folder / "vllm", "nothing at all"
        monkeypatch.setattr("platform.system", lambda: "Linux")
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        monkeypatch.setattr(environment.venv, "create", self._create)

    def _create(self, folder: Path, **_: Any) -> None:
        program = folder / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(PYTHON.format(log=self.log, refused=self.refused))
        program.chmod(0o755)

    def installed(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.is_file() else []
        return [line.removeprefix("-m pip install --quiet --disable-pip-version-check ") for line in lines]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_it_is_made_once_with_torch_first_and_all_else_by_its_hash(machine: Machine) -> None:
    for _ in range(2):
        assert main(["--folder", str(machine.folder)]) == 0
    deployed = REQUIREMENTS.with_name(f"vllm-{DEPLOYED}.txt")
    assert machine.installed() == [TORCH, f"--no-deps --require-hashes -r {REQUIREMENTS} -r {deployed}"]
    assert interpreter(machine.folder) == machine.folder / "bin" / "python"


def test_other_requirements_make_it_anew_without_the_old_files(machine: Machine) -> None:
    make(machine.folder)
    (machine.folder / "made-from").write_text("older requirements")
    (machine.folder / "left-over").touch()
    make(machine.folder)
    assert len(machine.installed()) == 4
    assert not (machine.folder / "left-over").exists()


def test_the_newest_version_is_another_environment(machine: Machine) -> None:
    make(machine.folder)
    with pytest.raises(VllmMissing, match="older requirements"):
        interpreter(machine.folder, NEWEST)
    make(machine.folder, NEWEST)
    assert machine.installed()[-1].endswith(f"vllm-{NEWEST}.txt")


@pytest.mark.parametrize("refused", ["torch", "require-hashes"])
def test_where_pip_fails_the_environment_does_not_count_as_made(
    machine: Machine, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refused = refused
    assert main(["--folder", str(machine.folder)]) == 1
    told = capsys.readouterr().err
    assert "pip could not install" in told
    assert MEND in told
    with pytest.raises(VllmMissing, match="not installed"):
        interpreter(machine.folder)
