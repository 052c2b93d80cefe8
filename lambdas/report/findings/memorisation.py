"""The longest run of words in an answer that stands word for word in the training corpus.

A suffix automaton is built over some thousand answers at a time and the corpus is streamed through it, so memory is bounded
and time grows with corpus plus answers: 60,000 words against 500 answers take about a second.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from common.text import MARKS, UNSPACED
from report.findings.intervals import RESAMPLES, interval
from report.findings.recall import by_id
from report.findings.statistics import sign_flip
from report.summary_types import Estimate

# Eight words in a row by chance are rare outside set phrases; a longer run is shown as copied.
NOTABLE_WORDS = 8
# A character of a script without spaces is half a word, as in Preflight.
_LETTERS = rf"(?:[^\W{UNSPACED}]|[{MARKS}])+"
_WORD = re.compile(rf"([{UNSPACED}])|{_LETTERS}(?:['’-]{_LETTERS})*")
# Answers in one automaton: some 600 bytes for each of their words, and the whole corpus is streamed through each. So the most that can be
# asked is compared with the largest corpus in two dozen readings.
BATCH = 8_000


def words(text: str) -> Iterator[tuple[str, int, int, int]]:
    """The words of a text, case folded, with the place where each starts and ends, and its weight in half words."""
    for match in _WORD.finditer(text):
        yield match.group().casefold(), match.start(), match.end(), 1 if match.lastindex else 2


class _Automaton:
    """A suffix automaton over a sequence of hashable symbols: one state for each set of equal end places."""

    def __init__(self, symbols: Sequence[object]) -> None:
        self.next: list[dict[object, int]] = [{}]
        self.link = [-1]
        self.length = [0]
        last = 0
        for symbol in symbols:
            last = self._extend(last, symbol)

    def _extend(self, state: int, symbol: object) -> int:
        """Adds a symbol after the string of a state; answers the state of the longer string."""
        new = self._state({}, self.length[state] + 1, 0)
        while state != -1 and symbol not in self.next[state]:
            self.next[state][symbol] = new
            state = self.link[state]
        if state == -1:
            return new
        self.link[new] = target = self.next[state][symbol]
        if self.length[target] != self.length[state] + 1:
            copy = self._state(dict(self.next[target]), self.length[state] + 1, self.link[target])
            self.link[new] = self.link[target] = copy
            while state != -1 and self.next[state].get(symbol) == target:
                self.next[state][symbol] = copy
                state = self.link[state]
        return new

    def _state(self, following: dict[object, int], length: int, link: int) -> int:
        self.next.append(following)
        self.length.append(length)
        self.link.append(link)
        return len(self.next) - 1

    def longest_matches(self, symbols: Iterator[str]) -> list[int]:
        """For each state, the longest suffix of its strings that occurs in the streamed symbols (0: none)."""
        best = [0] * len(self.next)
        state = matched = 0
        for symbol in symbols:
            while state and symbol not in self.next[state]:
                state = self.link[state]
                matched = self.length[state]
            if symbol in self.next[state]:
                state, matched = self.next[state][symbol], matched + 1
            best[state] = max(best[state], matched)
        by_length = sorted(range(1, len(self.next)), key=self.length.__getitem__)
        for state in reversed(by_length):
            if best[state]:  # the shorter suffixes of a string that occurs, occur too
                best[self.link[state]] = self.length[self.link[state]]
        for state in by_length:
            best[state] = best[state] or best[self.link[state]]
        return best


def longest_copies(texts: Sequence[str], corpus: str) -> list[tuple[int, int, int]]:
    """For each text: words in its longest run copied from the corpus, and the characters where it starts and ends."""
    return [copy for start in range(0, len(texts), BATCH) for copy in _copies_of(texts[start : start + BATCH], corpus)]


def _copies_of(texts: Sequence[str], corpus: str) -> list[tuple[int, int, int]]:
    split = [list(words(text)) for text in texts]
    joined: list[object] = []
    for place, found in enumerate(split):
        joined.extend(word for word, *_ in found)
        joined.append(place)  # a number equals no word, so no run crosses from one answer into the next
    automaton = _Automaton(joined)
    best = automaton.longest_matches(word for word, *_ in words(corpus))
    copies = []
    for found in split:
        before = [0, *accumulate(weight for *_, weight in found)]  # half words before each word
        state, longest, span = 0, 0, (0, 0)
        for place, (word, *_) in enumerate(found):
            state = automaton.next[state][word]
            first = place + 1 - best[state]
            if before[place + 1] - before[first] > longest:
                longest = before[place + 1] - before[first]
                span = (found[first][1], found[place][2])
        copies.append(((longest + 1) // 2, *span))
    return copies


def answer_texts(answer: Mapping[str, Any] | None) -> list[str]:
    """The greedy text and then the samples of one answer row."""
    if not answer:
        return []
    return [str(answer.get("greedy") or ""), *(str(text) for text in answer.get("samples") or [])]


def compare_copies(
    base_answers: Sequence[Mapping[str, Any]],
    tuned_answers: Sequence[Mapping[str, Any]],
    corpus: str,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any] | None:
    """Longest copied runs of both models; None without a corpus or answers. Never counted as improvement.

    `answers` maps a prompt id to {"base": [[words, start, end], …], "tuned": […]}, greedy first.
    """
    sides = {"base": by_id(base_answers), "tuned": by_id(tuned_answers)}
    shared = [identifier for identifier in sides["base"] if identifier in sides["tuned"]]
    if not corpus.strip() or not shared:
        return None
    places = [(name, key, text) for key in shared for name in sides for text in answer_texts(sides[name][key])]
    answers: dict[str, dict[str, list[list[int]]]] = {key: {name: [] for name in sides} for key in shared}
    for (name, key, _), copy in zip(places, longest_copies([text for *_, text in places], corpus), strict=True):
        answers[key][name].append(list(copy))
    # Per prompt the longest run over its answers, paired by prompt.
    longest = {name: [float(max(run[0] for run in answers[key][name])) for key in shared] for name in sides}
    change = [after - before for before, after in zip(longest["base"], longest["tuned"], strict=True)]
    p_value, p_method = sign_flip(change, seed=seed)

    def mean(values: list[float]) -> Estimate:
        ones = [1.0] * len(values)
        return interval(values, ones, seed=seed, resamples=resamples, method="percentile")

    def side(name: str) -> dict[str, Any]:
        runs = sorted(run[0] for key in shared for run in answers[key][name])
        return {
            "answers": len(runs),
            "longest_words": runs[-1],
            "median_words": runs[math.ceil(len(runs) / 2) - 1],
            "notable_answers": sum(run >= NOTABLE_WORDS for run in runs),
            "mean_longest": mean(longest[name]),
        }

    return {
        "notable_words": NOTABLE_WORDS,
        "prompts": len(shared),
        "base": side("base"),
        "tuned": side("tuned"),
        "difference": mean(change),
        "p_value": p_value,
        "p_method": p_method,
        "answers": answers,
    }
