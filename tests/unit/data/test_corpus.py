"""The texts that come with the project: what their index says is true, and what is held out was never trained on."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from operations.data import index as text_index
from operations.data import outside, texts
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document, documents

DATA = texts.DATA
DOMAINS = texts.domains()
LEAST_WORDS = 60  # of a document: a shorter one shows no register
CONTROL = (DATA / "control.txt").read_text("utf-8")
AREAS = ("genomic research", "viral genomics", "personalised medicine")
MAIN_REGISTERS = ("abstract", "review", "guideline", "report", "case-report", "drug-label", "summary")
REGISTERS = (*MAIN_REGISTERS, "questions", "patient-information")
FETCHED = str(outside.TARGET) if outside.TARGET.is_file() else ""
OUTSIDE = os.environ.get("CAPTUNE_OUTSIDE") or FETCHED


def rows(domain: str, split: str | None = None) -> list[tuple[text_index.Entry, Document]]:
    return [row for row in text_index.pairs(DATA, domain) if split in (None, row[0].split)]


def whole(document: Document) -> str:
    return f"{document.title}\n\n{document.text}"


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def longest_shared_run(ours: list[str], theirs: list[str]) -> tuple[int, str]:
    """Words of the longest run that a text of ours shares with one of theirs, and the run."""
    best = (0, "")
    split = [words_of(text) for text in ours], [words_of(text) for text in theirs]
    while True:
        length = best[0] + 1
        there = {tuple(words[n : n + length]) for words in split[1] for n in range(len(words) - length + 1)}
        run = next(
            (
                r
                for words in split[0]
                for n in range(len(words) - length + 1)
                if (r := tuple(words[n : n + length])) in there
            ),
            None,
        )
        if run is None:
            return best
        best = (length, " ".join(run))


@pytest.mark.parametrize("domain", DOMAINS)
def test_index_and_texts_name_the_same_documents_in_the_same_order_each_once(domain: str) -> None:
    titles = Counter(entry.title for entry, _ in rows(domain))
    assert [title for title, times in titles.items() if times > 1] == []
    assert len(titles) == len(text_index.read(DATA / f"{domain}index.jsonl"))


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_is_held_out_was_chosen_by_the_plan_and_not_by_the_text(domain: str) -> None:
    entries = [entry for entry, _ in rows(domain)]
    assert [entry.title for entry in entries if entry.split != entry.planned_split] == []
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in entries:
        numbers[entry.part, entry.register].append(entry.number)
    assert [key for key, found in numbers.items() if sorted(found) != list(range(1, len(found) + 1))] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_document_is_long_enough_names_its_sources_and_holds_no_control_character(domain: str) -> None:
    assert [entry.title for entry, document in rows(domain) if len(document.text.split()) < LEAST_WORDS] == []
    assert [entry.title for entry, _ in rows(domain) if not entry.sources.strip()] == []
    odd = {
        c
        for _, document in rows(domain)
        for c in whole(document)
        if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")
    }
    assert odd == set()


def test_the_medical_corpus_holds_every_register_of_every_area_and_a_share_of_general_prose() -> None:
    training = rows("medical", text_index.TRAIN)
    found = {(entry.area, entry.register) for entry, _ in training}
    wanted = {(area, register) for area in AREAS for register in REGISTERS}
    assert found == wanted | {("general", "general")}
    words: Counter[bool] = Counter()
    for entry, document in training:
        words[entry.register == "general"] += len(document.text.split())
    assert words[False] >= 60_000
    # Replay, so that less is forgotten. It was 4.4 % of the field when the seeds 7 to 9 were measured: control
    # text got easier. What a smaller share does nobody has measured, so text of the field that thins it out further needs more of it, or a
    # measurement. Much more would be learnt in place of the field.
    assert 0.04 <= words[True] / words[False] <= 0.15


def test_every_main_register_is_measured_in_every_area() -> None:
    found = {(entry.area, entry.register) for entry, _ in rows("medical", text_index.HELD_OUT)}
    assert found >= {(area, register) for area in AREAS for register in MAIN_REGISTERS}


def test_a_text_that_teaches_nothing_of_the_field_does_not_hold_its_held_out_text_either() -> None:
    # The finance text is trained on in an experiment that is measured with the medical held-out text.
    finance = Overlap((DATA / "financedataset.txt").read_text("utf-8"))
    assert finance.first((DATA / "medicalheldout.txt").read_text("utf-8")) is None


def test_the_datasheet_counts_the_words_of_each_register_and_area_as_they_are() -> None:
    words: Counter[tuple[str, str]] = Counter()
    for entry, document in rows("medical"):
        for name in {entry.register, entry.area}:
            words[name, entry.split] += len(document.text.split())
    sheet = [
        line.split(" | ") for line in (DATA / "README.md").read_text("utf-8").splitlines() if line.startswith("| ")
    ]
    told = {cells[0].strip("| `"): (cells[-2], cells[-1].rstrip(" |")) for cells in sheet}
    for name in (*REGISTERS, *AREAS, "general"):
        train, held_out = words[name, text_index.TRAIN], words[name, text_index.HELD_OUT]
        assert told[name] == (f"{train:,}", f"{held_out:,}" if held_out else "–")


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_held_out_or_control_document_shares_eight_words_in_a_row_with_what_is_trained_on(domain: str) -> None:
    training = Overlap("\n\n".join(whole(document) for _, document in rows(domain, text_index.TRAIN)))
    kept_apart = [document for _, document in rows(domain, text_index.HELD_OUT)] + documents(CONTROL, "control")
    shared = {document.title: run for document in kept_apart if (run := training.first(whole(document)))}
    assert shared == {}


@pytest.mark.slow
@pytest.mark.skipif(not OUTSIDE, reason="no text by others: make outside, or a file of JSON Lines in CAPTUNE_OUTSIDE")
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_text_of_others_is_in_the_corpus(domain: str, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = [json.loads(line)["text"] for line in Path(OUTSIDE).read_text("utf-8").splitlines() if line.strip()]
    assert theirs
    length, run = longest_shared_run([whole(document) for _, document in rows(domain)], theirs)
    with capsys.disabled():
        print(f"\n{domain}: the longest run shared with {OUTSIDE} has {length} words: {run}")
    assert length < 8


def test_a_shared_run_is_found_whatever_its_case_and_punctuation() -> None:
    assert longest_shared_run(["a b, C d! e f"], ["x B c (D) e y", "a b"]) == (4, "b c d e")
    assert longest_shared_run(["a"], ["b"]) == (0, "")
