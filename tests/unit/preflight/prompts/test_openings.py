"""Prompts made of a user's own text: whole beginnings of its sentences, the most readable first."""

from __future__ import annotations

import pytest

from common.errors import PromptsRejected
from common.text import sentences, words
from preflight.prompts.openings import STRAINED, from_held_out
from preflight.texts.holding_out import split
from preflight.texts.text_file import Document
from tests.doubles.texts.made_up_prose import prose

PLAIN = (
    "The panel was compared with two other methods in the same laboratory over one year.",
    "All three methods found the common mutations that were expected in this group of patients.",
    "Nobody had asked for the second sample before the results of the first were known.",
    "The cost of a test depends on the number of samples that are run at the same time.",
    "Most of the laboratories in the country have changed to the new method since then.",
    "A second reader looked at each of the reports before it was sent to the hospital.",
)
TABLE = "Targeted gene panels Driver mutations (recurrent somatic variants) Yes Limited Whole exome sequencing Coding regions Yes Partial."


def asked(*paragraphs: str) -> list[str]:
    return [prompt["prompt"] for prompt in from_held_out([Document("a", "A", "\n\n".join(paragraphs))])]


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
        assert 1 <= words.count(prompt["prompt"]) <= 12
        assert any(prompt["prompt"] in " ".join(part.text.split()) for part in held_out)


def test_an_opening_too_long_for_the_model_is_left_out() -> None:
    sequences = ">s\n" + "\n".join(["ACGT" * 2500] * 30)
    assert from_held_out([Document("heldout-001", "T", sequences), Document("heldout-002", "U", prose(60, 1))])[0][
        "prompt"
    ]
    with pytest.raises(PromptsRejected, match="each has more than 4,000 bytes. Give `prompts` of your own"):
        from_held_out([Document("heldout-001", "T", sequences)])


def test_a_beginning_that_many_documents_share_is_asked_once() -> None:
    shared = [Document(str(n), "T", f"{PLAIN[0]} {PLAIN[1]}") for n in range(8)]
    assert sorted(prompt["prompt"] for prompt in from_held_out(shared)) == sorted(
        str(sentences.opening(plain)) for plain in PLAIN[:2]
    )
    without_sentences = [Document(str(n), "T", "one two three four five six seven " * 5) for n in range(8)]
    assert len(from_held_out(without_sentences)) == 1


def test_a_table_that_has_become_one_line_is_not_asked_where_there_are_sentences() -> None:
    made = asked(TABLE, *PLAIN)
    assert len(made) == len(PLAIN)
    assert not [prompt for prompt in made if "Targeted" in prompt]


def test_a_table_is_asked_all_the_same_where_nothing_better_is_there() -> None:
    assert asked(TABLE)[0].startswith("Targeted gene panels")


def test_the_most_readable_stands_first() -> None:
    hard = "Of 1,204 samples [12], 34.4 % (95 % CI 31.8 to 37.1) had an event before the end of the study."
    leaning = "It was therefore repeated in all of the patients who came back in the second year."
    made = asked(hard, leaning, *PLAIN[:4])
    assert made[:4] == [sentences.opening(plain) for plain in PLAIN[:4]]
    assert made[4:] == ["It was therefore repeated in all of", sentences.opening(hard)]


def test_they_come_from_all_over_the_text() -> None:
    documents = [Document(str(n), "T", prose(200, n)) for n in range(10)]
    made = [prompt["prompt"] for prompt in from_held_out(documents)]
    assert len(made) == 20
    assert all(sum(prompt in " ".join(part.text.split()) for prompt in made) == 2 for part in documents)


def test_none_strains_a_reader_where_there_is_enough_to_choose_from() -> None:
    assert all(sentences.strain(prompt) < STRAINED for prompt in asked(TABLE, *PLAIN))
