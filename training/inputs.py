"""What the channels hold, read and checked without the heavy libraries: a wrong input is reported within a second."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from choices import Item, read_items
from failure import TrainingFailure
from text import Document, read_corpus, read_evaluation

EVALUATION_SETS = ("heldout", "outside", "control")  # the first must be there
# What the adapter scale is chosen by: text by others, or else control text. No document of it is in a set that judges.
SCALE_SET, SCALE_BY_CONTROL = "scale", "scale_control"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
LEAST_BYTES = 1024  # a weight file below this is a pointer or an interrupted copy


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A checked folder in the Hugging Face layout; `name` is what the folder calls its own model, or ""."""

    path: Path
    name: str
    configuration: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Corpus, evaluation texts by name, and the model's folder."""

    corpus: list[Document]
    evaluation: dict[str, list[Document]]
    model: ModelFolder
    scale: list[Document] = dataclasses.field(default_factory=list)
    scale_by_control: bool = False
    choices: list[Item] = dataclasses.field(default_factory=list)


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
            f"sequence_length is {sequence_length}, but the model's context is {longest} tokens.",
            f"Set sequence_length to {longest} or less.",
        )
    by_others, by_control = (
        read_evaluation(channels / "evaluation" / f"{name}.jsonl") for name in (SCALE_SET, SCALE_BY_CONTROL)
    )
    set_aside = by_others or by_control
    judging = {document.text for documents in found.values() for document in documents}
    if both := [document.id for document in set_aside if document.text in judging]:
        raise TrainingFailure(
            f"The document {both[0]} is in both the set that chooses the adapter scale and a test set.",
            "Start a new execution, which stages the texts again.",
        )
    measured = {name: documents for name, documents in found.items() if documents}
    items = read_items(channels / "evaluation" / "choices.jsonl")
    return Inputs(corpus, measured, model, set_aside, scale_by_control=not by_others, choices=items)


def find_model(channel: Path) -> ModelFolder:
    """The channel's own folder, which must hold config.json, a tokenizer and complete weights.

    Raises TrainingFailure naming what is missing. A model in a folder below is rejected too: the endpoint's server is given the
    same address and looks for config.json right there, which would show only after the training was paid.
    """
    fix = (
        "Point the model channel at a folder in the Hugging Face layout: config.json, tokenizer.json or "
        "tokenizer.model, and *.safetensors or *.bin, not packed."
    )
    if not channel.is_dir():
        raise TrainingFailure(f"The channel {channel.name!r} is missing.", fix)
    files = [path for path in channel.rglob("*") if path.is_file()]
    if not files:
        raise TrainingFailure("The model channel is empty.", fix + " Check accept_eula and the role's S3 permissions.")
    if not (channel / "config.json").is_file():
        raise TrainingFailure(f"The model channel has no config.json among its {len(files)} files.", fix)
    problem = _problem(channel)
    if problem is not None:
        raise TrainingFailure(f"The model in the model channel is incomplete: {problem}.", fix)
    configuration = json.loads((channel / "config.json").read_text(encoding="utf-8"))
    return ModelFolder(
        channel, str(configuration.get("_name_or_path") or configuration.get("name") or ""), configuration
    )


def _problem(folder: Path) -> str | None:
    """What is wrong with the model in this folder, or None."""
    try:
        configuration = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not configuration.get("model_type"):
            return "config.json has no model_type"
    except (OSError, ValueError, AttributeError):
        return "config.json is not readable JSON"
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return f"no tokenizer ({', '.join(TOKENIZER_FILES)}) beside config.json"
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            try:
                shards = set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError, AttributeError):
                return f"{index} is not readable"
            return next(
                (f"{shard} is missing or cut off" for shard in sorted(shards) if not _whole(folder / shard)), None
            )
    weights = [path for kind in ("*.safetensors", "*.bin") for path in sorted(folder.glob(kind))]
    weights = [path for path in weights if not path.name.startswith(("training_args", "optimizer"))]
    if not weights:
        return "no *.safetensors and no *.bin beside config.json"
    if not any(_whole(path) for path in weights):
        return f"{weights[0].name} is only {weights[0].stat().st_size} bytes"
    return None


def _whole(path: Path) -> bool:
    """Whether the file is there and, for safetensors, as long as its own header says."""
    if not path.is_file() or path.stat().st_size < LEAST_BYTES:
        return False
    if path.suffix != ".safetensors":
        return True
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if header_bytes > 100_000_000:  # the format's own limit
            return False
        try:
            header = json.loads(stream.read(header_bytes))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return path.stat().st_size >= 8 + header_bytes + max(ends, default=0)
