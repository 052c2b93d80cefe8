"""How often a text states core facts, and that the corpus that comes with the project states each of its own often enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from operations.data import facts, texts
from operations.data.facts import Fact, Statements
from preflight.texts.text_file import Document, documents

IMATINIB = Fact("Imatinib inhibits BCR::ABL1", "imatinib", r"bcr::abl1|tyrosine kinase", "")
LISTED = sorted(texts.DATA.glob(f"*{facts.LISTED}"))


def document(title: str, text: str) -> Document:
    return documents(f"# {title}\n\n{text}\n", "test")[0]


def test_a_sentence_states_a_fact_where_it_names_subject_and_answer_in_whatever_order_and_case() -> None:
    assert IMATINIB.stated_in(["imatinib is an inhibitor of the tyrosine kinase."])
    assert IMATINIB.stated_in(["bcr::abl1 is inhibited by imatinib."])
    assert not IMATINIB.stated_in(["imatinib is well tolerated."])
    assert not IMATINIB.stated_in(["bcr::abl1 is a fusion."])


def test_subject_and_answer_in_two_sentences_or_paragraphs_state_nothing() -> None:
    text = "Imatinib is a drug. It inhibits BCR::ABL1.\n\nImatinib\n\nBCR::ABL1; imatinib"
    assert facts.statements([IMATINIB], [document("A", text)]) == [Statements(IMATINIB.fact, 0, 0)]


def test_statements_are_counted_by_sentence_and_by_document_and_titles_are_not() -> None:
    twice = "Imatinib inhibits BCR::ABL1. The tyrosine kinase is blocked by imatinib. Nothing else."
    rows = [document("Imatinib inhibits BCR::ABL1", twice), document("B", twice), document("C", "Nothing.")]
    assert facts.statements([IMATINIB], rows) == [Statements(IMATINIB.fact, 4, 2)]


@pytest.mark.parametrize(("sentences", "of", "enough"), [(5, 3, True), (4, 3, False), (5, 2, False), (40, 20, True)])
def test_five_sentences_of_three_documents_are_enough(sentences: int, of: int, enough: bool) -> None:
    assert Statements("a fact", sentences, of).enough is enough


def test_the_data_command_says_how_often_the_facts_of_each_domain_are_stated(tmp_path: Path) -> None:
    said = "# A\n\nImatinib inhibits BCR::ABL1. Imatinib hits a tyrosine kinase.\n\n# B\n\nImatinib blocks BCR::ABL1. So NPM1 is NPM1.\n"
    (tmp_path / "lawdataset.txt").write_text(said, "utf-8")
    line = '{"fact": "%s", "subject": "%s", "object": "%s", "source": ""}\n'
    (tmp_path / "lawfacts.jsonl").write_text(
        line % ("one", "imatinib", "bcr::abl1|tyrosine") + line % ("two", "npm1", "is"), "utf-8"
    )
    *_, last = texts.count(tmp_path)
    assert last.strip() == "2 core facts, each stated in 1 to 3 sentences (median 2) of 1 documents or more"


@pytest.mark.slow
@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_the_corpus_states_each_of_its_core_facts_in_five_wordings_or_more(file: Path) -> None:
    found = facts.in_corpus(file)
    assert len(found) >= 400
    assert [str(row) for row in found if not row.enough] == []


@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_no_fact_is_listed_twice_and_none_is_stated_by_its_subject_alone(file: Path) -> None:
    listed = facts.read(file)
    assert len({(fact.subject, fact.object) for fact in listed}) == len({fact.fact for fact in listed}) == len(listed)
    assert [fact.fact for fact in listed if re.fullmatch(r"\W*", fact.subject) or fact.subject == fact.object] == []
    assert [fact.fact for fact in listed if not fact.stated_in([fact.fact.lower()])] == []


@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_a_fact_has_the_address_of_a_text_that_states_it(file: Path) -> None:
    sources = [fact.source for fact in facts.read(file)]
    assert [one for one in sources if not re.fullmatch(r"(https://[^/\s]+\.[^\s]+)?", one)] == []
    assert sum(not one for one in sources) <= len(sources) // 100
