"""The rehearsal with a model of the real size: what it needs, and what it prints. A run takes half an hour."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rehearsal import seven_billion
from rehearsal.conductor.options import Options
from rehearsal.memory_watch import OWN, Memory, MemoryWatch, Reading, read_processes
from rehearsal.models import model_folders
from rehearsal.seven_billion import LEAST_DISK, LEAST_MEMORY, TimedDisplay, lines, main, missing

Machine = namedtuple("Machine", "available")
Disk = namedtuple("Disk", "total used free")


def machine(monkeypatch: pytest.MonkeyPatch, *, memory: int = LEAST_MEMORY, disk: int = LEAST_DISK) -> None:
    monkeypatch.setattr(seven_billion.psutil, "virtual_memory", lambda: Machine(memory))
    monkeypatch.setattr(seven_billion.shutil, "disk_usage", lambda _: Disk(0, 0, disk))


def test_too_little_memory_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, memory=LEAST_MEMORY - 1)
    monkeypatch.setattr(seven_billion, "Options", partial(Options, project=tmp_path))
    assert main(["--plain"]) == 2
    assert "GB of memory are free and 18 are needed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_disk_counts_only_while_the_weights_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert missing(tmp_path) is None
    machine(monkeypatch, disk=LEAST_DISK - 1)
    monkeypatch.setattr(model_folders.psutil, "pid_exists", lambda _: False)
    half_made = tmp_path / seven_billion.CACHE / f".{seven_billion.NAME}-123-abc"  # by a process that was killed
    half_made.mkdir(parents=True)
    assert "on the disk" in str(missing(tmp_path))
    assert not half_made.exists()
    (tmp_path / seven_billion.CACHE / f"{seven_billion.NAME}-1").mkdir()
    assert missing(tmp_path) is None


def test_each_role_has_its_own_peak_and_the_sum_is_of_one_moment() -> None:
    moments: Iterator[list[Reading]] = iter(
        [
            [(OWN, Memory(100)), ("python -I worker.py /x", Memory(10)), ("python -I worker.py /y", Memory(20))],
            [(OWN, Memory(110)), ("python3 /tmp/job/train.py --root /tmp/job", Memory(300, 900))],
            [(OWN, Memory(90)), ("python train.py", Memory(400, 700)), ("node", Memory(5))],
        ]
    )
    left = iter([500, 50, 70])
    watch = MemoryWatch(read=lambda: next(moments), available=lambda: next(left))
    for _ in range(3):
        watch.look()
    assert watch.peaks == {
        OWN: Memory(110),
        "Lambda functions": Memory(30),
        "training": Memory(400, 900),
        "other processes": Memory(5),
    }
    assert (watch.peak_own, watch.least_available) == (495, 50)


def test_this_process_is_read_at_least_once() -> None:
    (own,) = [memory for command, memory in read_processes() if command == OWN]
    assert own.own > 1_000_000
    with MemoryWatch() as watch:
        pass
    assert watch.peak_own > 0
    assert not watch._thread.is_alive()


def test_what_was_measured_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 20.0, 50.0])
    monkeypatch.setattr(seven_billion.time, "monotonic", lambda: next(moments))
    display = TimedDisplay(plain=True)
    monkeypatch.setattr(seven_billion.Display, "training", lambda self, line: None)
    for line in (
        "phase name=load", "memory needed_gb=15.3", "phase name=train", "adapter bytes=79953920", "finished seconds=50.0",
    ):  # fmt: skip
        display.training(line)
    readings = [("train.py", Memory(2**30, 13 * 2**30)), (OWN, Memory(2**30))]
    watch = MemoryWatch(read=lambda: readings, available=lambda: 4 * 2**30)
    watch.look()
    base, other = {"greedy": {"text": "a"}, "seconds": 1.0}, {"greedy": {"text": "b"}, "seconds": 2.0}
    summary = {
        "training": {"steps": 17, "tokens_seen": 2000, "tokens_per_second": 16.7, "peak_memory_bytes": 14_800_000_000},
        "seconds_by_state": {"Preflight": 1.5},
        "prompts": [{"base": base, "tuned": other}, {"base": base, "tuned": {**base, "seconds": 2.0}}],
    }
    printed = "\n".join(lines(display, watch, summary))
    for part in (
        "training                   1.00         13.00", "2.00; least left for others 4.00 GiB", "load                     20.0 s",
        "train                    30.0 s", "Preflight                1.5 s", "17 steps, 2000 tokens, 16.7 tokens/s",
        "planned 15.3 GB, peak 14.8 GB", "Adapter: 79,953,920 bytes", "differ: 1 of 2",
    ):  # fmt: skip
        assert part in printed


class Conductor:
    """Takes the place of a run: makes the weights' folder, and ends early, with nothing measured."""

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
    assert "Adapter: 0 bytes" in said and "None" not in said
    assert ("have the 13.5 GB back" in said) != remove
    assert (tmp_path / seven_billion.CACHE / f"{seven_billion.NAME}-1").is_dir() != remove
