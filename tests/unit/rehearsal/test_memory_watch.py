"""Peaks of memory by process, of processes that come and go."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.memory_watch import OWN, Memory, MemoryWatch, Reading, memory_of, read_processes

MOMENTS = [
    [
        Reading(OWN, Memory(100)),
        Reading("python -I worker.py /x", Memory(10)),
        Reading("python -I worker.py /y", Memory(20)),
    ],
    [Reading(OWN, Memory(110)), Reading("python3 /tmp/job/train.py --root /tmp/job", Memory(300, 900))],
    [Reading(OWN, Memory(90)), Reading("python train.py", Memory(400, 700)), Reading("node", Memory(5))],
]
STATUS = "Name:\tpython\nVmHWM:\t 999 kB\nRssAnon:\t    300 kB\nRssFile:\t    900 kB\nRssShmem:\t      1 kB\n"


def test_each_role_has_its_own_peak_and_the_sum_is_of_one_moment() -> None:
    moments: Iterator[list[Reading]] = iter(MOMENTS)
    left = iter([500, 50, 70])
    watch = MemoryWatch(read=lambda: next(moments), available=lambda: next(left))
    for _ in MOMENTS:
        watch.look()
    assert watch.peaks == {
        OWN: Memory(110),
        "Lambda functions": Memory(30),
        "training": Memory(400, 900),
        "other processes": Memory(5),
    }
    assert watch.peak_own == 495
    assert watch.least_available == 50


def test_mapped_files_are_told_apart_from_a_processes_own_memory() -> None:
    assert memory_of(STATUS) == Memory(own=301 * 1024, mapped=900 * 1024)
    assert memory_of("") == Memory()


def test_this_process_is_read() -> None:
    (own,) = [reading for reading in read_processes() if reading.command == OWN]
    assert own.memory.own > 1_000_000


def test_it_looks_at_least_once_and_ends_with_its_block() -> None:
    with MemoryWatch() as watch:
        pass
    assert watch.peak_own > 0
    assert not watch._thread.is_alive()
