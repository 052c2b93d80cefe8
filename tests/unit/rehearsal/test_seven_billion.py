"""The rehearsal with a model of the real size: what it needs, and what it prints. The run itself is no test: it takes half an hour."""

from __future__ import annotations

from collections import namedtuple
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rehearsal import seven_billion
from rehearsal.conductor.options import Options
from rehearsal.memory_watch import OWN, Memory, MemoryWatch, Reading
from rehearsal.models import model_folders
from rehearsal.seven_billion import LEAST_DISK, LEAST_MEMORY, TimedDisplay, lines, main, missing

Machine = namedtuple("Machine", "available")
Disk = namedtuple("Disk", "total used free")


def machine(monkeypatch: pytest.MonkeyPatch, *, memory: int = LEAST_MEMORY, disk: int = LEAST_DISK) -> None:
    monkeypatch.setattr(seven_billion.psutil, "virtual_memory", lambda: Machine(memory))
    monkeypatch.setattr(seven_billion.shutil, "disk_usage", lambda _: Disk(0, 0, disk))


def test_a_machine_that_can_do_it_lacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert missing(tmp_path) is None


def test_too_little_memory_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, memory=LEAST_MEMORY - 1)
    monkeypatch.setattr(seven_billion, "Options", partial(Options, project=tmp_path))
    assert main(["--plain"]) == 2
    assert "GB of memory are free and 18 are needed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_disk_counts_only_while_the_weights_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, disk=LEAST_DISK - 1)
    assert "on the disk" in str(missing(tmp_path))
    (tmp_path / seven_billion.CACHE / f"{seven_billion.NAME}-1").mkdir()
    assert missing(tmp_path) is None


def test_what_a_killed_process_left_half_made_does_not_count_as_made_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, disk=LEAST_DISK - 1)
    monkeypatch.setattr(model_folders.psutil, "pid_exists", lambda _: False)
    partial = tmp_path / seven_billion.CACHE / f".{seven_billion.NAME}-123-abc"
    partial.mkdir(parents=True)

    assert "on the disk" in str(missing(tmp_path))
    assert not partial.exists()


def test_it_is_this_checkout_that_is_rehearsed_from_wherever_it_is_called() -> None:
    assert (Options().project / "cdk.json").is_file() and Options().project.is_absolute()


def answer(text: str, seconds: float) -> dict[str, Any]:
    return {"greedy": {"text": text}, "seconds": seconds}


def test_what_was_measured_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 20.0, 50.0])
    monkeypatch.setattr(seven_billion.time, "monotonic", lambda: next(moments))
    display = TimedDisplay(plain=True)
    monkeypatch.setattr(seven_billion.Display, "training", lambda self, line: None)
    for line in (
        "phase name=load",
        "memory needed_gb=15.3",
        "phase name=train",
        "adapter bytes=79953920",
        "finished seconds=50.0",
    ):
        display.training(line)
    watch = MemoryWatch(
        read=lambda: [Reading("train.py", Memory(2**30, 13 * 2**30)), Reading(OWN, Memory(2**30))],
        available=lambda: 4 * 2**30,
    )
    watch.look()
    summary = {
        "training": {"steps": 17, "tokens_seen": 2000, "tokens_per_second": 16.7, "peak_memory_bytes": 14_800_000_000},
        "seconds_by_state": {"Preflight": 1.5},
        "prompts": [
            {"base": answer("a", seconds=1.0), "tuned": answer("b", seconds=2.0)},
            {"base": answer("a", seconds=1.0), "tuned": answer("a", seconds=2.0)},  # only the text counts
        ],
    }
    told = "\n".join(lines(display, watch, summary))
    for part in (
        "training                   1.00         13.00", "2.00; least left for others 4.00 GiB", "load                     20.0 s",
        "train                    30.0 s", "Preflight                1.5 s", "17 steps, 2000 tokens, 16.7 tokens/s",
        "planned 15.3 GB, peak 14.8 GB", "Adapter: 79,953,920 bytes", "differ: 1 of 2",
    ):  # fmt: skip
        assert part in told


class Conductor:
    """Takes the place of a run: makes the weights' folder, and has measured nothing."""

    def __init__(self, options: Options, display: TimedDisplay, *, model: Any) -> None:
        self.summary: dict[str, Any] = {}
        self._made = options.project / seven_billion.CACHE / f"{model.name}-1"

    def run(self) -> int:
        self._made.mkdir(parents=True, exist_ok=True)
        return 0


@pytest.mark.parametrize("remove", [False, True])
def test_the_weights_stay_for_the_next_time_unless_they_are_to_go(
    remove: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(seven_billion, "Options", partial(Options, project=tmp_path))
    monkeypatch.setattr(seven_billion, "Conductor", Conductor)

    assert main(["--plain", *(["--remove"] if remove else [])]) == 0

    assert "Peak memory in GiB" in (said := capsys.readouterr().out)
    assert ("have the 13.5 GB back" in said) != remove
    assert (tmp_path / seven_billion.CACHE / f"{seven_billion.NAME}-1").is_dir() != remove


def test_a_run_that_ended_early_is_printed_as_far_as_it_came() -> None:
    told = "\n".join(lines(TimedDisplay(plain=True), MemoryWatch(), {}))
    assert "Adapter: 0 bytes" in told
    assert "None" not in told
