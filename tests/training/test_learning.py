"""The recipe on a tiny model: its schedule, what a step learns from, a GPU too small, two processes, the early end."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState
from trl import SFTTrainer

import checkpoints
import job
import watch
from arguments import Arguments
from checkpoints import count_start
from curve import Curve
from evaluation import OutOfTime
from failure import TrainingFailure
from learning import Shares, make_trainer
from model import network as network_module
from model.loss import OutputLayer
from model.network import Network, Plan
from processes import ALONE, Group, joined
from progress import Clock
from records.record import IGNORED
from rehearsal.sagemaker.real.container import free_port
from tests.doubles import MovedTime
from tests.doubles.rehearsal.toy_models import sentence_pieces, tiny_layer
from text import Boundaries, Document, Epochs
from watch import Progress, Watch

pytestmark = pytest.mark.slow
LENGTH = 16
DOCUMENTS = [Document(str(number), "", "x", tuple(range(3 + number, 8 + number)) * 12) for number in range(4)]


def rows(most: int | None = None, epochs: int = 1) -> Epochs:
    made = Epochs(DOCUMENTS, Boundaries(1, 2), length=LENGTH, seed=0, epochs=epochs)
    if most is not None:
        made.stop_after(most)
    return made


def network(micro_batch: int = 1, dropout: float = 0.0) -> Network:
    adapted = tiny_layer(dropout).float()
    plan = Plan("none", "float32", micro_batch, False, 0, 0)
    causal = adapted.get_base_model()
    return Network(adapted, causal, sentence_pieces(), torch.device("cpu"), plan, 1, "Tiny", OutputLayer(causal))


def test_the_expected_time_is_measured_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, now = network(), itertools.count()
    monkeypatch.setattr(network_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    before, drawn = {name: value.clone() for name, value in measured.trainable.items()}, torch.get_rng_state()
    found = network_module.seconds_a_token_on_cpu(measured)
    assert found == (1 / 256, 1 / 512), "one sequence and two took a second of this clock each"
    for name, value in measured.trainable.items():
        assert torch.equal(value, before[name]) and value.grad is None
    assert torch.equal(torch.get_rng_state(), drawn) and measured.adapted.training


@dataclasses.dataclass
class Run:
    """A trainer over the documents, and what it is asked for."""

    folder: Path
    arguments: Arguments = dataclasses.field(default_factory=lambda: Arguments(sequences_per_step=1))
    micro_batch: int = 1
    rows: Epochs = dataclasses.field(default_factory=rows)
    clock: Clock = dataclasses.field(default_factory=Clock)
    group: Group = ALONE
    curve: Curve = dataclasses.field(default_factory=Curve)
    held_out: Callable[[], float | None] | None = None

    def __post_init__(self) -> None:
        per_step = self.arguments.sequences_per_step
        self.network = network(self.micro_batch, self.arguments.lora_dropout)
        self.steps = -(-len(self.rows) // per_step)
        begun = self.group.of_first(  # as the job does: two processes that count write the same file at the same time
            count_start(
                self.folder, "me", resumed_step=0, checkpoint_minutes=10, begun=self.clock.started, precision="float32"
            )
            if self.group.first
            else None
        )
        self.watch = Watch(
            self.clock, Progress(), begun, rows=self.rows, rows_per_step=per_step, checkpoint_minutes=10, identity="me",
            group=self.group, curve=self.curve,
        )  # fmt: skip
        self.trainer = make_trainer(
            self.network, self.rows, self.arguments, steps=self.steps, peak_rate=0.01, checkpoints=self.folder,
            curves=self.folder / "curves", watch=self.watch, group=self.group, held_out=self.held_out,
        )  # fmt: skip

    def train(self) -> dict[str, torch.Tensor]:
        self.trainer.train()
        return self.network.adapter()

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.trainer.state.log_history if "loss" in entry]


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
    for steps, warmup in [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.9)]:
        assert all(0.0 < rate <= 1.0 for rate in rates(tmp_path, steps, warmup)), "never zero in a short run"


def test_a_step_learns_from_every_label_of_its_rows(tmp_path: Path) -> None:
    """Compared with plain torch on the same rows."""
    run = Run(tmp_path, Arguments(sequences_per_step=4))
    model = tiny_layer().float().eval()  # with its output layer
    total = 0.0
    for inputs, labels in ((row["input_ids"], row["labels"]) for row in map(rows().__getitem__, range(4))):
        logits = model(input_ids=torch.tensor([inputs])).logits[0]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum").item()
    run.train()
    assert run.losses[0] == pytest.approx(total / (4 * LENGTH), rel=1e-5)
    assert run.watch.tokens(1) == 4 * LENGTH
    assert len(run.losses) == run.steps == run.trainer.state.global_step
    assert run.losses[-1] < run.losses[0]
    assert run.watch.tokens(run.steps) == sum(len(document.tokens) + 2 for document in DOCUMENTS) - 1
    assert list((tmp_path / "curves").glob("events.out.tfevents.*"))


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-3, atol=1e-5)


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


@pytest.mark.parametrize(("rows", "processes"), [(1, 1), (4, 2)])
def test_a_full_gpu_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, processes: int) -> None:
    """One row is not divided; and of several processes, the others would wait for gradients that never come."""
    run = Run(tmp_path)
    monkeypatch.setattr(SFTTrainer, "training_step", full)
    monkeypatch.setattr(type(run.trainer.args), "world_size", processes)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        run.trainer.training_step(None, {"input_ids": torch.zeros(rows, LENGTH)})


def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.watch.checkpoint_minutes = 1e-6
    for figure in ("loss", "grad_norm"):
        logs = {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.01} | {figure: math.inf}
        with pytest.raises(TrainingFailure, match="no longer a finite number"):
            run.watch.on_log(run.trainer.args, run.trainer.state, run.trainer.control, logs)
    with torch.no_grad():
        next(iter(run.network.trainable.values())).fill_(math.nan)
    with pytest.raises(TrainingFailure, match="no longer a finite number at step 1") as refusal:
        run.train()
    assert "Lower learning_rate (now 0.01" in refusal.value.fix
    assert not list(tmp_path.glob("checkpoint-*"))


class Compared(Group):
    """Two processes, of which the other one found a checkpoint of step 2."""

    size = 2

    def highest(self, *values: float) -> list[float]:
        return [max(value, other) for value, other in zip(values, (2, -2), strict=True)]


def test_a_checkpoint_is_used_where_every_process_has_found_it(tmp_path: Path) -> None:
    for step, used in ((1, False), (2, True), (3, False)):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        checkpoints.seal(place, {}, "me")
        assert job._checkpoint(tmp_path, "me", Compared()) == ((place, {}) if used else None)


def test_two_checkpoints_are_kept_and_each_leads_to_the_same_end(tmp_path: Path) -> None:
    arguments = Arguments(sequences_per_step=1, lora_dropout=0.1)
    first = Run(tmp_path, arguments)
    first.watch.checkpoint_minutes = 1e-6
    expected = first.train()
    last = first.steps - 1  # none after the last step: the adapter itself is written then
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {f"checkpoint-{last}", f"checkpoint-{last - 1}"}
    assert all((path / "manifest.json").is_file() for path in tmp_path.glob("checkpoint-*"))
    second = Run(tmp_path, arguments)
    second.trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{last - 1}"))
    assert len(second.losses) == first.steps
    assert_same(second.network.adapter(), expected)


def test_a_checkpoint_is_written_once_its_minutes_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = MovedTime()
    monkeypatch.setattr(watch, "time", hand)
    run = Run(tmp_path)

    def due(seconds: float) -> bool:
        hand.now = seconds
        control = TrainerControl()
        run.watch.on_step_end(run.trainer.args, TrainerState(global_step=1, max_steps=9), control)
        return bool(control.should_save)

    assert [due(599.0), due(600.0)] == [False, True]


def curved(folder: Path, losses: Callable[..., list[float]], **more: Any) -> Run:
    """A run with dropout whose held-out curve has points before the first step, after the second and after the last."""
    steps = frozenset({0, 2, len(rows())})
    curve = Curve(DOCUMENTS[:1], steps)
    arguments = Arguments(sequences_per_step=1, lora_dropout=0.1)
    return Run(folder, arguments, curve=curve, held_out=lambda: curve.point(losses, torch.device("cpu")), **more)


def points(run: Run) -> list[tuple[int, float]]:
    return [(entry["step"], entry["eval_loss"]) for entry in run.trainer.state.log_history if "eval_loss" in entry]


def test_the_held_out_curve_changes_nothing_that_is_learned(tmp_path: Path) -> None:
    def draws(documents: Any) -> list[float]:
        return [60 * float(torch.rand(9).sum())]

    run = curved(tmp_path / "with", draws)
    found = run.train()
    without = Run(tmp_path / "without", run.arguments).train()
    assert [step for step, _ in points(run)] == sorted(run.curve.steps)
    assert all(torch.equal(found[name], without[name]) for name in without)


def test_a_resumed_run_keeps_the_points_of_the_held_out_curve(tmp_path: Path) -> None:
    first = curved(tmp_path, lambda documents: [120.0])
    first.watch.checkpoint_minutes = 1e-6
    first.train()
    second = curved(tmp_path, lambda documents: [60.0])
    second.trainer.args.eval_on_start = False
    second.trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{first.steps - 1}"))
    assert points(second) == [(0, 2.0), (2, 2.0), (first.steps, 1.0)]


def test_a_point_of_the_curve_gives_way_where_its_time_is_needed(tmp_path: Path) -> None:
    def late(documents: Any) -> list[float]:
        raise OutOfTime

    run = curved(tmp_path, late, clock=Clock(60.0))
    run.train()
    assert (points(run), run.watch.stopped_early) == ([], None)
    run.curve.seconds = 40.0
    assert run.watch.must_stop(), "40 s and a fifth for the next point, and 15 s to save"


class Stopping(Clock):
    """A stop signal that comes after this many micro batches."""

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
    assert_same(run.train(), before)
    assert (run.trainer.state.global_step, run.watch.stopped_early) == (0, "stop signal")


class Others(Group):
    """Two processes, of which the other one has heard a stop signal and has no time left."""

    size = 2

    def highest(self, *values: float) -> list[float]:
        return [1.0 for _ in values]


def test_a_run_without_a_step_names_the_stop_or_the_setting(tmp_path: Path) -> None:
    assert "stopped before the first training step" in Run(tmp_path, group=Others()).watch.no_step().what
    watch = Run(tmp_path / "alone", clock=Clock(600.0)).watch
    assert "The time budget of 600 s ended" in watch.no_step().what
    assert watch.no_step().fix.startswith("Raise max_training_seconds")
    watch.starts.seconds_before = 500.0
    watch.clock.budget_seconds -= 500.0
    assert "600 s (500 s of it by the job's earlier starts) ended" in str(watch.no_step())


def test_the_time_to_measure_and_save_is_kept_back(tmp_path: Path) -> None:
    run = Run(tmp_path, clock=Clock(45.0))
    run.watch.progress.evaluation_seconds = 20.0
    assert not run.watch.must_stop()  # 20 s and a third, and 15 s to save
    run.watch.progress.scale_seconds = 0.5
    assert run.watch.must_stop()  # seven times 0.5 s and a third
    run.watch.progress.scale_seconds, run.watch.progress.evaluation_seconds = 0.0, 23.0
    assert run.watch.must_stop()
    run.train()
    assert run.trainer.state.global_step == 1  # whoever asks before the first step does not begin it
    assert run.watch.stopped_early == "time budget"
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_scaled_adapter_is_measured_in_the_numbers_in_which_it_is_served() -> None:
    scaled = network()
    scaled.scale_adapter(0.3)
    assert all(value.equal(value.bfloat16().float()) for value in scaled.trainable.values())


# Rows of a step and of all: a last step that is not full; a step that does not divide; too few for both.
CASES = [(4, 11), (3, 12), (1, 4)]


def one_of_two(rank: int, port: int, folder: Path) -> None:
    """A process's part in every case; the first keeps curve and adapter."""
    os.environ.update(
        TORCHELASTIC_RUN_ID="test", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank),
        LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1",
    )  # fmt: skip
    with joined(torch.device("cpu")) as group:
        for case in CASES:
            learn(folder, case, group)


