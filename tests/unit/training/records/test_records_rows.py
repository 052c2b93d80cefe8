"""Records in rows: whole where they fit, split where not, none lost, and the same in every epoch but for the order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arguments import Arguments
from failure import TrainingFailure
from records.choosing import describe, rows_of, tell_of_long_records
from records.record import CONTEXT, IGNORED, LEARNT, SCORED, Record, Tokens
from records.rows import RecordRows
from text import Boundaries, Document, Epochs

END = 2
LENGTH = 16


def record(number: int, prompt: int, answer: int) -> Tokens:
    """Tokens that tell of which record they are: 1000 * record + place; the end token after them."""
    own = range(1000 * number + 1000, 1000 * number + 1000 + prompt + answer)
    return Tokens((*own, END), (*[CONTEXT] * prompt, *[SCORED] * answer, LEARNT))


def rows(records: list[Tokens], **more: int) -> RecordRows:
    return RecordRows(records, END, length=LENGTH, seed=more.get("seed", 1), epochs=more.get("epochs", 1))


sizes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=30)


@given(sizes)
def test_every_answer_is_learnt_once_an_epoch_and_no_prompt(made: list[tuple[int, int]]) -> None:
    records = [record(number, *size) for number, size in enumerate(made)]
    learnt = Counter(label for row in rows(records) for label in row["labels"] if label != IGNORED)
    wanted = Counter(t for one in records for t, mark in zip(one.tokens, one.marks, strict=True) if mark >= LEARNT)
    assert learnt == wanted


@given(sizes)
def test_all_rows_have_one_length_and_something_to_learn(made: list[tuple[int, int]]) -> None:
    for row in rows([record(number, *size) for number, size in enumerate(made)]):
        assert len(row["input_ids"]) == len(row["labels"]) == LENGTH
        assert any(label != IGNORED for label in row["labels"])


def test_several_short_records_share_a_row_each_with_its_end_before_the_next() -> None:
    (only,) = rows([record(number, 2, 2) for number in range(3)])
    starts = [place for place, token in enumerate(only["input_ids"]) if token % 1000 == 0]
    assert starts == [0, 5, 10]
    assert [only["input_ids"][place - 1] for place in starts[1:]] == [END, END]
    assert [only["labels"][place - 1] for place in starts[1:]] == [IGNORED, IGNORED], (
        "what follows an end is nobody's answer"
    )


def test_a_record_that_fits_is_never_cut() -> None:
    for row in rows([record(number, 6, 9) for number in range(9)]):
        assert len({token // 1000 for token in row["input_ids"] if token >= 1000}) == 1


def test_an_epoch_shows_the_same_rows_in_another_order_and_a_seed_fixes_it() -> None:
    records = [record(number, 6, 8) for number in range(12)]
    two = [tuple(row["input_ids"]) for row in rows(records, epochs=2)]
    assert sorted(two[:12]) == sorted(two[12:]) and two[:12] != two[12:]
    assert two == [tuple(row["input_ids"]) for row in rows(records, epochs=2)]
    assert two != [tuple(row["input_ids"]) for row in rows(records, epochs=2, seed=9)]


def test_tokens_are_counted_without_what_only_fills_a_row() -> None:
    made = rows([record(0, 3, 3), record(1, 8, 8), record(2, 9, 7)], epochs=2)
    inputs = [sum(token != END for token in row["input_ids"]) for row in made]
    assert [made.tokens(count) for count in range(7)] == [sum(inputs[:count]) for count in range(7)]
    assert made.tokens(99) == sum(inputs)


def test_a_limit_of_rows_holds() -> None:
    made = RecordRows([record(number, 6, 8) for number in range(12)], END, length=LENGTH, seed=1, epochs=2)
    made.stop_after(5)
    assert len(made) == len(list(made)) == 5
    with pytest.raises(IndexError):
        made[5]


def documents(*sizes_of: tuple[int, int]) -> list[Document]:
    made = []
    for number, size in enumerate(sizes_of):
        read = record(number, *size)
        made.append(Document(f"g{number}", "", "two words", read.scored, (Record(f"r{number}", "g"),), (read,)))
    return made


def arguments(**more: object) -> Arguments:
    return Arguments(sequence_length=LENGTH, **more)  # type: ignore[arg-type]


def test_a_record_longer_than_a_row_is_split_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = documents((6, 8), (30, 9))
    made = rows_of(corpus, Boundaries(None, END), arguments())
    tell_of_long_records(corpus, arguments())
    assert "1 of 2 records are longer than sequence_length, 16 tokens: they are split" in capsys.readouterr().out
    assert describe(corpus, made.rows_per_epoch, LENGTH) == {
        "documents": 2, "tokens": 55, "bytes": 18, "words": 4, "sequences": 3, "answer_tokens": 17, "split_records": 1,
    }  # fmt: skip


def test_or_refused_by_name_where_the_settings_say_so() -> None:
    with pytest.raises(TrainingFailure, match=r"1 of 2 records .*: r1 \(40\)") as refusal:
        tell_of_long_records(documents((6, 8), (30, 9)), arguments(long_records="refuse"))
    assert "Raise sequence_length" in refusal.value.mend
    tell_of_long_records(documents((6, 10)), arguments(long_records="refuse"))


def test_running_text_goes_its_own_way() -> None:
    corpus = [Document("d", "", "text", tuple(range(50)))]
    assert isinstance(rows_of(corpus, Boundaries(1, END), arguments()), Epochs)
    assert "split_records" not in describe(corpus, 4, LENGTH)


def test_running_text_is_learnt_in_the_order_that_the_settings_name() -> None:
    corpus = [Document(str(number), "", "text", (number,) * LENGTH) for number in range(100, 140)]

    def latest_before(order: str) -> int:
        """How far before the farthest document so far one comes, at most."""
        made = rows_of(corpus, Boundaries(1, END), arguments(document_order=order))
        tokens = [token for row in made for token in row["input_ids"] if token >= 100]
        return max(max(tokens[: place + 1]) - token for place, token in enumerate(tokens))

    assert latest_before("written") <= 2 < 20 < latest_before("shuffled")
