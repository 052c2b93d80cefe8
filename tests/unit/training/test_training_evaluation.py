"""What is measured and when the job must end: windows, losses per document, the clock."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

import evaluation
import progress
from evaluation import OutOfTime, mean_loss, paired, score, windows
from processes.group import Group
from progress import GRACE_SECONDS, Clock
from tests.doubles import MovedTime
from text import IGNORED, Boundaries, Document


def test_windows_score_every_token_once_after_the_start_token() -> None:
    assert windows([7, 8, 9], Boundaries(1, 2), 2) == [([1, 7], [7, 8]), ([1], [9])]
    assert windows([7], Boundaries(None, 2), 2) == [([2], [7])]
    assert windows([], Boundaries(1, 2), 2) == []


def test_losses_are_weighted_by_tokens_and_absent_ones_are_null() -> None:
    documents = [Document("a", "A", "xy", (1, 2)), Document("b", "B", "z", (3,))]
    result = paired(documents, [4.0, 5.0], None)
    assert result["base_loss"] == pytest.approx(3.0)
    assert result["tuned_loss"] is None
    assert result["tokens"] == 3
    assert result["documents"][0] == {
        "id": "a",
        "title": "A",
        "tokens": 2,
        "bytes": 2,
        "base_nll": 4.0,
        "tuned_nll": None,
    }
    assert mean_loss([], []) is None


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> MovedTime:
    """What tells a job the time."""
    made = MovedTime()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_stop_signal_leaves_the_grace_and_repeating_it_does_not_prolong_it(hand: MovedTime) -> None:
    clock = Clock(10_000)
    hand.now += 10
    clock._stop(15, None)
    assert clock.remaining == GRACE_SECONDS
    hand.now += 60
    clock._stop(15, None)
    assert clock.remaining == GRACE_SECONDS - 60


def test_a_stop_signal_near_the_end_of_the_budget_does_not_prolong_it(hand: MovedTime) -> None:
    clock = Clock(100)
    hand.now += 95
    clock._stop(15, None)
    assert clock.remaining == 5


def test_what_is_left_of_the_budget_falls_with_each_second(hand: MovedTime) -> None:
    clock = Clock(10_000)
    assert (clock.elapsed, clock.remaining) == (0, 10_000)
    hand.now += 400
    assert (clock.elapsed, clock.remaining) == (400, 9_600)


def test_a_job_that_began_before_this_process_has_used_that_time_too(hand: MovedTime) -> None:
    clock = Clock(10_000, started=hand.now - 250)
    assert (clock.elapsed, clock.remaining) == (250, 9_750)


def test_scoring_gives_up_while_there_is_still_time_to_save() -> None:
    clock = Clock(5)
    with pytest.raises(OutOfTime):
        score(Silent(), [Document("a", "", "x", (1, 2))], Boundaries(1, 2), 8, tuned=True, clock=clock, keep_seconds=15)  # type: ignore[arg-type]


def test_a_stop_during_the_base_models_scoring_ends_it_at_once() -> None:
    """Its losses will have nothing to be compared with; the tuned model's are still worth what is left of the grace."""
    clock = Clock(10_000)
    clock._stop(15, None)
    documents = [Document("a", "", "x", (1, 2))]
    with pytest.raises(OutOfTime):
        score(Silent(), documents, Boundaries(1, 2), 8, tuned=False, clock=clock, keep_seconds=15)  # type: ignore[arg-type]


class Out(Group):
    """Another process that has given up its share."""

    def sums(self, values: Sequence[float]) -> list[float]:
        return [*values[:-1], values[-1] + 1]


def test_where_another_process_has_no_time_left_every_one_gives_up() -> None:
    """One that went on alone would wait for the others in the next collective."""
    with pytest.raises(OutOfTime):
        score(Silent(), [], Boundaries(1, 2), 8, tuned=True, clock=Clock(10_000), group=Out())  # type: ignore[arg-type]


class Silent:
    """A network that must not be asked."""

    device = torch.device("cpu")

    def scoring(self, *, tuned: bool) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()


class Zero(Silent):
    """A network to which each token is certain."""

    def token_losses(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(labels.shape)


def test_a_set_that_takes_its_time_tells_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each batch of four windows takes two seconds here, and a line comes after five or more."""
    seconds = itertools.count(0, 2)
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    documents = [Document(str(number), "", "x", (1, 2) * 128) for number in range(33)]
    score(Zero(), documents, Boundaries(1, 2), 256, tuned=True, clock=Clock(10_000), name="outside")  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [f"scored set=outside windows={done} of=33" for done in (12, 24, 33)]


class Crowded(Silent):
    """A GPU on which so many windows fit at a time; a window's loss is its number of tokens."""

    def __init__(self, fits: int) -> None:
        self.fits, self.asked = fits, list[int]()

    def token_losses(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(inputs))
        if len(inputs) > self.fits:
            raise torch.cuda.OutOfMemoryError
        return (labels != IGNORED).float()


def test_where_the_gpus_memory_is_full_scoring_goes_on_with_fewer_windows_at_a_time() -> None:
    network = Crowded(fits=3)
    documents = [Document(str(number), "", "x", (1, 2) * (100 + number)) for number in range(10)]
    sums = score(network, documents, Boundaries(1, 2), 256, tuned=True, clock=Clock(10_000))  # type: ignore[arg-type]
    assert sums == [2.0 * (100 + number) for number in range(10)]
    assert network.asked[:3] == [4, 2, 2] and max(network.asked[1:]) <= 3


def test_a_single_window_that_does_not_fit_ends_it() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        score(Crowded(0), [Document("a", "", "x", (1, 2))], Boundaries(1, 2), 8, tuned=True, clock=Clock(10_000))  # type: ignore[arg-type]
