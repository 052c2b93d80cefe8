"""Documents, packing and the order of an epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure import TrainingFailure
from text import (
    IGNORED,
    Boundaries,
    Document,
    Epochs,
    excerpts,
    ordered,
    pack,
    read_corpus,
    read_evaluation,
    split_documents,
)

START, END = 1, 2


class Letters:
    """A tokenizer whose tokens are the letters' code points."""

    def decode(self, tokens: tuple[int, ...]) -> str:
        return "".join(map(chr, tokens))


def document(*tokens: int) -> Document:
    return Document("d", "", "text", tokens)


def test_title_lines_begin_documents() -> None:
    found = split_documents("# One\n\nFirst.\n\nSecond.\n# Two\nThird.\n")
    assert [(item.title, item.text) for item in found] == [
        ("One", "One\n\nFirst.\n\nSecond."),
        ("Two", "Two\n\nThird."),
    ]
    assert [item.id for item in found] == ["training-0001", "training-0002"]


def test_text_without_titles_is_one_document() -> None:
    (only,) = split_documents("\ufeffJust text.\r\n\r\n#hashtag, not a title\r\n")
    assert only.title == ""
    assert only.text == "Just text.\n\n#hashtag, not a title"


def test_titles_without_text_are_left_out() -> None:
    assert [item.title for item in split_documents("# Empty\n\n# Full\nText.")] == ["Full"]


def test_bytes_are_those_of_utf8() -> None:
    assert Document("d", "", "naïve").bytes == 6


def test_a_missing_channel_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="'corpus' is missing"):
        read_corpus(tmp_path / "corpus")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# Title only\n"])
def test_an_empty_corpus_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "corpus.txt").write_bytes(content)
    with pytest.raises(TrainingFailure, match="corpus is empty"):
        read_corpus(tmp_path)


def test_a_corpus_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_bytes(b"caf\xe9")
    with pytest.raises(TrainingFailure, match="not UTF-8"):
        read_corpus(tmp_path)


def test_evaluation_documents_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "heldout.jsonl"
    path.write_text("\n".join(json.dumps({"id": i, "title": "T", "text": "x"}) for i in range(3)), encoding="utf-8")
    assert [item.id for item in read_evaluation(path)] == ["0", "1", "2"]


def test_a_line_separator_within_a_text_ends_no_document(tmp_path: Path) -> None:
    """U+2028 stands unescaped in JSON, and in what is copied from a word processor."""
    path = tmp_path / "outside.jsonl"
    entries = [{"id": name, "title": "", "text": "one\u2028two\x85three"} for name in "ab"]
    path.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in entries), encoding="utf-8")
    assert [item.text for item in read_evaluation(path)] == ["one\u2028two\x85three"] * 2


def test_an_absent_evaluation_set_is_empty(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path / "control.jsonl") == []


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"id": "a"}', '{"id": "b", "text": " "}', '{"id": "a", "text": "again"}']
)
def test_a_malformed_evaluation_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "heldout.jsonl"
    path.write_text('{"id": "a", "text": "fine"}\n' + line, encoding="utf-8")
    with pytest.raises(TrainingFailure, match=r"heldout\.jsonl line 2"):
        read_evaluation(path)


def test_packing_puts_each_document_between_its_edges() -> None:
    ((inputs, labels),) = pack([document(10, 11, 12)], Boundaries(START, END), 6, seed=0, epoch=0)
    assert inputs == [START, 10, 11, 12, END, END]
    assert labels == [10, 11, 12, END, IGNORED, IGNORED]


def test_packing_without_a_start_token_separates_by_the_end_token() -> None:
    sequences = pack([document(10), document(10)], Boundaries(None, END), 8, seed=0, epoch=0)
    assert sequences == [([10, END, 10] + [END] * 5, [END, 10, END] + [IGNORED] * 5)]


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    length=st.integers(1, 20),
    start=st.sampled_from([None, START]),
    epoch=st.integers(0, 3),
)
def test_packing_loses_and_repeats_no_token(lengths: list[int], length: int, start: int | None, epoch: int) -> None:
    edges = Boundaries(start, END)
    numbers = iter(range(100, 10_000))
    documents = [document(*(next(numbers) for _ in range(size))) for size in lengths]
    sequences = pack(documents, edges, length, seed=5, epoch=epoch)
    rows = Epochs(documents, edges, length=length, seed=5, epochs=4)
    assert len(sequences) == rows.rows_per_epoch
    assert rows.tokens(len(sequences)) == sum(label != IGNORED for _, labels in sequences for label in labels)
    assert all(len(inputs) == len(labels) == length for inputs, labels in sequences)
    learnt = [label for _, labels in sequences for label in labels if label >= 100]
    first = sequences[0][0][:1] if start is None else []
    assert sorted([token for token in first if token >= 100] + learnt) == sorted(
        token for item in documents for token in item.tokens
    )
    for inputs, labels in sequences:
        kept = [label for label in labels if label != IGNORED]
        assert inputs[1 : len(kept)] == kept[:-1]


