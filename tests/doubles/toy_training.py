"""A trainer over a tiny model in float32, and the documents that it learns from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from arguments import Arguments
from checkpoints import count_start
from learning import make_trainer
from model.accelerator import tiny_layer
from model.loss import OutputLayer
from model.memory import Plan
from model.network import Network
from processes import ALONE, Group
from progress import Clock
from text import Boundaries, Document, Epochs
from watch import Progress, Watch

LENGTH = 16
DOCUMENTS = [Document(str(number), "", "x", tuple(range(3 + number, 8 + number)) * 12) for number in range(4)]


def rows(most: int | None = None, epochs: int = 1) -> Epochs:
    made = Epochs(DOCUMENTS, Boundaries(1, 2), length=LENGTH, seed=0, epochs=epochs)
    if most is not None:
        made.stop_after(most)
    return made


def tokenizer() -> Any:
    """One word a token, as far as a tokenizer is asked for at all."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), bos_token="<s>", eos_token="</s>"
    )


def network(micro_batch: int = 1) -> Network:
    """A Llama of one layer in float32, the same for every call."""
    adapted = tiny_layer().float()
    plan = Plan("none", torch.float32, micro_batch, False, 0, 0)
    causal = adapted.get_base_model()
    return Network(adapted, causal, tokenizer(), torch.device("cpu"), plan, 1, "Tiny", OutputLayer(causal))


@dataclasses.dataclass
class Run:
    """A trainer over the documents, and what it is asked for."""

    folder: Path
    arguments: Arguments = dataclasses.field(default_factory=lambda: Arguments(sequences_per_step=1))
    micro_batch: int = 1
    rows: Epochs = dataclasses.field(default_factory=rows)
    clock: Clock = dataclasses.field(default_factory=Clock)
    group: Group = ALONE

    def __post_init__(self) -> None:
        per_step = self.arguments.sequences_per_step
        self.network = network(self.micro_batch)
        self.steps = -(-len(self.rows) // per_step)
        begun = self.group.of_first(  # as the job does: two processes that count write the same file at the same time
            count_start(self.folder, "me", resumed_step=0, checkpoint_minutes=10, begun=self.clock.started)
            if self.group.first
            else None
        )
        self.watch = Watch(
            self.clock, Progress(), begun, rows=self.rows, rows_per_step=per_step, checkpoint_minutes=10, identity="me",
            group=self.group,
        )  # fmt: skip
        self.trainer = make_trainer(
            self.network, self.rows, self.arguments, steps=self.steps, peak_rate=0.01, checkpoints=self.folder,
            curves=self.folder / "curves", watch=self.watch, group=self.group,
        )  # fmt: skip

    def train(self) -> dict[str, torch.Tensor]:
        """The adapter afterwards."""
        self.trainer.train()
        return self.network.adapter()

    @property
    def losses(self) -> list[float]:
        return [entry["loss"] for entry in self.trainer.state.log_history if "loss" in entry]
