"""The recipes on one text, each run a process of its own: its memory is its own, and training/ is called as a container calls it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from common.contracts import run_folder
from common.storage import Head, Storage
from preflight import staging
from preflight.request import Request
from preflight.texts.large_text import Amount
from preflight.texts.text_file import Document
from rehearsal.sagemaker.real.container import environment_of
from verification.experiments.experiments import DATA, PROJECT

USUAL, SAME_TIME, WHOLE = "the usual recipe", "ours, in the same time", "ours, a default rehearsal"
RECIPES = (USUAL, SAME_TIME, WHOLE)
# Of each text: an interval of some tenths of the gain, in a third of the time of all documents.
MOST_DOCUMENTS = 24
# The same for all: no GPU, and threads that wait soon sleep (training/train.py says why).
_SURROUNDINGS = {
    "CAPTUNE_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000",
    "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1",
}  # fmt: skip
_LAST_WORDS = 2000  # characters of the output of a failed run

Metrics = Mapping[str, Any]


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


def gather(words: int, most_documents: int, outside: Path | None = None) -> Text:
    """The corpus of a rehearsal with so many words as Preflight stages it, and measured documents from all over their texts.

    Raises ValueError where Preflight refuses a text.
    """
    data = {path.name: path.read_bytes() for path in DATA.iterdir() if path.is_file()}
    request = Request(held_outside=str(outside) if outside else None)
    material = staging.gather(cast(Storage, _Disk()), data, request, "medical", lambda step: step(), Amount(words))
    if material is None:
        raise ValueError("Preflight refuses the texts of the benchmark")
    held_out, by_others = (_spread(documents, most_documents) for documents in (material.held_out, material.outside))
    staged = staging.files(replace(material, held_out=held_out, outside=by_others, control=[]), {})
    channels = (run_folder.CORPUS_CHANNEL, run_folder.EVALUATION_CHANNEL)
    files = {path.removeprefix(run_folder.INPUT): staged[path] for path in staged if path.startswith(channels)}
    return Text(files, material.words, len(held_out), len(by_others))


class _Disk:
    """A person's file on this machine in place of the bucket."""

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


@dataclass(frozen=True)
class Bench:
    """The model and the text that every recipe is given, and what reports each run."""

    text: Text
    model: Path
    say: Callable[[str], None] = print

    def seed(self, seed: int) -> dict[str, Metrics]:
        """The metrics of every recipe with one seed, in turns, so that all share a busy hour of the machine."""
        usual = self.run(seed, USUAL, {}, ["-m", "verification.experiments.bench.usual", "--seed", str(seed)])
        whole = self.ours(seed, WHOLE, {})
        fitting = steps_in(usual["training"]["seconds"], whole["training"])
        settings = {
            "max_steps": str(fitting),
            "epochs": str(math.ceil(fitting / whole["training"]["steps"])),
            # By the size of one pass, as for the whole of it.
            "sequences_per_step": str(whole["settings"]["sequences_per_step"]),
        }
        return {USUAL: usual, SAME_TIME: self.ours(seed, SAME_TIME, settings), WHOLE: whole}

    def ours(self, seed: int, recipe: str, settings: Mapping[str, str]) -> Metrics:
        """The metrics of training/ with these settings, and the document order that Preflight gives the project's own texts."""
        given = {"seed": str(seed), "document_order": "written", **settings}
        return self.run(seed, recipe, given, [str(PROJECT / "training" / "train.py")])

    def run(self, seed: int, recipe: str, settings: Mapping[str, str], command: Sequence[str]) -> Metrics:
        """The metrics of one training. Raises ValueError with its last words where it fails."""
        with tempfile.TemporaryDirectory(prefix="captune-bench-") as folder:
            root = Path(folder)
            self.text.lay_out(root, self.model, settings)
            variables = {**_SURROUNDINGS, "PYTHONPATH": f"{PROJECT / 'training'}:{PROJECT}"}
            done = subprocess.run(
                [sys.executable, *command, "--root", str(root)],
                cwd=PROJECT,
                env=environment_of(variables, root, isolated=True),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                words = (done.stdout + done.stderr)[-_LAST_WORDS:]
                raise ValueError(f"{recipe}, seed {seed}, ended with {done.returncode}: {words}")
            metrics: Metrics = json.loads((root / "model" / "metrics.json").read_text("utf-8"))
        training = metrics["training"]
        self.say(
            f"  seed {seed}, {recipe}: {training['steps']} steps in {training['seconds']:.0f} s, "
            f"{training['tokens_per_second']:.0f} tokens/s"
        )
        return metrics


def steps_in(seconds: float, whole: Mapping[str, Any]) -> int:
    """How many whole steps fit into so many seconds, by the pace of another training; one at least."""
    return max(1, int(seconds * whole["steps"] / whole["seconds"]))
