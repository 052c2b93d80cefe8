"""What is ours in the training loop: the time it may take, the stop signal, the progress lines, and checkpoints by the minute."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import checkpoints
from checkpoints import Starts
from curve import Curve
from failure import TrainingFailure
from processes import ALONE, Group
from progress import Clock, Pace, say
from scale import SCALES
from text import Rows

SAVE_SECONDS = 15.0  # kept back for writing adapter and metrics


@dataclasses.dataclass
class Progress:
    """What a checkpoint of ours holds beside the trainer's own; plain JSON."""

    seconds: float = 0.0  # in steps
    base_evaluation: dict[str, list[float]] | None = None  # it is costly, so it travels
    evaluation_seconds: float = 0.0  # once over all that is measured before and after
    scale_seconds: float = 0.0  # once over what the scale is chosen by


@dataclasses.dataclass(eq=False)
class Watch(TrainerCallback):
    """Ends the training in time and prints its progress; several processes decide together."""

    clock: Clock
    progress: Progress
    starts: Starts
    rows: Rows
    rows_per_step: int
    checkpoint_minutes: float
    identity: str
    group: Group = ALONE
    curve: Curve = dataclasses.field(default_factory=Curve)
    stopped_early: str | None = None

    def __post_init__(self) -> None:
        self._step_seconds = 0.0
        self._begun = self._checkpointed = self._spoken = time.monotonic()

    def tokens(self, step: int) -> int:
        """How many tokens the first `step` steps train on."""
        return self.rows.tokens(step * self.rows_per_step)

    def epochs(self, step: int) -> float:
        """How many passes over the corpus `step` steps are."""
        return min(step * self.rows_per_step, len(self.rows)) / self.rows.rows_per_epoch

    @property
    def to_finish(self) -> float:
        """The seconds to keep for the tuned evaluation and for saving."""
        # The base evaluation's time and a third, and the same for each scale that will be tried.
        measuring = self.progress.evaluation_seconds + len(SCALES) * self.progress.scale_seconds
        return 1.33 * measuring + SAVE_SECONDS

    def must_stop(self) -> bool:
        """Whether another step, with a point of the held-out curve, may not begin: the time that is left is needed to finish."""
        short = self.clock.remaining < self.to_finish + 1.2 * (self._step_seconds + self.curve.seconds)
        any_stop, any_short = self.group.highest(self.clock.stop_requested, short)
        if any_stop:
            self.stopped_early = "stop signal"
        elif any_short:
            self.stopped_early = "time budget"
        return self.stopped_early is not None

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Takes the time."""
        self._begun = time.monotonic()

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step of a thousand sequences outlasts the grace after a stop signal: it is given up."""
        if self.group.highest(self.clock.stop_requested)[0] and self.must_stop():
            self._end(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Counts, and decides on the end and on a checkpoint."""
        now = time.monotonic()
        self._step_seconds = now - self._begun
        self.progress.seconds += self._step_seconds
        tokens = self.tokens(state.global_step) - self.tokens(state.global_step - 1)
        self.clock.pace.done(Pace.TRAIN, tokens, self._step_seconds)
        if self.group.first:
            self.starts.note(state.global_step)
        control.should_evaluate = state.global_step in self.curve.steps
        if state.global_step == state.max_steps:
            return
        if self.must_stop():
            self._end(state, control)
        elif self.group.of_first(
            bool(self.checkpoint_minutes) and now - self._checkpointed >= 60 * self.checkpoint_minutes
        ):
            control.should_save = True

    def _end(self, state: TrainerState, control: TrainerControl) -> None:
        """Ends the training before its last step."""
        say("stop", step=state.global_step, reason=str(self.stopped_early).replace(" ", "-"))
        self.clock.pace.plan(Pace.TRAIN, 0)
        control.should_training_stop, control.should_evaluate = True, False
        # An interrupted spot instance's successor goes on from here.
        control.should_save = self.stopped_early == "stop signal" and state.global_step > 0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Tells the step. Raises TrainingFailure when the loss is not finite."""
        if not logs or "loss" not in logs:
            return
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise TrainingFailure(
                f"The loss is no longer a finite number at step {state.global_step}.",
                f"Lower learning_rate (now {args.learning_rate:.3g} at its peak) and run again.",
            )
        now = time.monotonic()
        # A line a second is enough for any reader.
        if state.global_step in (1, state.max_steps) or now - self._spoken >= 1.0:
            self._spoken = now
            say(
                "progress",
                step=state.global_step,
                steps=state.max_steps,
                epoch=f"{self.epochs(state.global_step):.2f}",
                loss=f"{logs['loss']:.4f}",
                learning_rate=f"{logs['learning_rate']:.6f}",
                tokens_per_second=f"{self.tokens(state.global_step) / max(self.progress.seconds, 1e-9):.1f}",
                **self.clock.pace.told(),
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Makes the checkpoint that the trainer has just written one that may be used."""
        if self.group.first:
            place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            checkpoints.seal(place, dataclasses.asdict(self.progress), self.identity)
        self._checkpointed = time.monotonic()

    def no_step(self) -> TrainingFailure:
        """Why no step was trained; to be called by every process of the group."""
        if self.group.highest(self.clock.stop_requested)[0]:
            return TrainingFailure("The job was stopped before the first training step.", "Start a new execution.")
        earlier = self.starts.seconds_before
        used = f" ({earlier:.0f} s of it by the job's earlier starts)" if earlier else ""
        return TrainingFailure(
            f"The time budget of {self.clock.budget_seconds + earlier:g} s{used} ended before the first training step.",
            "Raise max_training_seconds, or shorten the held-out, external and retention texts. If the run's warnings mention the remaining budget, "
            "wait for the next month or raise budget_usd instead.",
        )
