"""The pieces of the deploy check: installed programs, commands that end, and processes that are ended."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.account import assembly
from verification.conformance import programs
from verification.conformance.deploy import account
from verification.conformance.programs import PROJECT, CannotRun, StepFailed

PYTHON = sys.executable


def test_a_rehearsal_synthesizes_as_for_the_locked_cdk() -> None:
    version = programs.locked_version(PROJECT, "aws-cdk")

    assert f'"CDK_CLI_VERSION": "{version}"' in inspect.getsource(assembly)


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import sys; print('no access'); sys.exit(3)", r"try ended with code 3: no access .*try\.log"),
        ("import time; time.sleep(600)", r"did not end .*try\.log"),
    ],
)
def test_a_command_that_fails_or_hangs_is_an_error(
    code: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PATIENCE_SECONDS", 2)

    with pytest.raises(StepFailed, match=named):
        programs.run([PYTHON, "-c", code], {}, tmp_path / "try.log")


def test_a_process_is_ended_with_its_children() -> None:
    # The child holds the pipe open: it ends when both are gone.
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    process = subprocess.Popen([PYTHON, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"

    account.end(process)
    account.end(process)  # once more harms nothing

    assert process.stdout.read() == b""


def test_packages_are_installed_again_only_when_their_list_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "FOREIGN", tmp_path / "foreign")
    for file in ("package.json", "package-lock.json"):
        (tmp_path / file).write_text("{}", encoding="utf-8")

    def install(npm: str) -> Path:
        monkeypatch.setattr(programs, "beside_python", lambda _: Path(str(shutil.which(npm))))
        return programs.node_packages(tmp_path, "packages")

    with pytest.raises(CannotRun, match="package-lock.json could not be installed"):
        install("false")
    assert install("true") == install("false")
    (tmp_path / "package-lock.json").write_text("{ }", encoding="utf-8")
    with pytest.raises(CannotRun):
        install("false")