def test_documents_stay_whole_and_the_order_changes_with_the_epoch_only_by_seed() -> None:
    documents = [document(*range(begin, begin + 5)) for begin in range(100, 200, 10)]
    edges = Boundaries(START, END)

    def order(seed: int, epoch: int) -> list[int]:
        ((_, labels),) = pack(documents, edges, 70, seed, epoch)
        return [label for label in labels if label >= 100]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert all(order(3, 0)[i : i + 5] == list(range(order(3, 0)[i], order(3, 0)[i] + 5)) for i in range(0, 50, 5))


@given(count=st.integers(1, 400), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_in_the_order_of_the_file_no_document_passes_one_that_stands_a_twentieth_before_it(
    count: int, seed: int, epoch: int
) -> None:
    order = ordered(count, seed, epoch, "written")
    assert sorted(order) == list(range(count))
    latest = 0
    for place in order:
        assert place >= latest - count / 20
        latest = max(latest, place)


def test_in_the_order_of_the_file_neighbors_change_places_with_seed_and_epoch() -> None:
    orders = [ordered(100, seed, epoch, "written") for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert orders[0] == ordered(100, 1, 0, "written")
    assert len({tuple(order) for order in orders}) == 3
    assert all(order != list(range(100)) for order in orders)


def test_a_run_in_the_order_of_the_file_learns_its_end_last_in_each_epoch() -> None:
    documents, edges = [document(*[place] * 5) for place in range(100, 140)], Boundaries(START, END)
    rows = Epochs(documents, edges, length=24, seed=1, epochs=2, document_order="written")
    half = rows.rows_per_epoch // 2
    for begin in (0, rows.rows_per_epoch):
        early = [t for row in list(rows)[begin : begin + half - 1] for t in row["input_ids"] if t >= 100]
        late = [t for row in list(rows)[begin + half + 1 : begin + 2 * half] for t in row["input_ids"] if t >= 100]
        assert max(early) < min(late) + 3 and max(early) < 122 < max(late)


def test_the_rows_of_a_run_are_its_epochs_one_after_the_other() -> None:
    documents, edges = [document(*range(begin, begin + 5)) for begin in range(100, 200, 10)], Boundaries(START, END)
    rows = Epochs(documents, edges, length=16, seed=1, epochs=3)
    packed = [row for epoch in range(3) for row in pack(documents, edges, 16, seed=1, epoch=epoch)]
    assert [(row["input_ids"], row["labels"]) for row in rows] == packed
    assert len(rows) == len(packed) == 3 * rows.rows_per_epoch
    learnt = [sum(label != IGNORED for label in labels) for _, labels in packed]
    assert [rows.tokens(count) for count in range(len(rows) + 3)] == [
        sum(learnt[:count]) for count in range(len(rows) + 3)
    ]


def test_a_run_may_end_before_its_epochs_do() -> None:
    rows = Epochs([document(*range(40))], Boundaries(START, END), length=16, seed=1, epochs=3)
    rows.stop_after(4)
    assert len(rows) == len(list(rows)) == 4
    with pytest.raises(IndexError):
        rows[4]
    rows.stop_after(9)
    assert len(rows) == 4


def test_excerpts_are_the_beginnings_of_a_few_documents() -> None:
    documents = [Document(str(i), "", "abcdef", tuple(map(ord, "abcdef"))) for i in range(20)]
    chosen = excerpts(documents, Letters(), length=3, seed=1, count=12)
    assert len(chosen) == 12
    assert [int(item.id) for item in chosen] == sorted(int(item.id) for item in chosen)
    assert {item.text for item in chosen} == {"abc"}
    assert excerpts(documents[:2], Letters(), length=9, seed=1)[0].text == "abcdef"
