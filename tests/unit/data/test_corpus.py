"""The texts that come with the project: their index is true, what is held out was never trained on, and the facts are stated often enough."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from captune import data as texts
from captune import external
from captune.data import DATA, domains
from preflight.texts.held_out import Overlap
from preflight.texts.text_file import Document, documents, note

DOMAINS = domains()
# By the plan and not by the text: in each register of each part, every so many documents from this number on. General prose is for training only.
HELD_OUT_EVERY_FROM = {"finance": (8, 4), "medical": (12, 5)}
LEAST_WORDS = 60  # of a document: a shorter one shows no register
CONTROL = (DATA / "control.txt").read_text("utf-8")
AREAS = ("genomic research", "viral genomics", "personalised medicine")
FOR_PATIENTS = ("questions", "patient-information")
REGISTERS = ("abstract", "review", "guideline", "report", "case-report", "drug-label", "summary", *FOR_PATIENTS)
# A file, or a part of a page.
NO_PAGE = re.compile(r"(?i)download|/citation|highwire/markup|\.(?:gz|zip|xml|ris|bib)\b")
FACTS = sorted(DATA.glob(f"*{texts.LISTED}"))


def rows(domain: str, split: str | None = None) -> list[tuple[texts.Entry, Document]]:
    return [row for row in texts.pairs(DATA, domain) if split in (None, row[0].split)]


def whole(document: Document) -> str:
    return f"{document.title}\n\n{document.text}"


def test_every_text_says_at_its_top_what_it_is() -> None:
    files = [*DATA.glob("*.txt"), *external.CORPORA[1].parent.glob("*.txt")]
    (said,) = {note(file.read_text("utf-8")) for file in files}
    assert "a language model (Claude, by Anthropic)" in said and "Invented text" in said
    assert "who practises medicine has read it" in said and "Not for clinical use" in said


@pytest.mark.parametrize("domain", DOMAINS)
def test_index_and_texts_name_the_same_documents_each_once(domain: str) -> None:
    titles = {entry.title for entry, _ in rows(domain)}
    assert len(titles) == len(texts.read_index(DATA / f"{domain}index.jsonl"))


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_is_held_out_was_chosen_by_the_plan(domain: str) -> None:
    entries = [entry for entry, _ in rows(domain)]
    every, first = HELD_OUT_EVERY_FROM[domain]
    planned = {True: texts.HELD_OUT, False: texts.TRAIN}
    differ = [e for e in entries if e.split != planned[e.register != "general" and e.number % every == first]]
    assert [entry.title for entry in differ] == []
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in entries:
        numbers[entry.part, entry.register].append(entry.number)
    assert [key for key, found in numbers.items() if sorted(found) != list(range(1, len(found) + 1))] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_document_is_long_enough_names_its_topic_and_is_plain_text(domain: str) -> None:
    assert [entry.title for entry, document in rows(domain) if len(document.text.split()) < LEAST_WORDS] == []
    assert [entry.title for entry, _ in rows(domain) if not entry.topic.strip()] == []
    characters = {character for _, document in rows(domain) for character in whole(document)} - {"\n"}
    assert {one for one in characters if unicodedata.category(one) in ("Cc", "Cf", "Co", "Cn")} == set()


def test_the_medical_corpus_holds_every_register_of_every_area() -> None:
    training = rows("medical", texts.TRAIN)
    wanted = {(area, register) for area in AREAS for register in REGISTERS}
    assert {(entry.area, entry.register) for entry, _ in training} == wanted | {("general", "general")}
    words: Counter[bool] = Counter()
    for entry, document in training:
        words[entry.register == "general"] += len(document.text.split())
    # Replay, so that less is forgotten: 4.4 % of the field when seeds 7 to 9 were measured. A smaller share was never
    # measured, and much more would be learnt in place of the field.
    assert 0.04 <= words[True] / words[False] <= 0.15


def test_the_datasheet_counts_the_words_of_each_register_and_area() -> None:
    words: Counter[tuple[str, str]] = Counter()
    for entry, document in rows("medical"):
        for name in {entry.register, entry.area}:
            words[name, entry.split] += len(document.text.split())
    sheet = [line.split(" | ") for line in (DATA / "README.md").read_text("utf-8").splitlines() if line[:2] == "| "]
    told = {cells[0].strip("| `"): (cells[-2], cells[-1].rstrip(" |")) for cells in sheet}
    for name in (*REGISTERS, *AREAS, "general"):
        train, held_out = words[name, texts.TRAIN], words[name, texts.HELD_OUT]
        assert told[name] == (f"{train:,}", f"{held_out:,}" if held_out else "–")


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_held_out_and_retention_text_share_no_eight_words_with_training_text(domain: str) -> None:
    training = Overlap(whole(document) for _, document in rows(domain, texts.TRAIN))
    kept_apart = [document for _, document in rows(domain, texts.HELD_OUT)] + documents(CONTROL, "control")
    # The finance text is trained on in an experiment that is measured with the medical held-out text.
    kept_apart += [document for _, document in rows("medical", texts.HELD_OUT)] if domain == "finance" else []
    assert {document.title: run for document in kept_apart if (run := training.first(whole(document)))} == {}


@pytest.mark.thorough
@pytest.mark.parametrize("file", FACTS, ids=lambda file: file.stem)
def test_the_corpus_states_each_core_fact_in_five_wordings_of_its_own(file: Path) -> None:
    found = texts.facts_in_corpus(file)
    assert len(found) >= 400
    # A small model learns a fact from many wordings in more than one document, and else a sentence.
    assert [row.fact for row in found if row.sentences < 5 or row.documents < 3] == []
    by_places = {row.places: row.fact for row in found}
    assert [(row.fact, by_places[row.places]) for row in found if by_places[row.places] != row.fact] == []


@pytest.mark.parametrize("file", FACTS, ids=lambda file: file.stem)
def test_a_core_fact_is_listed_once_states_itself_and_has_a_source(file: Path) -> None:
    listed = texts.read_facts(file)
    assert len({(fact.subject, fact.object) for fact in listed}) == len({fact.fact for fact in listed}) == len(listed)
    assert [fact.fact for fact in listed if re.fullmatch(r"\W*", fact.subject) or fact.subject == fact.object] == []
    assert [fact.fact for fact in listed if not fact.stated_in([fact.fact.lower()])] == []
    sources = [fact.source for fact in listed]
    assert [one for one in sources if not re.fullmatch(r"(https://[^/\s]+\.[^\s]+)?", one)] == []
    prompts = [json.loads(line) for line in (DATA / "medicalpromptsources.jsonl").read_text("utf-8").splitlines()]
    assert [one for one in [*sources, *(row["source"] for row in prompts)] if NO_PAGE.search(one)] == []
    assert sum(not one for one in sources) <= len(sources) // 100
