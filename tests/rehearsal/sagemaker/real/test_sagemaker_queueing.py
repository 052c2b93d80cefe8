"""Requests that wait together are answered together, and a failure stays with its batch."""

from __future__ import annotations

import threading

from rehearsal.sagemaker.real.server.queueing import Batcher, Request, choose

ROOM = 10_000


def _asked(length: int, most: int = 4) -> Request:
    return Request([7] * length, False, most)


def _lengths(batch: list[Request]) -> list[int]:
    return [len(request.prompt) for request in batch]


class Recorder:
    """An engine that notes its batches; it may hold the first one and fail prompts of one token."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, batch: list[Request]) -> None:
        self.batches.append(_lengths(batch))
        self.begun.set()
        assert self.go_on.wait(10)
        if min(_lengths(batch)) == 1:
            raise RuntimeError("broken")
        for request in batch:
            request.tokens = [len(request.prompt)]


def _served(recorder: Recorder, first: Request, others: list[Request], *, most: int) -> None:
    batcher = Batcher([recorder], most=most, room=ROOM, quiet_seconds=0.001)
    batcher.submit(first)
    assert recorder.begun.wait(10)
    for request in others:
        batcher.submit(request)
    recorder.go_on.set()
    batcher.close()


def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    recorder, others = Recorder(), [_asked(length) for length in (5, 6, 7)]
    _served(recorder, _asked(4), others, most=8)
    assert recorder.batches == [[4], [5, 6, 7]]
    assert [request.tokens for request in others] == [[5], [6], [7]]
    assert all(request.done.is_set() for request in others)


def test_a_batch_has_no_more_rows_than_allowed() -> None:
    recorder, others = Recorder(), [_asked(length) for length in (5, 5, 5, 5, 5)]
    _served(recorder, _asked(4), others, most=2)
    assert recorder.batches == [[4], [5, 5], [5, 5], [5]]


def test_a_batch_that_fails_fails_its_requests_and_not_the_others() -> None:
    recorder, first, later = Recorder(), _asked(1), _asked(3)
    _served(recorder, first, [later], most=4)
    assert first.error == "RuntimeError('broken')"
    assert first.done.is_set()
    assert (later.error, later.tokens) == (None, [3])


def test_the_longest_waiting_goes_first_with_those_of_like_length() -> None:
    waiting = [_asked(50), _asked(3), _asked(48), _asked(4), _asked(55)]
    assert _lengths(choose(waiting, most=3, room=ROOM)) == [50, 48, 55]


def test_a_batch_keeps_within_its_room_padding_included() -> None:
    waiting = [_asked(10, most=10), _asked(10, most=10), _asked(90, most=10), _asked(10, most=10)]
    assert _lengths(choose(waiting, most=9, room=70)) == [10, 10, 10]
    assert _lengths(choose(waiting, most=9, room=400)) == [10, 10, 10, 90]


def test_one_request_is_answered_however_little_room_there_is() -> None:
    assert len(choose([_asked(500), _asked(500)], most=9, room=10)) == 1


def test_two_workers_answer_two_batches_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)
    batches: list[list[int]] = []

    def worker(batch: list[Request]) -> None:
        batches.append(_lengths(batch))
        meeting.wait()

    batcher = Batcher([worker, worker], most=2, room=ROOM)
    requests = [_asked(length) for length in (4, 4, 5, 5)]
    for request in requests:
        batcher.submit(request)
    batcher.close()
    assert [request.error for request in requests] == [None] * 4
    assert sorted(batches) == [[4, 4], [5, 5]]
