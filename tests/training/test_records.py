"""Records: only answers are trained on and scored, each once, and the endpoint reads their prompts in the same way."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arguments import Arguments
from common.records import Record
from failure import TrainingFailure
from records.record import CONTEXT, IGNORED, LEARNT, SCORED, Tokens, holds_records, pieces, read_records, tokens_of
from records.rows import RecordRows, describe, rows_of, tell_of_long_records
from tests.doubles.rehearsal.toy_models import bytes_with_a_start, bytes_without_a_start, sentence_pieces
from text import Boundaries, Document, read_corpus, read_evaluation

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Llama 2 Chat writes it: each question with the start token before it, each answer with the end token after it.
INSTRUCT = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}"
    "{% else %}{{ raise_exception('no ' + m.role) }}{% endif %}{% endfor %}"
)
TURNS = (("user", "the cell"), ("assistant", "binds one gene"), ("user", "and the virus"), ("assistant", "copies two"))
TALK = Record("r", "g", turns=TURNS)
END = 2
LENGTH = 16


@pytest.mark.parametrize("make", [bytes_with_a_start, bytes_without_a_start, sentence_pieces])
def test_of_a_prompt_and_completion_only_the_completion_is_scored(make: Callable[[], Any]) -> None:
    tokenizer = make()
    read = tokens_of(Record("r", "g", prompt="the cell binds", completion=" one gene"), tokenizer)
    served = tokenizer("the cell binds")["input_ids"]
    assert list(read.tokens[: len(served)]) == served, "the server reads the prompt in the same way"
    assert set(read.marks[: len(served)]) == {CONTEXT}
    assert tokenizer.decode(read.scored).strip() == "one gene"
    assert (read.tokens[-1], read.marks[-1]) == (tokenizer.eos_token_id, LEARNT)
    assert list(read.tokens[:-1]) == tokenizer("the cell binds one gene")["input_ids"]


def test_no_token_reaches_from_the_prompt_into_the_answer() -> None:
    tokenizer = bytes_without_a_start()
    whole = max((tokenizer.decode(token) for token in range(len(tokenizer) - 1)), key=len)
    assert len(tokenizer(whole)["input_ids"]) == 1
    read = tokens_of(Record("r", "g", prompt=whole[:2], completion=whole[2:]), tokenizer)
    prompt, answer = (tokenizer(half)["input_ids"] for half in (whole[:2], whole[2:]))
    assert list(read.tokens) == [*prompt, *answer, tokenizer.eos_token_id]


def test_of_a_conversation_every_answer_is_scored_and_its_end_learned() -> None:
    tokenizer = bytes_without_a_start()
    tokenizer.chat_template = CHATML
    read = tokens_of(TALK, tokenizer)
    assert tokenizer.decode(read.scored) == "binds one genecopies two"
    learned = [token for token, mark in zip(read.tokens, read.marks, strict=True) if mark >= LEARNT]
    assert tokenizer.decode(learned) == "binds one gene<|im_end|>copies two<|im_end|>"
    assert tokenizer.decode(read.tokens) == tokenizer.apply_chat_template(TALK.messages, tokenize=False).rstrip()


def test_of_llama_2_chat_the_blank_before_an_answer_belongs_to_its_first_token() -> None:
    tokenizer = sentence_pieces()
    tokenizer.chat_template = INSTRUCT
    read = tokens_of(TALK, tokenizer)
    whole = tokenizer.apply_chat_template(TALK.messages, tokenize=False)
    assert list(read.tokens) == tokenizer(whole, add_special_tokens=False)["input_ids"]
    learned = [token for token, mark in zip(read.tokens, read.marks, strict=True) if mark]
    assert learned.count(tokenizer.eos_token_id) == 2
    assert tokenizer.decode(read.scored).split() == ["binds", "one", "gene", "copies", "two"]


@pytest.mark.parametrize(
    ("make", "template", "first", "told"),
    [
        (bytes_without_a_start, None, (), "no chat template.*Choose a chat model as base_model"),
        (sentence_pieces, INSTRUCT, (("system", "x"),), "rejects the record talk-7: no system"),
        (bytes_without_a_start, "{{ messages | length }}" + CHATML, (), "Use records with one answer each"),
        (bytes_without_a_start, CHATML.replace("content", "content | upper"), (), "an answer of the record talk-7"),
    ],
)
def test_a_chat_template_that_cannot_be_trained_on_is_rejected(
    make: Callable[[], Any], template: str | None, first: tuple[tuple[str, str], ...], told: str
) -> None:
    tokenizer = make()
    tokenizer.chat_template = template
    with pytest.raises(TrainingFailure, match=told):
        tokens_of(Record("talk-7", "g", turns=(*first, *TURNS)), tokenizer)


def test_pieces_of_a_long_record_begin_with_context_and_its_end_is_not_scored() -> None:
    cut = pieces(Tokens(tuple(range(102)), (*[CONTEXT] * 80, *[SCORED] * 21, LEARNT)), 20, SCORED)
    assert [label for _, labels in cut for label in labels if label != IGNORED] == list(range(80, 101))
    assert [place for place, label in enumerate(cut[0][1]) if label != IGNORED] == list(range(10, 20)), "half a piece"


LINES = """
{"id": "a", "group": "one", "prompt": "p", "completion": " q"}

