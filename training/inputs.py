"""What the channels hold, read and checked without the heavy libraries: a wrong input is told within a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from failure import TrainingFailure
from model.weights import ModelFolder, find_model
from text import Document, read_corpus, read_evaluation

EVALUATION_SETS = ("heldout", "outside", "control")  # the first must be there


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Corpus, evaluation texts by name, and the model's folder."""

    corpus: list[Document]
    evaluation: dict[str, list[Document]]
    model: ModelFolder


def read_inputs(channels: Path, sequence_length: int) -> Inputs:
    """Reads <root>/input/data.

    Raises TrainingFailure for what is missing, malformed or incomplete, and for a model whose texts must be
    shorter than `sequence_length`.
    """
    corpus = read_corpus(channels / "corpus")
    found = {name: read_evaluation(channels / "evaluation" / f"{name}.jsonl") for name in EVALUATION_SETS}
    if not found["heldout"]:
        raise TrainingFailure(
            "The held-out text is missing or empty.", "Put heldout.jsonl into the evaluation channel."
        )
    model = find_model(channels / "model")
    longest = model.configuration.get("max_position_embeddings")
    if longest and sequence_length > longest:
        raise TrainingFailure(
            f"sequence_length is {sequence_length}, but the model ends at {longest} tokens.",
            f"Set sequence_length to {longest} or less.",
        )
    return Inputs(corpus, {name: documents for name, documents in found.items() if documents}, model)
