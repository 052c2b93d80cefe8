"""What text_file.check looks for, in a text that comes document by document: too little of it, and one thing said over and over."""

from __future__ import annotations

from collections import Counter

from common.text import words
from preflight.texts import text_file


class Prose:
    """The counts of a text, as far as its checks need them. Lines are known by their hashes, so that they are not held."""

    def __init__(self, minimum_words: int) -> None:
        self.words = 0
        self._minimum, self._least = minimum_words, min(100, minimum_words // 4)
        self._different: set[str] = set()
        self._lines: Counter[int] = Counter()
        self._distinct = self._whole = 0  # characters
        self._worst = (0, 0, 0)  # characters that are repetition, line and times

    def add(self, text: str, line: int) -> None:
        """Counts a document that begins at a line of its file, or a part of one."""
        for number, one in enumerate(text.split("\n"), line):
            stripped = one.strip()
            if not stripped:
                continue
            # As text_file.without_titles has it: an indented one is text.
            if not one.startswith("# "):
                self._count(stripped)
            key, length = hash(stripped), len(stripped)
            self._lines[key] += 1
            self._whole += length
            if (times := self._lines[key]) == 1:
                self._distinct += length
            elif length * (times - 1) > self._worst[0]:
                self._worst = (length * (times - 1), number, times)

    def _count(self, line: str) -> None:
        if len(self._different) >= self._least:
            self.words += words.count(line)
            return
        for word in words.each(line):
            self.words += 1
            self._different.add(word.lower())

    def refuse(self, name: str) -> None:
        """Raises DatasetRejected for a text that is too short or says the same thing over and over."""
        if self.words < self._minimum:
            raise text_file.too_short(name, self.words, self._minimum)
        if self._distinct < text_file.MINIMUM_DISTINCT_SHARE * self._whole:
            _, line, times = self._worst
            raise text_file.repeats(name, self._lines.total(), len(self._lines), line, times)
        if len(self._different) < self._least:
            raise text_file.few_words(name, len(self._different), self.words)
