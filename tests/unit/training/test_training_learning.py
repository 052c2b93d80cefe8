"""The recipe on a tiny model: its schedule, what one step learns from, a GPU that is too small, and the end before time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from trl import SFTTrainer

import checkpoints
import job
from arguments import Arguments
from failure import TrainingFailure
from model.accelerator import tiny_layer
from processes.group import Group
from progress import Clock
from tests.doubles.toy_training import DOCUMENTS, LENGTH, Run, rows

pytestmark = pytest.mark.slow


def rates(folder: Path, steps: int, warmup_ratio: float) -> list[float]:
    run = Run(folder, Arguments(sequences_per_step=1, warmup_ratio=warmup_ratio), rows=rows(steps, epochs=9))
    run.trainer.create_optimizer_and_scheduler(num_training_steps=steps)
    (rate_at,) = {*run.trainer.lr_scheduler.lr_lambdas}
    return [rate_at(step) for step in range(steps)]


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine_to_a_tenth(tmp_path: Path) -> None:
    found = rates(tmp_path, 100, 0.05)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later < earlier for earlier, later in zip(found[5:], found[6:], strict=False))
    assert found[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.05), (1, 0.9), (2, 0.5), (3, 0.9)])
def test_the_rate_is_never_zero_in_short_runs(tmp_path: Path, steps: int, warmup: float) -> None:
    assert all(0.0 < rate <= 1.0 for rate in rates(tmp_path, steps, warmup))


def test_a_step_learns_from_every_label_of_its_rows(tmp_path: Path) -> None:
    """Also from the one behind the cut: by plain torch on the very rows."""
    run = Run(tmp_path, Arguments(sequences_per_step=4))
    model = tiny_layer().float().eval()  # with its output layer
    total = 0.0
    for inputs, labels in ((row["input_ids"], row["labels"]) for row in map(rows().__getitem__, range(4))):
        logits = model(input_ids=torch.tensor([inputs])).logits[0]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum").item()
    run.train()
    assert run.losses[0] == pytest.approx(total / (4 * LENGTH), rel=1e-5)
    assert run.watch.tokens(1) == 4 * LENGTH


def test_each_steps_loss_is_kept_and_each_row_learnt_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.train()
    assert len(run.losses) == len(rows()) == run.trainer.state.global_step
    assert run.losses[-1] < run.losses[0]
    assert run.watch.tokens(run.steps) == sum(len(document.tokens) + 2 for document in DOCUMENTS) - 1
    assert list((tmp_path / "curves").glob("events.out.tfevents.*"))


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-5)


def test_how_many_rows_fit_at_a_time_changes_no_result(tmp_path: Path) -> None:
    arguments = Arguments(sequences_per_step=4)
    assert_same(Run(tmp_path, arguments).train(), Run(tmp_path, arguments, micro_batch=4).train())


def test_a_gpu_that_is_too_small_is_given_halves_and_the_result_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = Arguments(sequences_per_step=8)
    expected = Run(tmp_path, arguments, micro_batch=4).train()
    genuine: Callable[..., Any] = SFTTrainer.training_step

    def small(trainer: Any, model: Any, inputs: dict[str, torch.Tensor], items: Any = None) -> Any:
        found = genuine(trainer, model, inputs, items)
        if len(inputs["input_ids"]) > 1:  # after the gradients, which must not be counted twice
            raise torch.cuda.OutOfMemoryError
        return found

    monkeypatch.setattr(SFTTrainer, "training_step", small)
    assert_same(Run(tmp_path, arguments, micro_batch=4).train(), expected)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert notes == [f"note text=GPU memory full: going on with {count} sequences at a time" for count in (2, 1)]


def full(*_: Any) -> Any:
    raise torch.cuda.OutOfMemoryError


def test_gradients_are_copied_only_where_a_batch_may_still_be_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy takes memory and time in every micro batch."""
    run = Run(tmp_path)
    copied: list[int] = []

    def copy() -> list[torch.Tensor | None]:
        copied.append(1)
        return []

    monkeypatch.setattr(SFTTrainer, "training_step", lambda *_: torch.tensor(0.0))
    monkeypatch.setattr(run.trainer, "_gradients", copy)
    rows = {"input_ids": torch.zeros(2, LENGTH)}
    run.trainer.training_step(None, rows)
    assert len(copied) == 1
    run.trainer.training_step(None, {"input_ids": torch.zeros(1, LENGTH)})
    run.trainer._rows_at_a_time = 1
    run.trainer.training_step(None, rows)
    assert len(copied) == 1
    run.trainer._rows_at_a_time = None
    monkeypatch.setattr(type(run.trainer.args), "world_size", 2)
    run.trainer.training_step(None, rows)
    assert len(copied) == 1


