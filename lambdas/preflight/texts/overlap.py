"""Held-out text that the training text gives away: runs of eight words that both hold."""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import HeldOutLeaks
from common.text import words


class Overlap:
    """The runs of eight words of a training text, to find out what else holds one of them.

    Only their hashes are kept: the runs themselves would not fit into Preflight's memory for a corpus of the largest size.
    """

    def __init__(self, trainings: Iterable[str], asked: Iterable[str] | None = None) -> None:
        """Of the texts that are trained on; `asked` are the only texts that will be looked for, which spares memory."""
        wanted = None if asked is None else set[int]().union(*map(_hashes, asked))
        self._seen: set[int] = set()
        for training in trainings:
            self._seen |= _hashes(training) if wanted is None else wanted & _hashes(training)

    def first(self, text: str) -> tuple[int, str] | None:
        """The line and the words of the first run that the text shares with the training text, or None."""
        lowered = words.composed(text).lower()
        if self._seen.isdisjoint(map(hash, words.runs(lowered))):
            return None
        for run, end in words.placed_runs(lowered):
            if hash(run) in self._seen:
                return lowered.count("\n", 0, end) + 1, " ".join(run)
        return None

    def share(self, text: str) -> float:
        """The share of a text's runs that the training text has too; 0 for a text shorter than a run."""
        runs = [hash(run) in self._seen for run in words.runs(words.composed(text).lower())]
        return sum(runs) / len(runs) if runs else 0.0

    def refuse(self, name: str, text: str) -> None:
        """Raises HeldOutLeaks when a held-out text shares a run with the training text."""
        shared = self.first(text)
        if shared:
            raise HeldOutLeaks(
                f"The held-out text {name}, line {shared[0]}, shares “{shared[1]}” with the training text, so its loss would prove nothing. "
                "Rewrite or remove one of the two passages."
            )


def _hashes(text: str) -> set[int]:
    return set(map(hash, words.runs(words.composed(text).lower())))
