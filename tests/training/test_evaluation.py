"""What is measured and when the job must end: windows, losses per document, the clock, a full GPU."""

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import progress
from evaluation import OutOfTime, score, windows
from processes import Group
from progress import GRACE_SECONDS, Clock
from tests.doubles import MovedTime
from text import IGNORED, Boundaries, Document

EDGES = Boundaries(1, 2)


def test_windows_score_every_token_once_after_the_start_token() -> None:
    assert windows([7, 8, 9], EDGES, 2) == [([1, 7], [7, 8]), ([1], [9])]
    assert windows([7], Boundaries(None, 2), 2) == [([2], [7])]
    assert windows([], EDGES, 2) == []


def test_a_stop_signal_leaves_the_grace_and_never_prolongs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = MovedTime()
    monkeypatch.setattr(progress, "time", hand)
    clock = Clock(10_000, started=hand.now - 250)
    assert (clock.elapsed, clock.remaining) == (250, 9_750)
    hand.now += 10
    assert (clock.elapsed, clock.remaining) == (260, 9_740)
    clock._stop(15, None)
    assert clock.remaining == GRACE_SECONDS
    hand.now += 60
    clock._stop(15, None)
    assert clock.remaining == GRACE_SECONDS - 60
    late = Clock(100)
    hand.now += 95
    late._stop(15, None)
    assert late.remaining == 5


class Fake:
    """A GPU on which this many windows fit at a time; a window's loss is its number of tokens."""

    device = torch.device("cpu")

    def __init__(self, fits: int = 4) -> None:
        self.fits, self.asked = fits, list[int]()

    def scoring(self, *, tuned: bool) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    def token_losses(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(inputs))
        if len(inputs) > self.fits:
            raise torch.cuda.OutOfMemoryError
        return (labels != IGNORED).float()


class Out(Group):
    """Another process that has given up its share."""

    def sums(self, values: Sequence[float]) -> list[float]:
        return [*values[:-1], values[-1] + 1]


def stopped() -> Clock:
    clock = Clock(10_000)
    clock._stop(15, None)
    return clock


@pytest.mark.parametrize(
    "options",
    [
        {"tuned": True, "clock": Clock(5), "keep_seconds": 15},  # while there is still time to save
        # Losses of the base model alone have nothing to be compared with.
        {"tuned": False, "clock": stopped(), "keep_seconds": 15},
        # One process that went on alone would wait for the others in the next collective.
        {"tuned": True, "clock": Clock(10_000), "group": Out()},
    ],
)
def test_scoring_ends_where_its_time_is_over(options: dict[str, Any]) -> None:
    network: Any = Fake()
    with pytest.raises(OutOfTime):
        score(network, [Document("a", "", "x", (1, 2))], EDGES, 8, **options)


def test_a_full_gpu_is_given_fewer_windows_at_a_time() -> None:
    network: Any = Fake(fits=3)
    documents = [Document(str(number), "", "x", (1, 2) * (100 + number)) for number in range(10)]
    assert score(network, documents, EDGES, 256, tuned=True, clock=Clock(10_000)) == [
        2.0 * (100 + number) for number in range(10)
    ]
    assert network.asked[:3] == [4, 2, 2] and max(network.asked[1:]) <= 3
    network.fits = 0
    with pytest.raises(torch.cuda.OutOfMemoryError):
        score(network, documents[:1], EDGES, 256, tuned=True, clock=Clock(10_000))
