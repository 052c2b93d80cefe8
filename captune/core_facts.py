"""How often a corpus states the facts that it must teach: a small model learns a fact from many statements of it and not from one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from captune.document_index import FILES, TRAIN
from preflight.texts.text_file import Document, documents

# Five wordings or more, so that what is learnt is the fact and not a sentence, and from more than one document.
FEWEST_SENTENCES, FEWEST_DOCUMENTS = 5, 3
LISTED = "facts.jsonl"  # how the name of a domain's list ends
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")


@dataclass(frozen=True)
class Fact:
    """A core fact of a field. A sentence states it where both patterns are found in it.

    The patterns are in lower case, and so is the text that they are looked for in: twice as fast as ignoring the case.
    `source` is where it was read that the fact holds, "" where nothing was found.
    """

    fact: str
    subject: str
    object: str
    source: str

    def stated_in(self, sentences: list[str]) -> int:
        """How many of these sentences, in lower case, name both the subject and the object."""
        subject, says = (re.compile(pattern).search for pattern in (self.subject, self.object))
        return sum(1 for sentence in sentences if subject(sentence) and says(sentence))


@dataclass(frozen=True)
class Statements:
    """How often a text states one fact."""

    fact: str
    sentences: int
    documents: int

    @property
    def enough(self) -> bool:
        """Whether a model can be expected to learn it from this text."""
        return self.sentences >= FEWEST_SENTENCES and self.documents >= FEWEST_DOCUMENTS


def read(file: Path) -> list[Fact]:
    """The facts of a JSON Lines file, in its order. Raises TypeError for a line with other keys."""
    return [Fact(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def in_corpus(file: Path) -> list[Statements]:
    """How often the training text of a domain, which lies beside its list of facts, states each of them."""
    domain = file.name.removesuffix(LISTED)
    text = file.with_name(domain + FILES[TRAIN]).read_text("utf-8")
    return statements(read(file), documents(text, domain))


def statements(facts: Iterable[Fact], texts: Iterable[Document]) -> list[Statements]:
    """How often these documents state each fact, in the order of the facts. Titles don't count."""
    split = [_SENTENCE_END.split(text.text.lower()) for text in texts]
    found = []
    for fact in facts:
        counts = [fact.stated_in(sentences) for sentences in split]
        found.append(Statements(fact.fact, sum(counts), sum(count > 0 for count in counts)))
    return found


def summary(found: list[Statements]) -> str:
    """One line on all of them. Takes at least one."""
    sentences = sorted(row.sentences for row in found)
    stated = f"{sentences[0]} to {sentences[-1]} sentences (median {median(sentences):.0f})"
    fewest = min(row.documents for row in found)
    return f"{len(found):,} core facts, each stated in {stated} of {fewest} documents or more"
