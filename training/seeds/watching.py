"""The training with a further seed, watched: it ends in time and leaves no checkpoint, for an interrupted one begins anew."""

from __future__ import annotations

from typing import Any

from transformers import TrainerControl, TrainerState

from checkpoints import Starts
from processes.group import Group
from progress import Clock, say
from text import Rows
from watch import Progress, Watch


class SeedWatch(Watch):
    """As for the first seed, but for what is kept and for how it is told: no curve or count of the first seed's takes it in."""

    def __init__(
        self,
        seed: int,
        clock: Clock,
        evaluation_seconds: float,
        starts: Starts,
        *,
        rows: Rows,
        rows_per_step: int,
        group: Group,
    ) -> None:
        progress = Progress(evaluation_seconds=evaluation_seconds)
        super().__init__(
            clock, progress, starts, rows=rows, rows_per_step=rows_per_step, checkpoint_minutes=0, identity="", group=group
        )  # fmt: skip
        self._seed = seed

    def note(self, step: int) -> None:
        """The time goes on; the steps that could be lost are the first seed's."""
        super().note(self.starts.step)

    def tell(self, **values: object) -> None:
        """A line that no metric of the job reads."""
        say("further", seed=self._seed, **values)

    def end(self, state: TrainerState, control: TrainerControl) -> None:
        """Without a checkpoint."""
        super().end(state, control)
        control.should_save = False

    def why_ended(self, state: Any) -> str | None:
        """Why the training is not whole; None where it is."""
        reasons = {"stop signal": "the job was stopped", "time budget": "the time was over"}
        if self.stopped_early is None:
            return None
        return f"{reasons[self.stopped_early]} after {state.global_step} of {state.max_steps} steps"
