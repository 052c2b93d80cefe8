"""Figures of style for `captune data --style`: sentences, percentages, stock words and marks, and repetitions."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from statistics import mean, pstdev

from common.text import RUN_WORDS, composed, runs

LONG_SENTENCE = 35  # words
FEWEST_WORDS = 3  # less is a heading or the number of a list
# Two sentences nearly repeat each other where they share half of all their words. Shorter ones are alike by chance.
NEAR, NEAR_WORDS = 0.5, 6
FAR = 0.1  # of a figure of others: ours is reported where it differs by more
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(])|\n+")
_REASON = re.compile(r"\b(?:because|since)\b", re.IGNORECASE)
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)\s?%")
_COUNTED = {
    "glosses": re.compile(r", which\b"),
    "significant": re.compile(r"\bsignificant(?:ly)?\b", re.IGNORECASE),
    "respectively": re.compile(r"\brespectively\b", re.IGNORECASE),
    "p values": re.compile(r"\bp\s?[<=>≤]", re.IGNORECASE),
    "parentheses": re.compile(r"\("),
    "abbreviations": re.compile(r"\b(?=\d*[A-Z]\d*[A-Z])[A-Z\d]+\b"),
    "should": re.compile(r"\bshould\b", re.IGNORECASE),
}
COUNTED_IN = 10_000  # words
_WORD = re.compile(r"[a-z0-9]+(?:['’.-][a-z0-9]+)*")
EXPLAINED = (
    f"words a document; sentence: mean words, spread: their standard deviation; long: % of sentences over {LONG_SENTENCE} words; "
    "because: because or since in 100 words; % figures: percentages a document, tenths: % of them with one decimal; "
    f'in {COUNTED_IN:,} words: glosses (", which"), significant(ly), respectively, p values, parentheses, should, '
    "and abbreviations: words of capitals and digits with two capitals or more"
)

# The figures in the order of the table, each with its number of decimals.
DECIMALS = {
    "documents": 0, "words": 0, "sentence": 1, "spread": 1, "long": 1, "because": 2, "% figures": 1, "tenths": 0,
    **dict.fromkeys(_COUNTED, 0),
}  # fmt: skip
Style = Mapping[str, float]  # the figures of some documents


def style(texts: Sequence[str]) -> Style:
    """The figures of texts with a sentence or more. Words such as HIV, 5HT and CYP2D6 are abbreviations, each time they stand."""
    words = sum(len(text.split()) for text in texts)
    lengths = [length for text in texts for one in sentences(text) if (length := len(one.split())) >= FEWEST_WORDS]
    percentages = [figure for text in texts for figure in _PERCENTAGE.findall(text)]
    return {
        "documents": len(texts),
        "words": words / len(texts),
        "sentence": mean(lengths),
        "spread": pstdev(lengths),
        "long": _percent(sum(1 for length in lengths if length > LONG_SENTENCE), len(lengths)),
        "because": _percent(sum(len(_REASON.findall(text)) for text in texts), words),
        "% figures": len(percentages) / len(texts),
        "tenths": _percent(sum(1 for one in percentages if one[-2:-1] == "."), len(percentages)),
    } | {
        name: COUNTED_IN * sum(len(pattern.findall(text)) for text in texts) / words
        for name, pattern in _COUNTED.items()
    }


def table(name: str, rows: Mapping[str, Style]) -> str:
    """The figures of each row, for people."""
    cells = [
        [row, *(f"{figures[key]:,.{places}f}" for key, places in DECIMALS.items())] for row, figures in rows.items()
    ]
    return aligned([[name, *DECIMALS], *cells])


def far_apart(ours: Style, theirs: Style) -> list[str]:
    """The figures in which we lie more than a tenth from others, such as "because 0.34 (0.06)". Numbers of documents don't count."""
    return [
        f"{key} {ours[key]:,.{places}f} ({theirs[key]:,.{places}f})"
        for key, places in DECIMALS.items()
        if key != "documents" and abs(ours[key] - theirs[key]) > FAR * theirs[key]
    ]


def aligned(grid: list[list[str]]) -> str:
    """A table with its first column to the left and all others to the right, for people."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return "\n".join(f"  {row[0]:<{widths[0]}}  " + "  ".join(map(str.rjust, row[1:], widths[1:])) for row in grid)


def repeats(texts: Sequence[str]) -> str:
    """One line on what these texts say more than once."""
    return (
        f"{near_repeats(texts):.1f}% of sentences share half of their words or more with another one; "
        f"{sharing(texts):.0f}% of documents share {RUN_WORDS} words in a row with another one"
    )


def near_repeats(texts: Sequence[str]) -> float:
    """% of the sentences of six words or more that nearly repeat another: two such share one of the rarest of each."""
    found = [_WORD.findall(one.lower()) for text in texts for one in sentences(text)]
    told = [frozenset(words) for words in found if len(words) >= NEAR_WORDS]
    times = Counter(word for words in told for word in words)
    places: dict[str, list[int]] = defaultdict(list)
    repeated: set[int] = set()
    for place, words in enumerate(told):
        rarest = sorted(words, key=lambda word: (times[word], word))[: len(words) - ceil(NEAR * len(words)) + 1]
        for other in {other for word in rarest for other in places[word]}:
            if place in repeated and other in repeated:
                continue
            shared = len(words & told[other])
            if shared >= NEAR * (len(words) + len(told[other]) - shared):
                repeated |= {place, other}
        for word in rarest:
            places[word].append(place)
    return _percent(len(repeated), len(told))


def sharing(texts: Sequence[str]) -> float:
    """% of documents that share a run of eight words with another one of them."""
    found = [{hash(run) for run in runs(composed(text).lower())} for text in texts]
    times = Counter(run for one in found for run in one)
    return _percent(sum(1 for one in found if any(times[run] > 1 for run in one)), len(texts))


def sentences(text: str) -> Iterator[str]:
    """The sentences and headings of a text."""
    return (one for one in _SENTENCE_END.split(text) if one.strip())


def _percent(count: int, of: int) -> float:
    return 100 * count / max(1, of)
