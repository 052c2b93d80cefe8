"""Records as tokens: what is learnt and scored of them is the answers, and the endpoint would read their prompts in the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failure import TrainingFailure
from records.reading import holds_records, read_records
from records.record import CONTEXT, IGNORED, LEARNT, SCORED, Record, Tokens, pieces
from records.rendering import tokens_of
from tests.doubles.rehearsal.toy_families import bytes_with_a_start, bytes_without_a_start, sentence_pieces
from text import read_corpus, read_evaluation

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Llama 2 Chat writes it: each question with the start token before it, each answer with the end token after it.
INSTRUCT = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}{% else %}{{ raise_exception('no ' + m.role) }}{% endif %}{% endfor %}"
)
TALK = (
    {"role": "user", "content": "the cell"},
    {"role": "assistant", "content": "binds one gene"},
    {"role": "user", "content": "and the virus"},
    {"role": "assistant", "content": "copies two"},
)
FAMILIES: list[Callable[[], Any]] = [bytes_with_a_start, bytes_without_a_start, sentence_pieces]


def marked(tokenizer: Any, read: Tokens, least: int) -> str:
    return str(tokenizer.decode([t for t, mark in zip(read.tokens, read.marks, strict=True) if mark >= least]))


@pytest.mark.parametrize("make", FAMILIES)
def test_of_a_prompt_and_its_completion_the_completion_is_scored_and_its_end_learnt(make: Callable[[], Any]) -> None:
    tokenizer = make()
    read = tokens_of(Record("r", "g", "the cell binds", " one gene"), tokenizer)
    served = tokenizer("the cell binds")["input_ids"]
    assert list(read.tokens[: len(served)]) == served, "the server reads the prompt in the same way"
    assert set(read.marks[: len(served)]) == {CONTEXT}
    assert tokenizer.decode(read.scored).strip() == "one gene"
    assert (read.tokens[-1], read.marks[-1]) == (tokenizer.eos_token_id, LEARNT)
    assert list(read.tokens[:-1]) == tokenizer("the cell binds one gene")["input_ids"]


def test_where_a_token_would_reach_from_the_prompt_into_the_answer_they_are_read_apart() -> None:
    tokenizer = bytes_without_a_start()
    whole = max((tokenizer.decode(token) for token in range(len(tokenizer) - 1)), key=len)
    halves = whole[:2], whole[2:]
    assert len(tokenizer(whole)["input_ids"]) == 1
    read = tokens_of(Record("r", "g", *halves), tokenizer)
    prompt, answer = (tokenizer(half)["input_ids"] for half in halves)
    assert list(read.tokens) == [*prompt, *answer, tokenizer.eos_token_id]


def test_of_a_conversation_every_answer_is_scored_and_the_mark_after_it_learnt() -> None:
    tokenizer = bytes_without_a_start()
    tokenizer.chat_template = CHATML
    read = tokens_of(Record("r", "g", messages=TALK), tokenizer)
    assert tokenizer.decode(read.scored) == "binds one genecopies two"
    assert marked(tokenizer, read, LEARNT) == "binds one gene<|im_end|>copies two<|im_end|>"
    whole = tokenizer.apply_chat_template(list(TALK), tokenize=False)
    assert tokenizer.decode(read.tokens) == whole.rstrip(), (
        "what the template writes, but for the white space at its end"
    )


def test_of_llama_2_chat_the_blank_before_an_answer_belongs_to_its_first_token() -> None:
    tokenizer = sentence_pieces()
    tokenizer.chat_template = INSTRUCT
    read = tokens_of(Record("r", "g", messages=TALK), tokenizer)
    whole = tokenizer.apply_chat_template(list(TALK), tokenize=False)
    assert list(read.tokens) == tokenizer(whole, add_special_tokens=False)["input_ids"]
    learnt = [t for t, mark in zip(read.tokens, read.marks, strict=True) if mark]
    assert learnt.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(read.scored).split() == ["binds", "one", "gene", "copies", "two"]


def test_a_model_without_a_chat_template_is_refused_by_name() -> None:
    with pytest.raises(TrainingFailure, match="no chat template") as refusal:
        tokens_of(Record("r", "g", messages=TALK), bytes_without_a_start())
    assert "Choose a chat model as base_model" in refusal.value.mend


def test_what_the_template_refuses_is_told_in_its_own_words_with_the_record() -> None:
    tokenizer = sentence_pieces()
    tokenizer.chat_template = INSTRUCT
    talk = ({"role": "system", "content": "be brief"}, *TALK)
    with pytest.raises(TrainingFailure, match="refuses the record talk-7: no system"):
        tokens_of(Record("talk-7", "g", messages=talk), tokenizer)


def test_a_template_that_takes_back_what_it_wrote_is_refused() -> None:
    tokenizer = bytes_without_a_start()
    tokenizer.chat_template = "{{ messages | length }}" + CHATML
    with pytest.raises(TrainingFailure, match="another way once it goes on") as refusal:
        tokens_of(Record("r", "g", messages=TALK), tokenizer)
    assert refusal.value.mend == "Give records with one answer each."


def test_a_template_that_changes_an_answer_is_refused() -> None:
    tokenizer = bytes_without_a_start()
    tokenizer.chat_template = CHATML.replace("m.content", "m.content | upper")
    with pytest.raises(TrainingFailure, match="changes an answer of the record r"):
        tokens_of(Record("r", "g", messages=TALK), tokenizer)


@pytest.mark.parametrize("prompt_tokens", [1, 3, 9, 25])
@pytest.mark.parametrize("answer_tokens", [1, 4, 30])
@pytest.mark.parametrize("length", [4, 8, 64])
def test_every_token_of_an_answer_is_a_label_exactly_once_however_long_the_record(
    prompt_tokens: int, answer_tokens: int, length: int
) -> None:
    count = prompt_tokens + answer_tokens
    read = Tokens(tuple(range(count + 1)), (*[CONTEXT] * prompt_tokens, *[SCORED] * answer_tokens, LEARNT))
    for least, wanted in ((SCORED, range(prompt_tokens, count)), (LEARNT, range(prompt_tokens, count + 1))):
        cut = pieces(read, length, least)
        assert [label for _, labels in cut for label in labels if label != IGNORED] == list(wanted)
        for inputs, labels in cut:
            assert len(inputs) == len(labels) <= length
            assert inputs == list(range(inputs[0], inputs[0] + len(inputs))), "what stands in a piece is in a row"
            assert all(label in (IGNORED, token + 1) for token, label in zip(inputs, labels, strict=True))


def test_a_piece_of_a_long_record_has_half_a_piece_of_context() -> None:
    read = Tokens(tuple(range(101)), (*[CONTEXT] * 80, *[SCORED] * 21))
    (inputs, labels), *_ = pieces(read, 20, SCORED)
    assert [label != IGNORED for label in labels].index(True) == 10
    assert len(inputs) == 20


LINES = """
{"id": "a", "group": "one", "prompt": "p", "completion": " q"}

