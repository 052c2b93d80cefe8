"""Documents, packing and the order of an epoch: no token is lost, repeated or out of its order."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.records import Record
from common.text import each_word
from failure import TrainingFailure
from text import (
    IGNORED,
    Boundaries,
    Document,
    Epochs,
    of_records,
    ordered,
    pack,
    read_corpus,
    read_evaluation,
    shuffled_sets,
    split_documents,
)

START, END = 1, 2
EDGES = Boundaries(START, END)


def document(*tokens: int) -> Document:
    return Document("d", "", "text", tokens)


TEN = [document(*range(begin, begin + 5)) for begin in range(100, 200, 10)]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("# None\n\n# One\n\nA.\n\nB.\n# Two\nC.\n", [("One", "One\n\nA.\n\nB."), ("Two", "Two\n\nC.")]),
        ("\ufeffJust text.\r\n\r\n#hashtag, no title\r\n", [("", "Just text.\n\n#hashtag, no title")]),
    ],
)
def test_title_lines_begin_documents(text: str, documents: list[tuple[str, str]]) -> None:
    found = split_documents(text)
    assert [(item.title, item.text) for item in found] == documents
    assert [item.id for item in found] == [f"training-{number:04d}" for number in range(1, len(documents) + 1)]


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "'corpus' is missing"), (b"# Title only\n", "corpus is empty"), (b"caf\xe9", "not UTF-8")],
)
def test_a_corpus_without_text_is_rejected(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / "corpus.txt").write_bytes(content)
    with pytest.raises(TrainingFailure, match=told):
        read_corpus(tmp_path / "corpus")


def test_evaluation_documents_are_read_in_order_whatever_separators_they_hold(tmp_path: Path) -> None:
    """U+2028 stands unescaped in JSON, and in what is copied from a word processor."""
    path = tmp_path / "outside.jsonl"
    assert read_evaluation(path) == []
    entries = [{"id": name, "title": "", "text": "one\u2028two\x85three"} for name in "ab"]
    path.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in entries), encoding="utf-8")
    assert [(item.id, item.text) for item in read_evaluation(path)] == [(n, "one\u2028two\x85three") for n in "ab"]
    assert Document("d", "", "naïve").bytes == 6


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"id": "a"}', '{"id": "b", "text": " "}', '{"id": "a", "text": "again"}']
)
def test_a_malformed_evaluation_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "heldout.jsonl"
    path.write_text('{"id": "a", "text": "fine"}\n' + line, encoding="utf-8")
    with pytest.raises(TrainingFailure, match=r"heldout\.jsonl line 2"):
        read_evaluation(path)


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
    learned = [label for _, labels in sequences for label in labels if label >= 100]
    first = sequences[0][0][:1] if start is None else []
    assert sorted([token for token in first if token >= 100] + learned) == sorted(
        token for item in documents for token in item.tokens
    )
    for inputs, labels in sequences:
        kept = [label for label in labels if label != IGNORED]
        assert inputs[1 : len(kept)] == kept[:-1]


@pytest.mark.parametrize("order", ["shuffled", "written"])
def test_each_epoch_and_seed_has_an_order_that_can_be_repeated(order: str) -> None:
    orders = [tuple(ordered(100, seed, epoch, order)) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert orders[0] == tuple(ordered(100, 1, 0, order))
    assert len({*orders, tuple(range(100))}) == 4


@given(count=st.integers(1, 400), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_the_order_of_the_file_moves_no_document_by_more_than_a_twentieth(count: int, seed: int, epoch: int) -> None:
    order = ordered(count, seed, epoch, "written")
    assert sorted(order) == list(range(count))
    latest = 0
    for place in order:
        assert place >= latest - count / 20
        latest = max(latest, place)


def test_the_rows_of_a_run_are_its_epochs_until_its_limit() -> None:
    rows = Epochs(TEN, EDGES, length=16, seed=1, epochs=3)
    packed = [row for epoch in range(3) for row in pack(TEN, EDGES, 16, seed=1, epoch=epoch)]
    assert [(row["input_ids"], row["labels"]) for row in rows] == packed
    assert len(rows) == len(packed) == 3 * rows.rows_per_epoch
    learned = [sum(label != IGNORED for label in labels) for _, labels in packed]
    assert all(rows.tokens(count) == sum(learned[:count]) for count in range(len(rows) + 3))
    for most in (4, 9):
        rows.stop_after(most)
        assert len(rows) == len(list(rows)) == 4


@pytest.mark.parametrize("name", ["outside", "heldout"])
@given(
    words=st.lists(st.sampled_from(["HIV-1", "binds", "CCR5,", "\u75c5\u6bd2", "\n\n"]), min_size=4),
    seed=st.integers(0, 9),
)
def test_the_control_holds_each_documents_own_words_in_an_order_that_can_be_repeated(
    name: str, words: list[str], seed: int
) -> None:
    text = " ".join(words)
    sets = {"heldout": [Document("a", "A", text), Document("b", "B", text)], "control": [Document("c", "C", "x y")]}
    given_sets = sets | ({"outside": sets["heldout"]} if name == "outside" else {})
    ((found, shuffled),) = shuffled_sets(given_sets, seed).items()
    assert found == f"{name}_shuffled"
    for before, after in zip(sets["heldout"], shuffled, strict=True):
        assert (after.id, after.title) == (before.id, before.title)
        assert sorted(each_word(after.text)) == sorted(each_word(before.text))
    assert shuffled == shuffled_sets(given_sets, seed)[found]


@pytest.mark.parametrize(
    "text",
    [
        "one two three four five six seven eight nine ten",
        "\u75c5\u6bd2\u611f\u67d3\u7ec6\u80de\u8868\u9762\u53d7\u4f53\u7ed3\u5408",
    ],
)
def test_words_change_their_places_with_spaces_between_them_or_without(text: str) -> None:
    orders = {
        shuffled_sets({"heldout": [Document("a", "", text)]}, seed)["heldout_shuffled"][0].text for seed in range(20)
    }
    assert len(orders) > 10
    assert {" " in order for order in orders} == {" " in text}


def test_answers_of_records_are_not_shuffled() -> None:
    records = of_records([Record("a", "g", prompt="Which gene?", completion=" NPM1")])
    text = Document("a", "", "one two three")
    assert shuffled_sets({"heldout": [records]}, 1) == {}
    assert list(shuffled_sets({"heldout": [records], "outside": [text]}, 1)) == ["outside_shuffled"]
