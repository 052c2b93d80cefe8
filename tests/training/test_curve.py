"""Which openings the held-out curve measures, and after which steps."""

from types import SimpleNamespace

import pytest

from curve import SHARE, Curve, curve_of
from records.record import SCORED, Tokens
from text import Boundaries, Document, Epochs

EDGES = Boundaries(1, 2)
TOKENIZER = SimpleNamespace(decode=lambda tokens: "words")


def texts(count: int, size: int) -> list[Document]:
    return [Document(str(number), "", "words", tuple(range(3, 3 + size))) for number in range(count)]


def curve(trained: int, held_out: list[Document], steps: int = 40) -> Curve:
    rows = Epochs(texts(1, trained), EDGES, length=512, seed=0, epochs=1)
    return curve_of(held_out, rows, steps, TOKENIZER, EDGES, length=512, seed=0)


@pytest.mark.parametrize(
    ("trained", "documents", "size"),
    [(6_000, 0, 0), (7_000, 4, 35), (12_596, 7, 35), (100_000, 12, 166), (900_000, 12, 512)],
)
def test_the_openings_take_their_share_of_the_trained_tokens(trained: int, documents: int, size: int) -> None:
    found = curve(trained, texts(20, 900))
    assert [len(one.tokens) for one in found.documents] == documents * [size]
    assert len(found.steps) * documents * size <= SHARE * (trained + 1)
    assert found.steps == ({0, 10, 20, 30, 40} if documents else set())


def test_a_short_training_has_its_points_at_whole_steps() -> None:
    assert curve(100_000, texts(20, 900), steps=2).steps == {0, 1, 2}


def test_records_are_scored_whole_or_not_at_all() -> None:
    long, short = (Tokens(tuple(range(size)), (SCORED,) * size) for size in (2_500, 100))
    records = [
        Document(str(number), "", "answer", read.tokens, records=(None,), read=(read,))  # type: ignore[arg-type]
        for number, read in enumerate((long, *[short] * 11))
    ]
    found = curve(100_000, records)
    assert {len(one.tokens) for one in found.documents} == {100} and len(found.documents) == 11
