"""What a rehearsal that was killed left is cleared away by the next one; what runs, and what is kept on purpose, stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rehearsal.conductor import run_folders
from rehearsal.conductor.run_folders import RunFolders, clear_abandoned, new_name


def left(project: Path, name: str) -> RunFolders:
    """The folders of a rehearsal that is under way, or was killed."""
    folders = RunFolders(project, name)
    (folders.account / "lambda" / "logs").mkdir(parents=True)
    (folders.account / "lambda" / "logs" / "Ask.log").write_text("asked")
    (folders.account / "sagemaker").mkdir()
    folders.assembly.mkdir()
    return folders


def test_a_killed_rehearsal_keeps_its_assembly_and_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", lambda: [1, os.getpid()])
    killed = left(tmp_path, "rehearsal-20260102-030405-0002")

    clear_abandoned(tmp_path)

    assert list(killed.account.iterdir()) == [killed.assembly]
    assert (killed.logs / "Ask.log").read_text() == "asked"


def test_without_an_assembly_nothing_of_it_stays_but_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", lambda: [1, os.getpid()])
    killed = left(tmp_path, "rehearsal-20260102-030405-0002")
    killed.assembly.rmdir()

    clear_abandoned(tmp_path)

    assert not killed.account.exists()


def test_a_running_rehearsal_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", lambda: [1, 4_190_002])  # of which a name has the last four digits
    running = left(tmp_path, "rehearsal-20260102-030405-0002")

    clear_abandoned(tmp_path)

    assert (running.account / "sagemaker").is_dir()


def test_the_name_of_this_process_is_that_of_a_running_one(tmp_path: Path) -> None:
    running = left(tmp_path, new_name())

    clear_abandoned(tmp_path)

    assert (running.account / "sagemaker").is_dir()


def test_a_folder_that_is_no_rehearsals_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folders.psutil, "pids", list)
    other = left(tmp_path, "rehearsal-of-mine")

    clear_abandoned(tmp_path)

    assert (other.account / "sagemaker").is_dir()


def test_where_nothing_ever_ran_nothing_is_made(tmp_path: Path) -> None:
    clear_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []
