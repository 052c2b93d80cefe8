"""`make rehearse-7b`: what a machine needs for it, the memory and time that it prints, and what stays on the disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captune import seven_billion
from captune.seven_billion import LEAST_DISK, LEAST_MEMORY, Memory, MemoryWatch, TimedDisplay, lines, main, missing
from rehearsal.conductor.options import Options
from rehearsal.models.weights import partial_of


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
    cache, name = project / seven_billion.WEIGHTS, f"{seven_billion.NAME}-{seven_billion.FORM}"
    half_made = partial_of(cache, name)  # by a process that was killed
    half_made.mkdir(parents=True)
    (half_made / "model.safetensors").write_text("x")
    assert missing(project) is None, "it goes first"
    half_made.rename(cache / name)
    assert missing(project) is None


def test_each_role_has_its_own_peak_and_the_sum_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = MemoryWatch()
    for own, training in ((100, Memory()), (80, Memory(300, 900)), (0, Memory(350, 7))):
        moment = {"rehearsal": Memory(own), "training": training}
        monkeypatch.setattr(seven_billion, "read_processes", lambda moment=moment: moment)
        watch.look()
    assert watch.peaks == {"rehearsal": Memory(100), "training": Memory(350, 900)}
    assert watch.peak_own == 380


def test_this_process_is_read_at_least_once() -> None:
    with MemoryWatch() as watch:
        pass
    assert watch.peaks["rehearsal itself"].own > 1_000_000
    assert 0 < watch.least_available < 2**60


def test_what_was_measured_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 20.0, 50.0])
    monkeypatch.setattr(seven_billion.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(seven_billion.Display, "training", lambda self, line: None)
    display, watch = TimedDisplay(plain=True), MemoryWatch()
    for line in (
        "phase name=load", "memory needed_gb=15.3", "phase name=train", "adapter bytes=79953920", "finished seconds=50.0",
    ):  # fmt: skip
        display.training(line)
    watch.peaks, watch.peak_own, watch.least_available = {"training": Memory(2**30, 13 * 2**30)}, 2 * 2**30, 4 * 2**30
    summary = {
        "training": {"steps": 17, "tokens_seen": 2000, "tokens_per_second": 16.7, "peak_memory_bytes": 14_800_000_000},
        "seconds_by_state": {"Preflight": 1.5},
        "prompts": [{"base": {"greedy": {"text": "a"}}, "tuned": {"greedy": {"text": tuned}}} for tuned in "ab"],
    }
    printed = "\n".join(lines(display, watch, summary))
    for part in (
        "training                   1.00         13.00", "2.00; least left for others 4.00 GiB", "load                     20.0 s",
        "train                    30.0 s", "Preflight                1.5 s", "17 steps, 2000 tokens, 16.7 tokens/s",
        "planned 15.3 GB, peak 14.8 GB", "Adapter: 79,953,920 bytes", "differ: 1 of 2",
    ):  # fmt: skip
        assert part in printed


class Conductor:
    """Takes the place of a run, and ends early, with nothing measured."""

    def __init__(self, options: Options, display: TimedDisplay, keep: Any, check: Any, *, model: Any) -> None:
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
    assert "Peak memory in GiB" in (said := capsys.readouterr().out)
    assert "Adapter: 0 bytes" in said and "None" not in said
    assert ("have the 13.5 GB back" in said, weights.is_dir()) == (not remove, not remove)