def learn(folder: Path, case: tuple[int, int], group: Group) -> None:
    """One case. What it made must be gone when it ends: a reducer that outlives its group never ends."""
    run = of_case(folder, case, group)
    adapter = run.train()
    if group.first:
        torch.save((run.losses, adapter), folder / str(case))


def of_case(folder: Path, case: tuple[int, int], group: Group = ALONE) -> Run:
    per_step, most = case
    return Run(folder, Arguments(sequences_per_step=per_step), micro_batch=2, rows=rows(most), group=group)


@pytest.mark.thorough
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (free_port(), tmp_path), nprocs=2)
    for case in CASES:
        run = of_case(tmp_path, case)
        adapter = run.train()
        curve_of_two, adapter_of_two = torch.load(tmp_path / str(case))
        assert curve_of_two == pytest.approx(run.losses, abs=1e-5)
        assert_same(adapter_of_two, adapter)


@pytest.mark.parametrize(("per_step", "processes"), [(4, 2), (3, 2), (4, 8)])
def test_every_step_holds_its_own_rows_and_padding_that_teaches_nothing(per_step: int, processes: int) -> None:
    every = list(rows(11))
    shares = Shares(rows(11), per_step, processes)
    width = shares.per_process * processes
    dealt = list(shares)
    assert len(dealt) % width == 0
    for step in range(len(dealt) // width):
        found = dealt[step * width : (step + 1) * width]
        taught = [row for row in found if set(row["labels"]) != {IGNORED}]
        assert taught == every[step * per_step : (step + 1) * per_step]
        assert {len(row["input_ids"]) for row in found} == {len(every[0]["input_ids"])}
