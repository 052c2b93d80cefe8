"""What every recipe is given: the text of a default rehearsal as Preflight stages it, in the folders of a training job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from common.contracts import run_folder
from common.storage import Head, Storage
from verification.experiments.experiments import DATA
from preflight import staging
from preflight.request import Request
from preflight.texts.large_text import Amount
from preflight.texts.text_file import Document
from rehearsal.conductor.options import DEFAULT_WORDS

DOMAIN = "medical"
MOST_DOCUMENTS = (
    24  # measured of each text: an interval of some tenths of the gain, in a third of the time of all of them
)


@dataclass(frozen=True)
class Text:
    """The files of the corpus and evaluation channels by their paths below input/, and how large they are."""

    files: Mapping[str, bytes]
    words: int
    held_out: int
    outside: int

    def lay_out(self, root: Path, model: Path, settings: Mapping[str, str]) -> None:
        """Writes the folders of a training job with these settings below `root`; the model is linked, not copied."""
        channels, configuration = root / "input" / "data", root / "input" / "config"
        for path, content in self.files.items():
            file = channels / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (channels / "model").symlink_to(model.resolve(), target_is_directory=True)
        configuration.mkdir(parents=True)
        (configuration / "hyperparameters.json").write_text(json.dumps(settings), encoding="utf-8")


def gather(words: int = DEFAULT_WORDS, most_documents: int = MOST_DOCUMENTS, outside: Path | None = None) -> Text:
    """The corpus of a rehearsal with so many words, and documents from all over the texts that are measured.

    Raises ValueError where Preflight refuses a text.
    """
    data = {path.name: path.read_bytes() for path in DATA.iterdir() if path.is_file()}
    request = Request(held_outside=str(outside) if outside else None)
    material = staging.gather(cast(Storage, _Disk()), data, request, DOMAIN, lambda step: step(), Amount(words))
    if material is None:
        raise ValueError("Preflight refuses the texts of the benchmark")
    measured = replace(
        material,
        held_out=_spread(material.held_out, most_documents),
        outside=_spread(material.outside, most_documents),
        control=[],
    )
    staged = staging.files(measured, {})
    channels = {
        path.removeprefix(run_folder.INPUT): content
        for path, content in staged.items()
        if path.startswith((run_folder.CORPUS_CHANNEL, run_folder.EVALUATION_CHANNEL))
    }
    return Text(channels, material.words, len(measured.held_out), len(measured.outside))


class _Disk:
    """A person's file on this machine in the place of the bucket."""

    bucket = "this machine"

    def head(self, key: str) -> Head | None:
        path = Path(key)
        return Head(path.stat().st_size, "") if path.is_file() else None

    def read(self, key: str) -> bytes:
        return Path(key).read_bytes()


def _spread(documents: list[Document], most: int) -> list[Document]:
    """At most so many, taken evenly from the whole of a text, so that each of its registers is among them."""
    count = min(most, len(documents))
    return [documents[place * len(documents) // count] for place in range(count)]
