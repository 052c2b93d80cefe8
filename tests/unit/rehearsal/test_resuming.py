"""The checkpoints of a rehearsal that was stopped or killed wait for `captune rehearse --resume`, and go when a training completes."""

import json
from pathlib import Path

import pytest
import typer

from rehearsal.conductor import folders, options, resuming
from rehearsal.conductor.options import parse

OLD, NEW, RUNNING = (f"rehearsal-2026010{day}-030405-000{day}" for day in (1, 2, 3))
WORDS = ["--quick", "--epochs", "2"]


@pytest.fixture(autouse=True)
def one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.psutil, "pids", lambda: [3])


def killed(project: Path, name: str, *, whole: bool = True) -> Path:
    """The folder of a rehearsal that was killed after a checkpoint, or while it wrote one."""
    host = resuming.begin(project, name, WORDS) / "algo-1"
    (host / "checkpoint-7").mkdir(parents=True, exist_ok=True)
    (host / "checkpoint-7" / ("manifest.json" if whole else "optimizer.pt")).write_text("{}")
    (host / "starts.json").write_text(json.dumps({"count": 2, "seconds": 900.0, "precision": "bfloat16"}))
    return host.parents[1]


def test_the_newest_whole_checkpoint_of_a_rehearsal_that_is_over_is_offered(tmp_path: Path) -> None:
    assert resuming.newest(tmp_path) is None
    old = killed(tmp_path, OLD)
    killed(tmp_path, NEW, whole=False)
    killed(tmp_path, RUNNING)
    assert resuming.newest(tmp_path) == old
    assert resuming.arguments_of(old) == WORDS
    new = killed(tmp_path, NEW)
    assert resuming.newest(tmp_path) == new


def test_the_next_job_has_the_checkpoints_and_its_whole_time(tmp_path: Path) -> None:
    old = killed(tmp_path, OLD)
    job = resuming.begin(tmp_path, NEW, WORDS, old)
    assert not old.exists() and (job / "algo-1" / "checkpoint-7" / "manifest.json").is_file()
    starts = json.loads((job / "algo-1" / "starts.json").read_text())
    assert starts == {"count": 2, "seconds": 0.0, "precision": "bfloat16"}


def test_a_stopped_rehearsal_leaves_its_checkpoints_and_those_of_others(tmp_path: Path) -> None:
    old, new = killed(tmp_path, OLD), killed(tmp_path, NEW)
    assert resuming.end(tmp_path, NEW)
    assert old.is_dir() and new.is_dir()


def test_one_without_a_checkpoint_leaves_nothing_and_removes_nothing_else(tmp_path: Path) -> None:
    old, new = killed(tmp_path, OLD), killed(tmp_path, NEW, whole=False)
    assert not resuming.end(tmp_path, NEW)
    assert old.is_dir() and not new.exists()


def test_a_completed_training_removes_the_checkpoints_of_all_that_are_over(tmp_path: Path) -> None:
    old, running = killed(tmp_path, OLD), killed(tmp_path, RUNNING)
    job = resuming.begin(tmp_path, NEW, WORDS)
    job.rmdir()  # as the host of the job does
    assert not resuming.end(tmp_path, NEW)
    assert not old.exists() and not job.parent.exists() and running.is_dir()


def test_resume_repeats_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "PROJECT", tmp_path)
    old = killed(tmp_path, OLD)
    again, first = parse(["--resume"]), parse(WORDS)
    assert (again.resumed, first.resumed) == (old, None)
    assert (again.quick, again.input, again.arguments) == (True, {"epochs": 2}, WORDS) == (
        first.quick, first.input, first.arguments,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "arguments", "told"),
    [
        (["--resume"], None, "no rehearsal was interrupted after a checkpoint"),
        (["--resume", "--quick"], "[]", "leave out the others"),
        (["--resume"], "not JSON", "start a new one"),
    ],
)
def test_what_cannot_be_resumed_is_said(
    words: list[str],
    arguments: str | None,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options, "PROJECT", tmp_path)
    if arguments is not None:
        (killed(tmp_path, OLD) / "arguments.json").write_text(arguments)
    with pytest.raises(typer.BadParameter, match=told):
        parse(words)