{"id": "b", "group": "two", "prompt": "p", "completion": " r\\u2028s"}
{"id": "c", "group": "one", "prompt": "p\\nx", "completion": "\\ny"}
"""


def test_a_record_is_a_document_of_the_corpus_and_a_group_one_held_out(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(LINES, encoding="utf-8")
    assert holds_records(path)
    assert [item.records[0].id for item in read_corpus(tmp_path)] == ["a", "b", "c"]
    one, two = read_evaluation(path)
    assert (one.id, [record.id for record in one.records], one.text) == ("one", ["a", "c"], "q\ny")
    assert (two.id, two.bytes) == ("two", len("r\u2028s".encode()))
    for other in ('{"id": "a", "title": "A", "text": "b"}\n', "{"):
        path.write_text(other, encoding="utf-8")
        assert not holds_records(path)


@pytest.mark.parametrize("line", ["{", '{"id": "a", "group": "b", "prompt": "p", "completion": "the same id twice"}'])
def test_a_malformed_record_is_rejected_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "corpus.jsonl").write_text(LINES.strip() + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(TrainingFailure, match=r"corpus\.jsonl: line 5 "):
        read_records(tmp_path / "corpus.jsonl")
    (tmp_path / "corpus.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(TrainingFailure, match="contains no record"):
        read_corpus(tmp_path)


def record(number: int, prompt: int, answer: int) -> Tokens:
    """Tokens that name their record, 1000 * record + place, with the end token after them."""
    own = range(1000 * number + 1000, 1000 * number + 1000 + prompt + answer)
    return Tokens((*own, END), (*[CONTEXT] * prompt, *[SCORED] * answer, LEARNT))


def rows(records: list[Tokens], **more: int) -> RecordRows:
    return RecordRows(records, END, length=LENGTH, seed=more.get("seed", 1), epochs=more.get("epochs", 1))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=30))
def test_rows_teach_every_answer_once_an_epoch_and_no_prompt(made: list[tuple[int, int]]) -> None:
    records = [record(number, *size) for number, size in enumerate(made)]
    dealt = list(rows(records))
    learned = Counter(label for row in dealt for label in row["labels"] if label != IGNORED)
    assert learned == Counter(
        token for one in records for token, mark in zip(one.tokens, one.marks, strict=True) if mark >= LEARNT
    )
    for row in dealt:
        assert len(row["input_ids"]) == len(row["labels"]) == LENGTH
        assert any(label != IGNORED for label in row["labels"])
        pairs = zip(row["input_ids"], row["labels"], strict=True)
        assert all(label in (IGNORED, END, token + 1) for token, label in pairs), "each follows its input"


def test_short_records_share_a_row_and_one_that_fits_is_never_cut() -> None:
    (only,) = rows([record(number, 2, 2) for number in range(3)])
    starts = [place for place, token in enumerate(only["input_ids"]) if token % 1000 == 0]
    assert starts == [0, 5, 10]
    assert [only["input_ids"][place - 1] for place in starts[1:]] == [END, END]
    assert [only["labels"][place - 1] for place in starts[1:]] == [IGNORED, IGNORED], "no one's answer"
    for row in rows([record(number, 6, 9) for number in range(9)]):
        assert len({token // 1000 for token in row["input_ids"] if token >= 1000}) == 1


def test_an_epoch_shows_the_same_rows_in_an_order_of_the_seed() -> None:
    records = [record(number, 6, 8) for number in range(12)]
    two = [tuple(row["input_ids"]) for row in rows(records, epochs=2)]
    assert sorted(two[:12]) == sorted(two[12:]) and two[:12] != two[12:]
    assert two == [tuple(row["input_ids"]) for row in rows(records, epochs=2)]
    assert two != [tuple(row["input_ids"]) for row in rows(records, epochs=2, seed=9)]


def test_tokens_are_counted_without_padding() -> None:
    made = rows([record(0, 3, 3), record(1, 8, 8), record(2, 9, 7)], epochs=2)
    inputs = [sum(token != END for token in row["input_ids"]) for row in made]
    assert [made.tokens(count) for count in (*range(7), 99)] == [sum(inputs[:count]) for count in (*range(7), 99)]


def documents(*sizes: tuple[int, int]) -> list[Document]:
    made = [record(number, *size) for number, size in enumerate(sizes)]
    return [
        Document(f"g{number}", "", "two words", one.scored, (Record(f"r{number}", "g"),), (one,))
        for number, one in enumerate(made)
    ]


def arguments(**more: Any) -> Arguments:
    return Arguments(sequence_length=LENGTH, **more)


def test_a_record_longer_than_a_row_is_split_or_rejected_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = documents((6, 8), (30, 9))
    made = rows_of(corpus, Boundaries(None, END), arguments())
    tell_of_long_records(corpus, arguments())
    assert "1 of 2 records are longer than sequence_length, 16 tokens" in capsys.readouterr().out
    assert describe(corpus, made.rows_per_epoch, LENGTH) == {
        "documents": 2, "tokens": 55, "bytes": 18, "words": 4, "sequences": 3, "answer_tokens": 17, "split_records": 1,
    }  # fmt: skip
    assert "split_records" not in describe([Document("d", "", "text", (1,))], 1, LENGTH)
    with pytest.raises(TrainingFailure, match=r"1 of 2 records .*: r1 \(40\).*Raise sequence_length"):
        tell_of_long_records(corpus, arguments(long_records="refuse"))
    tell_of_long_records(documents((6, 10)), arguments(long_records="refuse"))
