"""A tokenizer of another model is refused: by ids that the model has no row for, or by a loss that no reader of the text could have."""

from __future__ import annotations

import math

import pytest

from failure import TrainingFailure
from model.vocabulary import refuse_unknown_tokens, refuse_worse_than_guessing
from records.record import Tokens
from text import Boundaries, Document

KNOWN = 400
EDGES = Boundaries(1, 2)


def test_every_id_below_the_rows_of_the_embedding_is_known() -> None:
    refuse_unknown_tokens([Document("a", "", "x", (3, KNOWN - 1)), Document("b", "", "")], EDGES, KNOWN)
    refuse_unknown_tokens([], Boundaries(None, 2), KNOWN)


@pytest.mark.parametrize(
    ("documents", "edges"),
    [
        ([Document("a", "", "x", (3,)), Document("b", "", "x", (KNOWN, 3))], EDGES),
        # Of a record the prompt too, which is read and never scored.
        ([Document("a", "", "x", (3,), read=(Tokens((3,), (1,)), Tokens((KNOWN, 3), (0, 1))))], EDGES),
        ([Document("a", "", "x", (3,))], Boundaries(KNOWN, 2)),
        ([Document("a", "", "x", (3,))], Boundaries(None, KNOWN)),
        ([], Boundaries(None, KNOWN)),
    ],
)
def test_the_first_id_above_them_is_refused_wherever_it_stands(documents: list[Document], edges: Boundaries) -> None:
    with pytest.raises(TrainingFailure) as refusal:
        refuse_unknown_tokens(documents, edges, KNOWN)
    assert refusal.value.what == "The tokenizer gives the token 400, and the model knows 400 tokens, 0 to 399."
    assert "put the one that was published with these weights there" in refusal.value.mend


def test_a_model_that_only_guesses_may_be_trained() -> None:
    refuse_worse_than_guessing(math.log(KNOWN) + 0.9, KNOWN)
    refuse_worse_than_guessing(None, KNOWN)


def test_one_that_does_worse_than_guessing_over_all_texts_reads_other_words() -> None:
    with pytest.raises(TrainingFailure) as refusal:
        refuse_worse_than_guessing(math.log(KNOWN) + 1.1, KNOWN)
    assert refusal.value.what.startswith(
        "The base model's loss is 7.1 nats a token, and guessing among its 400 tokens alike would give 6.0"
    )
