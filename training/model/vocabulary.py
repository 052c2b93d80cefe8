"""Whether the tokenizer beside a model is the model's own: one of another model gives ids that mean other words to it, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from failure import TrainingFailure
from text import Boundaries, Document

# Nats per token above guessing among all tokens alike. An untrained model guesses: the tests' own stay within 0.8. A trained one that
# reads words of another vocabulary is sure of what is wrong: SmolLM2-135M with its ids in any other order lost 12.3 nats a token on 12
# abstracts, 1.5 more than guessing, and 2.9 with its own. Text that it hardly knows stays far below: base64 5.4, made-up DNA 3.3.
ABOVE_GUESSING = 1.0
MEND = (
    "The tokenizer in the model channel (tokenizer.json or tokenizer.model, and tokenizer_config.json) is another model's: "
    "put the one that was published with these weights there."
)


def refuse_unknown_tokens(documents: Iterable[Document], edges: Boundaries, known: int) -> None:
    """Raises TrainingFailure where a text or its edges hold a token id for which the model's embedding of `known` rows has none.

    On a GPU such an id ends the job in an assertion that names neither the token nor the tokenizer.
    """
    highest = max([edges.end, edges.start or 0, *(_highest(document) for document in documents)])
    if highest >= known:
        raise TrainingFailure(
            f"The tokenizer gives the token {highest}, and the model knows {known} tokens, 0 to {known - 1}.", MEND
        )


def _highest(document: Document) -> int:
    return max([0, *document.tokens, *(token for one in document.read for token in one.tokens)])


def refuse_worse_than_guessing(loss: float | None, known: int) -> None:
    """Raises TrainingFailure where the base model's loss in nats a token says that it finds such text less likely than any other.

    Looked at before anything is trained: the ids may all be known and still mean other words.
    """
    guessing = math.log(known)
    if loss is not None and loss > guessing + ABOVE_GUESSING:
        raise TrainingFailure(
            f"The base model's loss is {loss:.1f} nats a token, and guessing among its {known} tokens alike would give {guessing:.1f}: "
            "it reads other words than the texts hold.",
            MEND,
        )
