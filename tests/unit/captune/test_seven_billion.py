"""`make rehearse-7b`: what a machine needs for it, the memory and time that it prints, and what stays on the disk."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captune import seven_billion
from captune.seven_billion import LEAST_DISK, LEAST_MEMORY, largest_process_bytes, lines, main, missing
from rehearsal.conductor.options import Options


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a machine that has enough of everything."""
    machine(monkeypatch)
    monkeypatch.setattr(seven_billion, "Options", partial(Options, project=tmp_path))
    return tmp_path


def machine(monkeypatch: pytest.MonkeyPatch, *, memory: int = LEAST_MEMORY, disk: int = LEAST_DISK) -> None:
    monkeypatch.setattr(seven_billion.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
    monkeypatch.setattr(seven_billion.shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))


def test_too_little_memory_is_refused_before_anything_is_made(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, memory=LEAST_MEMORY - 1)
    assert main(["--plain"]) == 2
    assert "GB of memory are free and 18 are needed" in capsys.readouterr().err
    assert list(project.iterdir()) == []


def test_the_disk_counts_only_while_the_weights_are_not_made(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(project) is None
    machine(monkeypatch, disk=LEAST_DISK - 1)
    assert "on the disk" in str(missing(project))
    (project / seven_billion.WEIGHTS / f"{seven_billion.NAME}-{seven_billion.FORM}").mkdir(parents=True)
    assert missing(project) is None


def test_the_largest_process_counts_once_it_has_ended() -> None:
    subprocess.run([sys.executable, "-c", "held = b'x' * 300_000_000"], check=True)
    assert 300_000_000 < largest_process_bytes() < 2**40


def test_what_was_measured_is_printed() -> None:
    summary = {
        "training": {"steps": 17, "tokens_seen": 2000, "tokens_per_second": 16.7, "peak_memory_bytes": 14_800_000_000},
        "seconds_by_state": {"Preflight": 1.5},
        "prompts": [{"base": {"greedy": {"text": "a"}}, "tuned": {"greedy": {"text": tuned}}} for tuned in "ab"],
    }
    printed = "\n".join(lines(summary))
    for part in (
        "Memory of the largest process: ", "Preflight                1.5 s", "17 steps, 2000 tokens, 16.7 tokens/s",
        "peak 14.8 GB", "differ: 1 of 2",
    ):  # fmt: skip
        assert part in printed


class Conductor:
    """Takes the place of a run, and ends early, with nothing measured."""

    def __init__(self, options: Options, display: Any, keep: Any, check: Any, *, model: Any) -> None:
        self.summary: dict[str, Any] = {}

    def run(self) -> int:
        return 0


@pytest.mark.parametrize("remove", [False, True])
def test_the_weights_stay_for_the_next_time_unless_they_are_to_go(
    remove: bool, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = project / "weights"
    weights.mkdir()
    monkeypatch.setattr(seven_billion, "ensure_large_model", lambda cache: weights)
    monkeypatch.setattr(seven_billion, "Conductor", Conductor)
    assert main(["--plain", *(["--remove"] if remove else [])]) == 0
    assert "Memory of the largest process: " in (said := capsys.readouterr().out) and "None" not in said
    assert ("have the 13.5 GB back" in said, weights.is_dir()) == (not remove, not remove)
