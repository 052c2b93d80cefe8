"""Peaks of memory by process, of processes that come and go."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.memory_watch import OWN, MemoryWatch, Reading, read_processes

MOMENTS = [
    [Reading(OWN, 100), Reading("python -I worker.py /x", 10), Reading("python -I worker.py /y", 20)],
    [Reading(OWN, 110), Reading("python3 /tmp/job/train.py --root /tmp/job", 900)],
    [Reading(OWN, 90), Reading("python -m rehearsal.sagemaker.model_server /m", 800), Reading("node", 5)],
]


def test_each_role_has_its_own_peak_and_the_sum_is_of_one_moment() -> None:
    moments: Iterator[list[Reading]] = iter(MOMENTS)
    left = iter([500, 50, 70])
    watch = MemoryWatch(read=lambda: next(moments), available=lambda: next(left))
    for _ in MOMENTS:
        watch.look()
    assert watch.peaks == {OWN: 110, "Lambda functions": 30, "training": 900, "model server": 800, "other processes": 5}
    assert watch.peak == 1010
    assert watch.least_available == 50


def test_this_process_is_read() -> None:
    (own,) = [reading for reading in read_processes() if reading.command == OWN]
    assert own.bytes > 1_000_000


def test_it_looks_at_least_once_and_ends_with_its_block() -> None:
    with MemoryWatch() as watch:
        pass
    assert watch.peak > 0
    assert not watch._thread.is_alive()
