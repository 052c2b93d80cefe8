"""What a job works with: the model, the texts, the time, and the processes beside this one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy
import torch

from arguments import Arguments, automatic_sequences_per_step
from evaluation import score
from model.network import Network
from processes.group import Group
from progress import Clock
from records import choosing
from text import Boundaries, Document, Rows
from watch import SAVE_SECONDS

Sets = dict[str, list[Document]]
Losses = dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Work:
    """What the training and both evaluations share."""

    root: Path
    network: Network
    corpus: list[Document]
    sets: Sets  # what is scored, by name
    edges: Boundaries
    clock: Clock
    group: Group

    def rows(self, arguments: Arguments) -> tuple[Rows, Arguments]:
        """All rows of a training, and its arguments with the number of sequences of a step."""
        rows = choosing.rows_of(self.corpus, self.edges, arguments)
        per_step = arguments.sequences_per_step or automatic_sequences_per_step(len(rows))
        if arguments.max_steps:
            rows.stop_after(arguments.max_steps * per_step)
        return rows, dataclasses.replace(arguments, sequences_per_step=per_step)

    def losses(self, length: int, names: Sequence[str], *, tuned: bool) -> Iterator[tuple[str, list[float]]]:
        """(name, losses) of each of these sets in their order, in windows of `length` tokens. Raises OutOfTime."""
        for name in names:
            yield (
                name,
                score(
                    self.network,
                    self.sets[name],
                    self.edges,
                    length,
                    tuned=tuned,
                    clock=self.clock,
                    name=name,
                    keep_seconds=SAVE_SECONDS,
                    group=self.group,
                ),
            )


def seed_everything(seed: int) -> None:
    """Begins every row of random numbers anew."""
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)  # every device
