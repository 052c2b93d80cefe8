"""The rows of a run, dealt to several processes so that a step learns from the same rows as with one."""

from __future__ import annotations

from collections.abc import Iterator

from records.record import IGNORED
from text import Rows


class Shares:
    """Every step's rows, filled up with rows that teach nothing to as many as the processes can share evenly.

    The trainer deals micro batches out in turn, so that each process gets as many of each step. A row without labels adds nothing
    to the loss, to its gradient or to the tokens by which both are divided.
    """

    def __init__(self, rows: Rows, per_step: int, processes: int) -> None:
        self._rows, self._per_step = rows, per_step
        self.per_process = -(-per_step // processes)
        self._padded = self.per_process * processes
        first = rows[0]
        self._blank = {"input_ids": first["input_ids"], "labels": [IGNORED] * len(first["labels"])}

    def __len__(self) -> int:
        return -(-len(self._rows) // self._per_step) * self._padded

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, place = divmod(index, self._padded)
        row = step * self._per_step + place
        return self._rows[row] if place < self._per_step and row < len(self._rows) else self._blank
