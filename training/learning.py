"""The training loop: accumulate, clip, step, report; checkpoint now and then; stop in time."""

from __future__ import annotations

import dataclasses
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arguments import Arguments, automatic_learning_rate
from checkpoints import Checkpoint, newest, save
from failure import TrainingFailure
from loss import summed_loss
from network import Network
from progress import Clock, say
from text import IGNORED, Boundaries, Document, pack, sequence_count

SAVE_SECONDS = 15.0  # kept back for writing adapter and metrics
CURVE_POINTS = 500  # at most so many in metrics.json

Sequences = list[tuple[list[int], list[int]]]


@dataclasses.dataclass
class History:
    """What happened so far; plain JSON, so that a checkpoint can hold it."""

    step: int = 0
    seconds: float = 0.0
    tokens_seen: int = 0
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)
    stopped_early: str | None = None


def rate_at(step: int, steps: int, peak: float, warmup_ratio: float) -> float:
    """Learning rate of a step counted from 0: a line up to `peak`, then a half cosine down to a tenth of it."""
    warmup = math.ceil(warmup_ratio * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


class Learner:
    """Trains a network's adapter on documents, from the newest usable checkpoint on."""

    def __init__(
        self,
        network: Network,
        documents: Sequence[Document],
        edges: Boundaries,
        arguments: Arguments,
        checkpoint_folder: Path,
        identity: str,
        clock: Clock,
    ) -> None:
        self.network, self.documents, self.edges, self.arguments = network, documents, edges, arguments
        self.folder, self.identity, self.clock = checkpoint_folder, identity, clock
        self.sequences_per_epoch = sequence_count(documents, edges, arguments.sequence_length)
        self.steps_per_epoch = -(-self.sequences_per_epoch // arguments.sequences_per_step)
        self.planned_steps = self.steps_per_epoch * arguments.epochs
        if arguments.max_steps:
            self.planned_steps = min(self.planned_steps, arguments.max_steps)
        width = network.causal.config.hidden_size
        self.peak_rate = arguments.learning_rate or automatic_learning_rate(width)
        self.parameters = list(network.trainable.values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.peak_rate, weight_decay=arguments.weight_decay)
        self.micro_batch = network.plan.micro_batch
        self.history = History()
        self.base_evaluation: dict[str, list[float]] | None = None  # travels in the checkpoint: it is costly
        self.evaluation_seconds = 0.0

    def resume(self) -> bool:
        """Takes up the newest usable checkpoint; False where there is none."""
        found = newest(self.folder, self.identity)
        if found is None:
            return False
        self.network.restore(found.adapter)
        self.optimizer.load_state_dict(found.optimizer)
        torch.set_rng_state(found.random_states["cpu"])
        if "cuda" in found.random_states and self.network.device.type == "cuda":
            torch.cuda.set_rng_state(found.random_states["cuda"], self.network.device)
        self.history = History(**found.state["history"])
        self.base_evaluation = found.state["base_evaluation"]
        self.evaluation_seconds = found.state["evaluation_seconds"]
        say("resume", step=self.history.step, steps=self.planned_steps)
        return True

    def checkpoint(self) -> None:
        """Writes one now. Raises OSError for a full disk."""
        random_states = {"cpu": torch.get_rng_state()}
        if self.network.device.type == "cuda":
            random_states["cuda"] = torch.cuda.get_rng_state(self.network.device)
        state = {
            "step": self.history.step,
            "history": dataclasses.asdict(self.history),
            "base_evaluation": self.base_evaluation,
            "evaluation_seconds": self.evaluation_seconds,
        }
        save(
            self.folder,
            Checkpoint(self.network.adapter(), self.optimizer.state_dict(), random_states, state),
            self.identity,
        )

    @property
    def seconds_to_finish(self) -> float:
        """What must be left after the last step: the tuned evaluation (the base one's time and a third) and the saving."""
        return 1.33 * self.evaluation_seconds + SAVE_SECONDS

    def run(self) -> History:
        """Trains to the planned step, or until time or a stop signal ends it.

        Raises TrainingFailure when the loss is not finite or when not even one step could be made.
        """
        history, arguments = self.history, self.arguments
        history.stopped_early = None  # of an earlier process, should we go on from its checkpoint
        if self.network.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.network.device)
        sequences: Sequences = []
        loaded_epoch = -1
        step_seconds = 0.0
        checkpointed = spoken = time.monotonic()
        while history.step < self.planned_steps:
            if self.clock.stop_requested or self.clock.remaining < self.seconds_to_finish + 1.2 * step_seconds:
                history.stopped_early = "stop signal" if self.clock.stop_requested else "time budget"
                say("stop", step=history.step, reason=history.stopped_early.replace(" ", "-"))
                break
            begun = time.monotonic()
            epoch, place = divmod(history.step, self.steps_per_epoch)
            if epoch != loaded_epoch:
                sequences = pack(self.documents, self.edges, arguments.sequence_length, arguments.seed, epoch)
                loaded_epoch = epoch
            first = place * arguments.sequences_per_step
            rate = rate_at(history.step, self.planned_steps, self.peak_rate, arguments.warmup_ratio)
            made = self._step(sequences[first : first + arguments.sequences_per_step], rate)
            if made is None:
                continue
            loss, tokens = made
            now = time.monotonic()
            step_seconds = now - begun
            history.step += 1
            history.seconds += step_seconds
            history.tokens_seen += tokens
            history.curve.append({"step": history.step, "loss": round(loss, 5), "learning_rate": rate})
            last = history.step == self.planned_steps
            if history.step == 1 or last or now - spoken >= 1.0:  # a line a second is enough for any reader
                spoken = now
                self._report(loss, rate)
            if now - checkpointed >= 60 * arguments.checkpoint_minutes and not last:
                self.checkpoint()
                checkpointed = time.monotonic()
        if history.step == 0:
            raise self.no_step()
        return history

    def _step(self, sequences: Sequences, rate: float) -> tuple[float, int] | None:
        """One optimizer step; returns mean loss in nats per token and the tokens learnt from, None where a stop cut it off."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        while True:
            try:
                return self._accumulate(sequences)
            except torch.cuda.OutOfMemoryError:
                if self.micro_batch == 1:
                    raise
                self.micro_batch //= 2
                say("note", text=f"GPU memory full: going on with {self.micro_batch} sequences at a time")
            torch.cuda.empty_cache()

    def _accumulate(self, sequences: Sequences) -> tuple[float, int] | None:
        device, limit = self.network.device, self.arguments.max_gradient_norm
        tokens = sum(label != IGNORED for _, labels in sequences for label in labels)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for start in range(0, len(sequences), self.micro_batch):
            if self.clock.stop_requested:  # a step of a thousand sequences outlasts the grace
                return None
            part = sequences[start : start + self.micro_batch]
            inputs = torch.tensor([row for row, _ in part])
            labels = torch.tensor([row for _, row in part], device=device).reshape(-1)
            loss = summed_loss(self.network.hidden(inputs), self.network.output_matrix, labels)
            (loss / tokens).backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit).item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingFailure(
                f"The loss is no longer a finite number at step {self.history.step + 1}.",
                f"Lower learning_rate (now {self.peak_rate:.3g} at its peak) and run again.",
            )
        self.optimizer.step()
        return total / tokens, tokens

    def _report(self, loss: float, rate: float) -> None:
        history = self.history
        per_step = history.seconds / history.step
        say(
            "progress",
            step=history.step,
            steps=self.planned_steps,
            epoch=f"{history.step / self.steps_per_epoch:.2f}",
            loss=f"{loss:.4f}",
            learning_rate=f"{rate:.6f}",
            tokens_per_second=f"{history.tokens_seen / max(history.seconds, 1e-9):.1f}",
            seconds_left=round(per_step * (self.planned_steps - history.step) + 1.1 * self.evaluation_seconds),
        )

    def no_step(self) -> TrainingFailure:
        """Why nothing could be learnt."""
        if self.clock.stop_requested:
            return TrainingFailure("The job was stopped before the first training step.", "Start it again.")
        return TrainingFailure(
            f"The time budget of {self.clock.budget_seconds:g} s ended before the first training step.",
            "Raise max_training_seconds, or shorten the held-out and control texts.",
        )

    def summary(self) -> dict[str, Any]:
        """The `training` part of metrics.json."""
        history = self.history
        stride = -(-len(history.curve) // CURVE_POINTS) or 1
        return {
            "steps": history.step,
            "planned_steps": self.planned_steps,
            "epochs": round(history.step / self.steps_per_epoch, 4),
            "seconds": round(history.seconds, 3),
            "tokens_seen": history.tokens_seen,
            "tokens_per_second": round(history.tokens_seen / max(history.seconds, 1e-9), 2),
            "peak_memory_bytes": self._peak_memory(),
            "stopped_early": history.stopped_early,
            "loss_curve": history.curve[::stride],
        }

    def _peak_memory(self) -> int:
        if self.network.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.network.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
