"""`captune external`: fetches external test sets, text of the medical field by two kinds of authors, from `captune.public_text`.

Nothing of it is part of this project: git ignores the file. It is kept with the corpus, so that a deployment and a rehearsal take it along, and a run of the
domain's own corpus measures on it. The title of each document names its kind, and each kind has its own row in the report.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from captune.account import PROJECT, Refused
from captune.public_text import ABSTRACTS, MEDQUAD, Source, abstracts, pages, write_whole
from common.text import count_words
from preflight.texts.held_out import Overlap
from preflight.texts.outside_text import DEPLOYED
from rehearsal.programs import as_typed
from report.content.circumstances import MEDICAL

# What is trained on, today and in the evidence: a document that shares eight words in a row with one of them is left out.
CORPORA = (
    PROJECT / "data" / "medicaldataset.txt",
    PROJECT / "verification" / "experiments" / "texts" / "first_corpus.txt",
)
DOMAIN = MEDICAL  # the one whose field they are of
TARGET = PROJECT / "data" / f"{DOMAIN}{DEPLOYED}"
_SECONDS = 60
# Of Genetics Home Reference every fifth page, those with about the length of an abstract. Pages whose number leaves 3 when divided by 5 are kept apart for
# later measurements: they are in no test set and no corpus.
GENETICS = "3_GHR_QA"
_FIFTH, _PAGE_WORDS, _PAGES = 0, range(150, 401), 60
_PAGE_TEXT = ("information", "frequency", "genetic changes")

# Which abstracts are chosen: one belongs to an area if a word of it is in the title or among the MeSH terms, and twice or more in the text;
# of each area, the abstracts in which its words are most frequent are taken. `*` stands for any letters.
AREA_ABSTRACTS = 40
LEAST_IN_TEXT = 2
AREAS: Mapping[str, tuple[str, ...]] = {
    "genomics": (
        "gene", "genes", "genetic*", "genome*", "genomic*", "genotyp*", "pharmacogen*", "mutation*", "polymorphism*", "allele*", "haplotype*", "exome*",
        "chromosom*", "sequencing", "dna", "rna", "mrna", "microrna*", "germline", "heterozyg*", "epigenetic*", "methylation",
    ),
    "virology": (
        "virus", "viruses", "viral", "*virus", "*viruses", "virolog*", "retrovir*", "antiretroviral*", "hiv", "hiv-1", "hpv", "hbv", "hcv", "cmv", "ebv",
        "hepatitis b", "hepatitis c", "influenza", "herpes", "zoster",
    ),
    "oncology": (
        "cancer", "cancers", "carcinoma*", "adenocarcinoma*", "*sarcoma", "*sarcomas", "tumor", "tumors", "tumour", "tumours", "neoplas*", "leukemi*",
        "leukaemi*", "lymphoma*", "myeloma*", "melanoma*", "glioma*", "glioblastoma*", "metasta*", "oncogen*", "malignan*",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ExternalSet:
    """One test set: its documents' titles begin with `kind`, and `choose` takes them from the source's text."""

    source: Source
    kind: str
    choose: Callable[[bytes], Iterable[tuple[str, str, str]]]

    def documents(self, content: bytes) -> list[dict[str, str]]:
        """The documents (id, title, text) that are chosen of the source's text."""
        return [
            {"id": name, "title": f"{self.kind}: {title}", "text": text} for name, title, text in self.choose(content)
        ]

    def has(self, title: str) -> bool:
        """Whether a document with this title is of this set."""
        return title.startswith(f"{self.kind}: ")


def untrained(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The documents that share no eight words in a row with a training text."""
    overlap = _overlap(CORPORA)
    return [row for row in rows if overlap.first(row["text"]) is None]


@cache
def _overlap(corpora: tuple[Path, ...]) -> Overlap:
    return Overlap(corpus.read_text("utf-8") for corpus in corpora)


def command(
    from_file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A source's file that you downloaded; once per source.")
    ] = None,
    optional: Annotated[
        bool,
        typer.Option("--optional", help="Fetch only the sets that are missing, and go on if one cannot be fetched."),
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, help="Stop fetching after this many seconds in all.")] = _SECONDS,
) -> None:
    """Fetches the test sets and writes their documents into one file."""
    until, rows = time.monotonic() + seconds, _kept() if optional else []
    for one in SETS:
        if any(one.has(row["title"]) for row in rows):
            continue
        try:
            content = one.source.fetch(from_file or (), max(1.0, until - time.monotonic()))
        except Refused as error:
            if not optional:
                raise
            print(
                as_typed(f"captune: going on without {one.kind.lower()}s, so no run will be measured on them. {error}")
            )
            continue
        found = one.documents(content)
        kept = untrained(found)
        rows += kept
        write_whole(TARGET, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        words, left_out = sum(count_words(row["text"]) for row in kept), len(found) - len(kept)
        told = (
            f" ({left_out} more share eight words in a row with a training text and were left out)" if left_out else ""
        )
        print(f"{len(kept)} {one.kind.lower()}s, {words:,} words{told}. {one.source.attribution}")


def _kept() -> list[dict[str, str]]:
    """The documents that are there, of the sets of today."""
    lines = TARGET.read_text("utf-8").splitlines() if TARGET.is_file() else []
    return [row for row in map(json.loads, lines) if any(one.has(row["title"]) for one in SETS)]


def chosen_abstracts(content: bytes) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of the abstracts that the rule above takes, in the order of their numbers in PubMed."""
    found, taken = abstracts(content), set[int]()
    for pattern in PATTERNS.values():
        dense = []
        for one in found:
            times = len(pattern.findall(one.text))
            if pattern.search(f"{one.title}; {'; '.join(one.terms)}") and times >= LEAST_IN_TEXT:
                dense.append((-times / max(1, count_words(one.text)), one.number))
        taken.update(number for _, number in sorted(dense)[:AREA_ABSTRACTS])
    return ((f"pubmed-{one.number}", one.title, one.text) for one in found if one.number in taken)


def chosen_pages(content: bytes) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of the pages of Genetics Home Reference that the rule above takes, from all over it."""
    fifth = ((one, one.text(*_PAGE_TEXT)) for one in pages(content, GENETICS) if one.number % 5 == _FIFTH)
    fit = [(one, text) for one, text in fifth if count_words(text) in _PAGE_WORDS]
    step = max(1.0, len(fit) / _PAGES)
    spread = (fit[int(place * step)] for place in range(min(_PAGES, len(fit))))
    return ((f"ghr-{one.number}", one.title, text) for one, text in spread)


def _pattern(area: tuple[str, ...]) -> re.Pattern[str]:
    forms = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in area)
    return re.compile(rf"(?<![\w-])(?:{forms})(?!\w)", re.IGNORECASE)


PATTERNS: Mapping[str, re.Pattern[str]] = {area: _pattern(words) for area, words in AREAS.items()}
REFERENCE_PAGES = ExternalSet(MEDQUAD, "Reference page", chosen_pages)
SETS = (ExternalSet(ABSTRACTS, "Abstract", chosen_abstracts), REFERENCE_PAGES)
