"""Prompts made from held-out text: readable openings of sentences, whatever the text is like."""

from __future__ import annotations

from typing import Any

import pytest
from made_up_prose import prose

from common import words
from preflight import openings
from preflight.holding_out import split
from preflight.prompts import MAXIMUM_MADE_PROMPTS, MAXIMUM_PROMPT_BYTES
from preflight.texts import Document


def from_held_out(held_out: list[Document]) -> list[dict[str, Any]]:
    return openings.from_held_out(held_out, MAXIMUM_MADE_PROMPTS, MAXIMUM_PROMPT_BYTES)


def made_of(*texts: str) -> list[str]:
    return [prompt["prompt"] for prompt in from_held_out([Document(f"d{n}", "T", t) for n, t in enumerate(texts)])]


@pytest.mark.parametrize(
    "text",
    [prose(3000), prose(3000).replace("\n\n", "\n"), "\n\n".join(f"# T\n\n{prose(60, n)}" for n in range(30)),
     "".join("。" if n % 9 == 8 else chr(0x4E00 + (n * 97) % 3000) for n in range(6000)),
     "\n\n".join(f"# T\n\nOnly {n} short words here." for n in range(300))],
    ids=["paragraphs", "no blank lines", "documents", "Chinese", "short paragraphs"],
)  # fmt: skip
def test_a_corpus_without_prompts_gets_openings_of_its_held_out_text(text: str) -> None:
    _, held_out = split(text)
    made = from_held_out(held_out)
    assert 6 <= len(made) <= 20
    assert len({prompt["id"] for prompt in made}) == len(made)
    for prompt in made:
        assert prompt["kind"] == "starter"
        assert prompt["facts"] == []
        assert 1 <= words.count(prompt["prompt"]) <= 10
        assert any(prompt["prompt"] in " ".join(part.text.split()) for part in held_out)


def test_an_opening_too_long_for_the_model_is_left_out() -> None:
    sequences = ">s\n" + "\n".join(["ACGT" * 2500] * 30)
    assert from_held_out([Document("heldout-001", "T", sequences), Document("heldout-002", "U", prose(60, 1))])[0][
        "prompt"
    ]
    assert all(len(p["prompt"]) <= 4000 for p in from_held_out([Document("heldout-001", "T", sequences)]))


def test_an_opening_leaves_the_model_something_to_go_on_with() -> None:
    assert made_of(f"Short one. {SENTENCE}") == ["Viral load falls within weeks of the first"]


def test_a_text_without_sentences_gives_the_first_words_of_its_paragraphs() -> None:
    listed = "genes\n\nkinases and phosphatases " + "with their substrates and inhibitors " * 6
    assert made_of(listed) == ["kinases and phosphatases with their substrates and"]


TABLE_ROW = "Targeted gene panels Driver mutations (recurrent somatic mutations) 200x 5 percent Clinic Yes\n\n"
SENTENCE = "Viral load falls within weeks of the first dose in most of the patients who were treated early."


def test_a_row_of_a_table_is_no_prompt() -> None:
    assert made_of(f"{TABLE_ROW}{SENTENCE}") == ["Viral load falls within weeks of the first"]


@pytest.mark.parametrize("line", [
    "| Gene | Variants that were found in the cohort | Share of the patients who carry them in per cent |.",
    "- Genes with variants that were found in the cohort of patients who were treated in the last ten years.",
    "3) Genes with variants that were found in the cohort of patients who were treated in the last ten years.",
    "and so the rest of a sentence that was cut by the page before goes on until its very own end is reached.",
    "Too short for anything to go on with.",
])  # fmt: skip
def test_what_is_no_running_sentence_is_no_prompt(line: str) -> None:
    assert made_of(line, SENTENCE) == ["Viral load falls within weeks of the first"]


def test_an_opening_never_ends_inside_brackets() -> None:
    closed = "Resistance to this drug (tenofovir disoproxil) was rare in all the groups of patients that were followed."
    open_all_along = (
        "Resistance to tenofovir (seen in the reverse transcriptase of most of the isolates) was rare in all."
    )
    assert made_of(closed) == ["Resistance to this drug (tenofovir disoproxil) was rare"]
    assert made_of(open_all_along, SENTENCE) == ["Viral load falls within weeks of the first"]


def test_an_opening_ends_at_a_comma_where_there_is_one() -> None:
    assert made_of(
        "In a cohort of treated patients, resistance was seen in fewer than one of ten after two years."
    ) == ["In a cohort of treated patients"]


def test_an_opening_ends_with_a_word_that_says_something_where_one_is_near() -> None:
    sentence = "Most of these variants were seen in a few patients who had never been treated before that year."
    assert made_of(sentence) == ["Most of these variants were seen in a few patients"]


def test_the_most_readable_openings_come_first() -> None:
    made = made_of(
        "CRISPR-Cas9 KO of TP53 in HEK293T raised IC50 of GSK-123 by 5.3 in all of the cells that were tested there.",
        SENTENCE,
    )
    assert made[0] == "Viral load falls within weeks of the first"
    assert len(made) == 2


def test_german_capitals_do_not_hide_german_sentences() -> None:
    text = "Die Behandlung der Patienten mit dem neuen Wirkstoff senkte die Viruslast in den ersten Wochen deutlich."
    assert made_of(text) == ["Die Behandlung der Patienten mit dem neuen Wirkstoff"]


def test_the_same_opening_is_asked_once() -> None:
    assert len(made_of(SENTENCE, SENTENCE)) == 1
