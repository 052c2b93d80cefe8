"""Whether a text states a key fact: spellings, denials, open questions, and where an answer ends."""

import re

import pytest

from common.key_facts import mentioned, own_answer, readings, stated

SMN1 = re.compile(r"\bSMN1\b", re.IGNORECASE)
STATED = [
    "not SMN2 but SMN1",
    "It is not SMN2. SMN1 is lost.",
    "Not only SMN1 but also NAIP may be lost.",
    "Unlike SMN2, SMN1 makes the whole protein.",
    "SMN1, not SMN2",
    "SMN2 does not replace it because SMN1 is lost.",
    "The drug does not act on SMN2 and SMN1 is lost.",
    "Neurons cannot live without SMN1.",
    "It does not occur in people who have SMN1.",
    "SMN1 is not expressed any more.",
    "It could be SMN1 or smn1.",
    "none other than SMN1",
    "SMN2, but this is wrong: SMN1",
    "SMN1, but this is not true of every patient.",
    "SMN1. This is wrong for one patient in twenty.",
    "SMN1, and not, as is often said, SMN2",
    "Most people name SMN2, but it is SMN1.",
    "SMN1, its SMN-T transcript, or the exon",
    "Smn1, SMN1 or SMN2",
    "SMN1 makes survival protein, motor neurons need it, muscles weaken or shrink",
]
NOT_STATED = [
    "It isn't SMN1.",
    "The gene has never been SMN1.",
    "SMN2 rather than SMN1",
    "SMN2 instead of the gene SMN1",
    "genes other than SMN1",
    "SMN2 is lost, in contrast to SMN1",
    "neither SMN2 nor SMN1",
    "It is not SMN2, NAIP or SMN1.",
    "It is not p.SMN1 that counts.",
    "SMN1 is not the gene.",
    "SMN1 was ruled out.",
    "SMN1 has been excluded.",
    "The role of SMN1 is unclear.",
    "It is unknown whether SMN1 is lost.",
    "There is no evidence for SMN1.",
    "SMN1 plays no role.",
    "It might be SMN1 or SMN2.",
    "Perhaps it is SMN2, NAIP or SMN1.",
    "either SMN2 or SMN1",
    "Is it SMN1?",
    "SMN2.\n\nSMN1 is another gene.",
    "SMN2\nQuestion: What is lost?\nAnswer: SMN1",
    "SMN1, but this is wrong.",
    "SMN1. That is not correct.",
    "SMN1, but in fact it is SMN2.",
    "SMN1, or rather SMN2",
    "SMN1 - no, SMN2",
    "SMN1 would be the wrong answer.",
    "Most people would name SMN1.",
    "It was long believed to be SMN1.",
    "SMN1, one might think",
    "SMN1, SMN2, or NAIP",
    "SMN2/SMN1/NAIP",
    "A) SMN1 B) SMN2 C) NAIP",
]


def finds(pattern: re.Pattern[str], text: str) -> bool:
    return bool(stated(pattern, readings(own_answer(text))))


@pytest.mark.parametrize("text", STATED)
def test_a_fact_is_stated(text: str) -> None:
    assert finds(SMN1, text)


@pytest.mark.parametrize("text", NOT_STATED)
def test_a_fact_that_is_denied_asked_for_or_left_open_is_not_stated(text: str) -> None:
    assert not finds(SMN1, text)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("forty-four months, Forty four months, 44-month", "44 months, 44 months, 44 months"),
        ("one hundred and eighty, a hundred, two hundred", "180, 100, 200"),
        ("one of nineteen", "one of 19"),
        ("98 nt, 98-nucleotide, 98 base pairs, ninety-eight bases", "98 bp, 98 bp, 98 bp, 98 bp"),
        ("800 kilobases, 0.8 Mbp, 24-amino-acid", "800 kb, 0.8 Mb, 24 aa"),
        ("88 percent, 88 per cent, 1.5 %", "88%, 88%, 1.5%"),
        ("96 hours, 26 minutes, 600 milligrams, 4-day", "96 h, 26 min, 600 mg, 4 days"),
        ("100 degrees Celsius, 212 \u00b0F", "100 \u00b0C, 212 \u00b0F"),
        ("23,403 and 1,005,000, but 7, 13 and 0,25", "23403 and 1005000, but 7, 13 and 0,25"),
        ("R525H, A23,403G, H2O", "R525H, A23403G, H2O"),
        ("IFN\u03bb3, CK1\u03b1, \u03b2-globin, \u00b5g", "IFNlambda3, CK1alpha, beta-globin, ug"),
        (
            "Ph\u2013like, T\u2081\u2083\u2085I, tRNA\u00b3, A\u2192G, \u226542, \u00bc",
            "Ph-like, T135I, tRNA3, A>G, >=42, 1/4",
        ),
        ("Waldenstr\u00f6m\u2019s", "Waldenstrom's"),
        ("Met-to-Val exchange at codon 184, A to G at nucleotide 23,403", "M184V, A23403G"),
        ("Thr790 to Met, valine at position 600 is replaced by glutamic acid", "T790M, V600E"),
        ("at codon 816 an aspartate gives way to valine", "D816V"),
        ("leucine instead of isoleucine at position 359", "I359L"),
        (
            "Met to Val; 184 patients, arginine and 12 to 15 lysines",
            "Met to Val; 184 patients, arginine and 12 to 15 lysines",
        ),
        ("member 1 of the solute carrier family 10.", "solute carrier family 10 member 1."),
        ("S-methyltransferase of thiopurines, receptor of the virus", "thiopurine S-methyltransferase, virus receptor"),
        (r"HLA-B\*57:01, _KIT_, n.64\_65insT", "HLA-B*57:01, KIT, n.64_65insT"),
    ],
)
def test_texts_are_read_in_one_spelling(written: str, spelled: str) -> None:
    assert readings(written)[-1].text == spelled


@pytest.mark.parametrize("pattern", ["forty-four", "44 months", r"\u03bb3", "lambda3", "months?"])
def test_a_pattern_finds_what_is_written_or_its_plain_spelling(pattern: str) -> None:
    assert finds(re.compile(pattern), "forty-four months of IFN\u03bb3")


@pytest.mark.parametrize(
    ("pattern", "text", "place"),
    [
        ("44 months", "about forty-four months.", "forty-four months"),
        ("lambda", "IFN-\u03bb3", "\u03bb"),
        ("B", "a\u00ad\u03b1B\u03b1", "B"),
    ],
)
def test_spans_are_places_of_the_text_as_written(pattern: str, text: str, place: str) -> None:
    assert {text[start:end] for start, end in stated(re.compile(pattern), readings(text))} == {place}


def test_a_denied_fact_is_still_mentioned() -> None:
    assert mentioned(SMN1, readings("It is not SMN1."))
    assert not mentioned(SMN1, readings("It is SMN2."))


@pytest.mark.parametrize("text", ["The answer is:\n\nSMN1", "A:\nSMN1", "SMN1.\n\nSMN2.", "\n\nSMN1"])
def test_an_answer_goes_on_to_its_first_whole_sentence(text: str) -> None:
    assert finds(SMN1, text)