{"id": "b", "group": "two", "prompt": "p", "completion": " r\\u2028s"}
{"id": "c", "group": "one", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
"""


def test_a_corpus_of_records_has_a_document_each_and_held_out_ones_one_for_each_group(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(LINES, encoding="utf-8")
    assert holds_records(tmp_path / "corpus.jsonl")
    assert [item.records[0].id for item in read_corpus(tmp_path)] == ["a", "b", "c"]
    one, two = read_evaluation(tmp_path / "corpus.jsonl")
    assert (one.id, [record.id for record in one.records], one.text) == ("one", ["a", "c"], "q\ny")
    assert (two.id, two.bytes) == ("two", len("r\u2028s".encode()))


@pytest.mark.parametrize(
    "line",
    ["{", "3", '{"id": "a"}', '{"id": "a", "group": "b", "completion": "c"}', '{"id": "a", "group": "b", "messages": []}',
     '{"id": "a", "group": "b", "messages": [{"role": "user", "content": "x"}]}'],
)  # fmt: skip
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "corpus.jsonl").write_text(LINES.strip() + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(TrainingFailure, match=r"corpus\.jsonl line 5 is not a record"):
        read_records(tmp_path / "corpus.jsonl")


def test_documents_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "heldout.jsonl"
    path.write_text('{"id": "a", "title": "A", "text": "b"}\n', encoding="utf-8")
    assert not holds_records(path)
    path.write_text("{", encoding="utf-8")
    assert not holds_records(path)


def test_an_empty_file_of_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(TrainingFailure, match="holds no record"):
        read_corpus(tmp_path)