def test_one_of_several_processes_does_not_go_on_in_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would wait for gradients that never come."""
    run = Run(tmp_path)
    monkeypatch.setattr(SFTTrainer, "training_step", full)
    monkeypatch.setattr(type(run.trainer.args), "world_size", 2)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run.trainer.training_step(None, {"input_ids": torch.zeros(4, LENGTH)})
    assert run.trainer._rows_at_a_time is None


def test_a_last_batch_that_is_smaller_is_halved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    run.trainer._rows_at_a_time = 4
    seen = []

    def small(trainer: Any, model: Any, inputs: dict[str, torch.Tensor], items: Any = None) -> Any:
        seen.append(len(inputs["input_ids"]))
        return full() if seen[-1] > 1 else torch.tensor(1.0)

    monkeypatch.setattr(SFTTrainer, "training_step", small)
    assert run.trainer.training_step(None, {"input_ids": torch.zeros(2, LENGTH)}) == 2.0
    assert seen == [2, 1, 1]


def test_a_gpu_too_small_for_one_row_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SFTTrainer, "training_step", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Run(tmp_path).train()


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.watch.checkpoint_minutes = 1e-6
    with torch.no_grad():
        next(iter(run.network.trainable.values())).fill_(math.nan)
    with pytest.raises(TrainingFailure, match="no longer a finite number at step 1") as refusal:
        run.train()
    assert "Lower learning_rate (now 0.01" in refusal.value.mend
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("figure", ["loss", "grad_norm"])
def test_either_figure_that_is_no_number_ends_the_run(figure: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    logs = {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.01} | {figure: math.inf}
    with pytest.raises(TrainingFailure, match="no longer a finite number"):
        run.watch.on_log(run.trainer.args, run.trainer.state, run.trainer.control, logs)


class Compared(Group):
    """Two processes, of which the other one found a checkpoint of step 2. Counts how often they ask one another."""

    size = 2
    asked = 0

    def highest(self, *values: float) -> list[float]:
        self.asked += 1
        return [max(value, other) for value, other in zip(values, (2, -2), strict=True)]


def test_a_checkpoint_is_used_where_every_process_has_found_one_of_the_same_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = Compared()
    for step, used in ((1, False), (2, True), (3, False)):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        checkpoints.seal(place, {}, "me")
        found = job._checkpoint(tmp_path, "me", group)
        assert found == ((place, {}) if used else None)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert [line.partition("of step ")[2] for line in told] == ["1 to 2: none is used", "2 to 3: none is used"]
    assert group.asked == 3


def test_two_checkpoints_are_kept_and_each_can_be_used(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.watch.checkpoint_minutes = 1e-6
    run.train()
    last = run.steps - 1  # none after the last step: the adapter itself is written then
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {f"checkpoint-{last}", f"checkpoint-{last - 1}"}
    assert all((path / "manifest.json").is_file() for path in tmp_path.glob("checkpoint-*"))


def test_none_is_written_by_the_minute_where_none_is_asked_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.watch.checkpoint_minutes = 0
    run.train()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_run_that_goes_on_from_a_checkpoint_ends_where_it_would_have(tmp_path: Path) -> None:
    first = Run(tmp_path, Arguments(sequences_per_step=1, lora_dropout=0.1))
    first.watch.checkpoint_minutes = 1e-6
    expected = first.train()
    second = Run(tmp_path, Arguments(sequences_per_step=1, lora_dropout=0.1))
    second.trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{first.steps - 2}"))
    assert len(second.losses) == first.steps
    assert_same(second.network.adapter(), expected)


class Stopping(Clock):
    """A stop signal that comes while so many micro batches have been computed."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    @property
    def stop_requested(self) -> bool:
        self.after -= 1
        return self.after < 0


def test_a_stop_in_the_middle_of_a_step_does_not_wait_for_its_end(tmp_path: Path) -> None:
    run = Run(tmp_path, Arguments(sequences_per_step=8), clock=Stopping(2))
    before = run.network.adapter()
    after = run.train()
    assert run.trainer.state.global_step == 0
    assert_same(after, before)
    assert run.watch.stopped_early == "stop signal"
    assert "stopped before the first training step" in str(run.watch.no_step())


class Others(Group):
    """Two processes, of which the other one has heard a stop signal and has no time left."""

    size = 2

    def highest(self, *values: float) -> list[float]:
        return [1.0 for _ in values]


def test_where_another_process_was_stopped_before_the_first_step_none_blames_the_time(tmp_path: Path) -> None:
    assert "stopped before the first training step" in Run(tmp_path, group=Others()).watch.no_step().what


def test_time_that_ended_before_the_first_step_is_told_with_the_setting_it_comes_from(tmp_path: Path) -> None:
    watch = Run(tmp_path, clock=Clock(600.0)).watch
    assert "The time budget of 600 s ended" in watch.no_step().what
    assert watch.no_step().mend.startswith("Raise max_training_seconds")
    watch.starts.seconds_before = 500.0
    watch.clock.budget_seconds -= 500.0
    assert "600 s (500 s of it by the job's earlier starts) ended" in str(watch.no_step())


def test_a_stop_leaves_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, clock=Stopping(3))
    run.train()
    step = run.trainer.state.global_step
    assert 1 <= step < run.steps
    assert (tmp_path / f"checkpoint-{step}" / "manifest.json").is_file()
    assert f"stop step={step} reason=stop-signal" in capsys.readouterr().out


def test_the_time_that_measuring_and_saving_need_is_kept_back(tmp_path: Path) -> None:
    run = Run(tmp_path, clock=Clock(45.0))
    run.watch.progress.evaluation_seconds = 20.0
    assert not run.watch.must_stop()  # 20 s and a third, and 15 s to save
    run.watch.progress.evaluation_seconds = 23.0
    assert run.watch.must_stop()
    run.train()
    assert run.trainer.state.global_step == 1  # whoever asks before the first step does not begin it
    assert run.watch.stopped_early == "time budget"
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_weakened_adapter_moves_the_model_so_much_less(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.train()
    layer = next(module for module in run.network.adapted.modules() if isinstance(module, LoraLayer))
    whole = layer.get_delta_weight("default").clone()
    assert whole.abs().max() > 0
    run.network.weaken(0.25)
    torch.testing.assert_close(layer.get_delta_weight("default"), 0.25 * whole)
