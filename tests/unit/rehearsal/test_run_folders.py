"""What a killed rehearsal has left goes when the next one begins; what runs, and what is kept on purpose, stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rehearsal.conductor import run_folders
from rehearsal.conductor.run_folders import RunFolders, clear_abandoned, new_name

KILLED = "rehearsal-20260102-030405-0002"


def left(project: Path, name: str, with_assembly: bool = True) -> RunFolders:
    """The folders of a rehearsal that is under way, or was killed."""
    folders = RunFolders(project, name)
    (folders.account / "lambda" / "logs").mkdir(parents=True)
    (folders.account / "lambda" / "logs" / "Ask.log").write_text("asked")
    (folders.account / "sagemaker").mkdir()
    if with_assembly:
        folders.assembly.mkdir()
    return folders


@pytest.mark.parametrize("with_assembly", [True, False])
def test_of_a_killed_rehearsal_the_assembly_and_the_logs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_assembly: bool
) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", lambda: [1, os.getpid()])
    killed = left(tmp_path, KILLED, with_assembly)
    clear_abandoned(tmp_path)
    assert (killed.logs / "Ask.log").read_text() == "asked"
    assert killed.account.exists() == with_assembly
    assert not (killed.account / "sagemaker").exists()


@pytest.mark.parametrize(
    ("name", "running"), [(KILLED, 4_190_002), (new_name(), os.getpid()), ("rehearsal-of-mine", 1)],
    ids=["its process runs: a name has the last four digits", "this process", "it is no rehearsal's"],
)  # fmt: skip
def test_other_folders_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, running: int) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", lambda: [running])
    other = left(tmp_path, name)
    clear_abandoned(tmp_path)
    assert (other.account / "sagemaker").is_dir()
