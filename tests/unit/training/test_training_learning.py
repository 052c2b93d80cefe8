"""The parts of learning that need no model: loss, schedule, clock, windows, checkpoints."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import checkpoints
from arguments import Arguments
from checkpoints import Checkpoint
from evaluation import OutOfTime, mean_loss, paired, score, windows
from failure import TrainingFailure
from learning import Learner, rate_at
from loss import summed_loss, token_losses
from progress import GRACE_SECONDS, Clock
from text import IGNORED, Boundaries, Document

pytestmark = pytest.mark.slow


def test_our_loss_and_its_gradient_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(600, 8, generator=generator, requires_grad=True)  # more positions than one block
    matrix = torch.randn(50, 8, generator=generator)
    labels = torch.randint(0, 50, (600,), generator=generator)
    labels[::7] = IGNORED
    expected = torch.nn.functional.cross_entropy(hidden @ matrix.T, labels, ignore_index=IGNORED, reduction="sum")
    (slope,) = torch.autograd.grad(expected / 3, hidden)
    ours = summed_loss(hidden, matrix, labels)
    (our_slope,) = torch.autograd.grad(ours / 3, hidden)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(our_slope, slope, rtol=1e-4, atol=1e-5)
    each = token_losses(hidden, matrix, labels)
    assert each.sum().item() == pytest.approx(expected.item(), rel=1e-5)
    assert not each[labels == IGNORED].any()


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    rates = [rate_at(step, 100, 1.0, 0.05) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later < earlier for earlier, later in zip(rates[5:], rates[6:], strict=False))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.9)])
def test_the_rate_is_never_zero_in_short_runs(steps: int, warmup: float) -> None:
    assert all(0.0 < rate_at(step, steps, 1.0, warmup) <= 1.0 for step in range(steps))


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


def test_a_stop_signal_leaves_the_grace_and_repeating_it_does_not_prolong_it() -> None:
    clock = Clock(10_000)
    assert 9_990 < clock.remaining <= 10_000
    clock._stop(15, None)
    first = clock.stop_requested_at
    clock._stop(15, None)
    assert clock.stop_requested_at == first
    assert clock.remaining <= GRACE_SECONDS
    assert Clock(5).remaining <= 5


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        adapter={"w": torch.full((3,), float(step))},
        optimizer={"state": {0: {"step": torch.tensor(step)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        random_states={"cpu": torch.get_rng_state()},
        state={"step": step},
    )


def found_step(folder: Path, identity: str = "me") -> Any:
    found = checkpoints.newest(folder, identity)
    return found.state["step"] if found else None


def test_the_newest_checkpoint_is_used_and_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 5, 20):
        checkpoints.save(tmp_path, checkpoint(step), "me")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000005", "step-000020"]
    found = checkpoints.newest(tmp_path, "me")
    assert found is not None
    assert found.state["step"] == 20
    assert found.adapter["w"].tolist() == [20.0] * 3
    assert found.optimizer["state"][0]["step"].item() == 20


@pytest.mark.parametrize("file", ["adapter.safetensors", "optimizer.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, file: str, damage: str) -> None:
    checkpoints.save(tmp_path, checkpoint(1), "me")
    path = checkpoints.save(tmp_path, checkpoint(2), "me") / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    assert found_step(tmp_path) == 1


def test_another_runs_checkpoint_is_not_used(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint(1), "someone else")
    assert found_step(tmp_path) is None


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert found_step(tmp_path / "none") is None


def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(tmp_path, checkpoint(1), "me")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_flush", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(tmp_path, checkpoint(2), "me")
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert found_step(tmp_path) == 1


def test_what_a_killed_write_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".partial-step-000009").mkdir()
    assert found_step(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_tells_settings_apart() -> None:
    assert checkpoints.fingerprint({"a": 1, "b": 2}) == checkpoints.fingerprint({"b": 2, "a": 1})
    assert checkpoints.fingerprint({"a": 1}) != checkpoints.fingerprint({"a": 2})


def test_the_clock_counts() -> None:
    clock = Clock()
    before = clock.elapsed
    assert time.monotonic() >= clock.started
    assert clock.elapsed >= before


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


class Small:
    """A network of one parameter, whose states follow it; it may be told to stop while it computes."""

    def __init__(self, micro_batch: int = 1, stop: Clock | None = None) -> None:
        self.device = torch.device("cpu")
        self.plan = SimpleNamespace(micro_batch=micro_batch)
        self.causal = SimpleNamespace(config=SimpleNamespace(hidden_size=576))
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.trainable = {"w": self.weight}
        self.output_matrix = torch.eye(8, 4)
        self.stop, self.calls = stop, 0

    def hidden(self, inputs: Any) -> Any:
        self.calls += 1
        if self.stop is not None:
            self.stop._stop(15, None)
        return self.weight.expand(inputs.numel(), 4) * torch.arange(4)


def learner(network: Small, clock: Clock, folder: Path, **settings: Any) -> Learner:
    arguments = Arguments(sequence_length=16, epochs=2, **settings)
    documents = [Document(str(number), "", "x", tuple(range(3, 8)) * 12) for number in range(4)]
    return Learner(network, documents, Boundaries(1, 2), arguments, folder, "me", clock)  # type: ignore[arg-type]


def test_steps_are_limited_to_what_was_asked(tmp_path: Path) -> None:
    assert learner(Small(), Clock(), tmp_path).planned_steps == 32
    for asked, planned in ((1, 1), (1000, 32)):
        one = learner(Small(), Clock(), tmp_path, max_steps=asked)
        assert one.planned_steps == planned
        one.run()
        assert one.summary()["steps"] == planned
        assert one.summary()["stopped_early"] is None


def test_a_stop_in_the_middle_of_a_step_does_not_wait_for_its_end(tmp_path: Path) -> None:
    clock = Clock()
    network = Small(stop=clock)
    one = learner(network, clock, tmp_path, sequences_per_step=8)
    with pytest.raises(TrainingFailure, match="stopped before the first training step"):
        one.run()
    assert network.calls == 1  # of the step's eight sequences
    assert torch.equal(network.weight.detach(), torch.ones(4))


class Silent:
    """A network that must not be asked."""

    device = torch.device("cpu")

    def scoring(self, *, tuned: bool) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()
