"""Plain English: pages use the field's terms and short sentences, and address the reader.

A text is checked as (where, text). To check texts of another kind, such as string literals, add them to `TEXTS`.
"""

import re
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md", "results/README.md")
FILES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
# Generated parts are checked where they are written: in the code's string literals.
_NOT_PROSE = re.compile(r"```.*?```", re.DOTALL)
PAGES = [(str(f.relative_to(ROOT)), re.sub(r"`[^`]*`", "X", _NOT_PROSE.sub(" ", f.read_text("utf-8")))) for f in FILES]
TEXTS = PAGES

# A word, and the one to use instead.
TERMS = {
    r"(?:text |abstracts )?by others|others wrote|outside (?:texts?|documents?|loss)": "external test set",
    r"rightly|right ends?|near miss(?:es)?": "multiple-choice accuracy; correct option, distractors",
    r"adapter(?:'s)? strength|\d of the adapter": "adapter scale",
    r"control texts?|what was forgotten": "retention set, forgetting",
    r"second line": "secondary metric: knowledge",
    r"one pass|passes over|learnt": "epoch, train",
    r"usual (?:run|recipe)": "typical run, baseline recipe",
    r"the most that it may cost": "worst-case cost, maximum",
    r"(?<!model )cards?": "GPU",
    r"rights|the right to": "permission",
    r"(?:is|are) away": "is unavailable",
    r"mend(?:s|ed|ing)?": "fix",
    r"settles?|settled|settlements?|(?:over)?booked": "record the actual cost",
    r"tear-downs?": "teardown, cleanup",
    r"announced": "preregistered",
    r"nulls": "negative controls, false-positive rate",
    r"stand-ins?": "proxy model",
    r"made[- ]up": "synthetic",
    r"a person|somebody|nobody": "you, the user",
    r"refus(?:e[sd]?|als?|ing)": "reject; is invalid",
    r"anew|in place of|dearer|but for|reckon(?:s|ed)?": "again; instead of; more expensive; except; estimate",
    r"per cent|\d %": "95%",
}
MEANT = {re.compile(rf"(?<![\w-])(?:{word})(?![\w-])", re.IGNORECASE): term for word, term in TERMS.items()}
SENTENCES, PARAGRAPHS = re.compile(r"(?<=[.!?:;])\s+"), re.compile(r"\n\s*[|#<][^\n]*|\n\s*\n|\n\s*(?:[-*]|\d+\.) ")
WHAT = re.compile(r"[a-z,] what [a-z]")


def words_to_replace(text: str) -> dict[str, str]:
    """The words of a text that have a better one, with that."""
    return {found[0]: term for word, term in MEANT.items() for found in word.finditer(text)}


def lengths(page: str) -> list[int]:
    """The words of each sentence of a page, without its tables and headings."""
    sentences = [one for part in PARAGRAPHS.split(f"\n\n{page}") for one in SENTENCES.split(part)]
    return [len(one.split()) for one in sentences if len(one.split()) > 1]


@pytest.mark.parametrize(("where", "text"), TEXTS, ids=[where for where, _ in TEXTS])
def test_a_text_uses_the_terms_of_its_field(where: str, text: str) -> None:
    assert words_to_replace(text) == {}, where


@pytest.mark.parametrize(("where", "page"), PAGES, ids=[where for where, _ in PAGES])
def test_sentences_are_short(where: str, page: str) -> None:
    assert mean(lengths(page)) <= 20 and max(lengths(page)) <= 40, where


def test_pages_address_the_reader_and_use_few_noun_clauses() -> None:
    text = " ".join(page for _, page in PAGES)
    thousands = len(text.split()) / 1000
    assert len(re.findall(r"\byou", text, re.IGNORECASE)) >= 8 * thousands
    assert len(WHAT.findall(text)) <= 1.5 * thousands


def test_a_planted_word_is_found() -> None:
    assert list(words_to_replace("A model card. Two cards are away.")) == ["cards", "are away"]
    assert lengths("# Not this\n\nOne two three. Four five.\n- " + "six " * 41) == [3, 2, 41]
