"""Sentences of texts of every kind, and where they are cut."""

from __future__ import annotations

import time

import pytest

from common.text import sentences


def openings(text: str) -> list[str]:
    return [
        found
        for part in sentences.prose(text)
        for sentence in sentences.split(part)
        if (found := sentences.opening(sentence))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Values below approx. 5 units were treated as missing in all of the analyses.", 1),
        ("As shown in Fig. 2, the curves of the two groups separate. The others do not.", 2),
        ("Several genes, e.g. TP53 and RUNX1, are known. Dr. J. R. Miller argued against it.", 2),
        ("The mean rose from 3.5 mg to 7.25 mg. A total of 1.204 patients had an event.", 2),
        ("Am 3. Mai wurde die Studie nach ca. 24 Monaten beendet. Das war z. B. in Bonn so.", 2),
        ("It ended in 2019. The others went on.", 2),
        ("\"Where were you?\" she asked. \"At home.\"", 2),
        ("Sie kamen zu spät! Warum? Das weiß niemand mehr.", 3),
        ("What has no end is no sentence", 0),
    ],
)  # fmt: skip
def test_a_full_stop_ends_a_sentence_unless_it_belongs_to_a_word(text: str, expected: int) -> None:
    assert len(list(sentences.split(text))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Cut where something has to come, not in the middle of a name.
        ("The house stood at the end of a road that nobody had mended.", ["The house stood at the end of"]),
        ("Smith et al. reported that the response was lower in older patients than in the others.",
         ["Smith et al. reported that the response was"]),
        # A figure keeps its unit, a bracket its end, a quotation too.
        ("The mean concentration rose from 3.5 mg/l to 7.25 mg/l within two hours of the dose.",
         ["The mean concentration rose from 3.5 mg/l"]),
        ("Reads of the panel (or of the genome) were aligned by the program that everybody uses.",
         ["Reads of the panel (or of the genome) were"]),
        ("My father said to us that \u201cthe mill and the road will go\u201d when the dam is built.",
         ["My father said to us that"]),
        ("Mein Vater sagte: \u201eDie M\u00fchle und die Stra\u00dfe werden verschwinden\u201c, als der Damm gebaut wurde.",
         ["Mein Vater sagte: \u201eDie M\u00fchle und die Stra\u00dfe werden verschwinden\u201c, als"]),
        # What stands before a sentence is not of it.
        ("(2) Personal data shall be kept in a form which permits identification of the persons.",
         ["Personal data shall be kept in a form which"]),
        ("BACKGROUND: Resistance can reduce the effect of the first drug that is given to all of the patients.",
         ["Resistance can reduce the effect of"]),
        ("- Compare the result with the germline sample of the very same patient and of no other.\n- short\n- The coverage of the region "
         "ought to be known before\n  the report is written.",
         ["Compare the result with the germline sample of", "The coverage of the region ought to be"]),
        # Tables, headings and what is too short are not asked.
        ("Method\tCoverage\tCost of one sample of the usual size, in euros, with tax included.", []),
        ("| assay | the limit of detection that the maker promises | the number of days until a result. |", []),
        ("Chronic infections of the liver in the world of today and of tomorrow", []),
        ("He left.", []),
    ],
)  # fmt: skip
def test_a_sentence_is_cut_where_it_is_plain_that_something_comes(text: str, expected: list[str]) -> None:
    assert openings(text) == expected


@pytest.mark.parametrize(
    ("harder", "easier"),
    [
        ("It was therefore repeated in all of", "The test was repeated in all of"),
        ("Results and discussion The median age of", "Here the median age of all patients was"),
        ("Of 1,204 samples (34.4 %) had an", "Of the samples that were taken a third had an"),
        ("lowercase start of a text that", "A start of a text that"),
        ("Targeted Gene Panels Driver Mutations Exome", "Targeted panels find the driver mutations of an exome"),
        ("Sequences = indexed with samtools @ https://example.org of", "Sequences were indexed with the tools of"),
    ],
)
def test_plain_words_strain_a_reader_least(harder: str, easier: str) -> None:
    assert sentences.strain(harder) > sentences.strain(easier)


@pytest.mark.parametrize(
    "text", ["1. " * 100_000, "." * 300_000 + "x", "(" * 100_000, "a: " * 100_000, "\u00e9" * 300_000]
)
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    openings(text)
    assert time.process_time() - begun < 5
