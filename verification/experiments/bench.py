"""`captune dev bench`: the recipe of training/ and the baseline recipe, on this machine, in the table that docs/recipe.md links to."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import jinja2
import typer

from captune.account import Refused
from captune.check.files import Folder
from captune.external import TARGET
from captune.flags import External
from common.contracts import run_folder
from common.settings import TrainingSettings, check_of
from common.storage import Storage
from preflight import staging
from preflight.request import NONE, Request
from preflight.texts.text_file import Document, Files
from rehearsal.conductor.options import DEFAULT_WORDS
from rehearsal.models import DEFAULT, STAND_INS
from rehearsal.sagemaker.real.container import environment_of
from report.findings.intervals import figure, interval
from report.summary_types import Estimate
from verification.experiments.experiments import DATA, PROJECT
from verification.experiments.table import with_interval

RESULTS = PROJECT / "results"
TEMPLATE = Path(__file__).with_name("bench.md.jinja")
WEIGHTS = PROJECT / ".rehearsal" / "weights"
SEEDS = (1, 2, 3)
MOST_EPOCHS = int(check_of(TrainingSettings, "epochs").limits[1])
USUAL, SAME_TIME, WHOLE = "the baseline recipe", "ours, in the same time", "ours, a default rehearsal"
RECIPES = {
    USUAL: "query and value only, rank 8, alpha 32, learning rate 1e-4, ten steps of four rows of 512 tokens",
    SAME_TIME: "as many steps as fit into the baseline recipe's time",
    WHOLE: "one epoch",
}
GOAL = 6.0  # times the baseline recipe's gain, in no more time
# Of each text: an interval of some tenths of the gain, in a third of the time of all documents.
MOST_DOCUMENTS = 24
COUNTED = ("steps", "tokens_seen", "seconds", "tokens_per_second", "peak_memory_bytes")
VERSIONS = ("torch", "transformers", "peft", "trl", "python")
BASE_TOLERANCE = 0.01  # of a document's loss: with more, two runs did not measure the same model
# The same for all: no GPU, and threads that wait soon sleep (training/train.py says why).
_SURROUNDINGS = {
    "CAPTUNE_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000",
    "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1", "PYTHONPATH": f"{PROJECT / 'training'}:{PROJECT}",
}  # fmt: skip

Metrics = Mapping[str, Any]
Gains = tuple[list[float], list[float]]  # nats gained on each document, averaged over the seeds, and its tokens


def command(
    words: Annotated[int, typer.Option(metavar="N", help="Train on N words of the corpus.")] = DEFAULT_WORDS,
    documents: Annotated[int, typer.Option(metavar="N", help="Measure on N documents at most.")] = MOST_DOCUMENTS,
    outside: External = None,
    seed: Annotated[list[int] | None, typer.Option(metavar="N", help="Run with seed N; may be repeated (default: 1, 2 and 3).")] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help=f"Train {', '.join(STAND_INS)}, or the model in a folder.")] = DEFAULT,
    table: Annotated[bool, typer.Option("--table", help="Run nothing: make the table of bench.json again.")] = False,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write bench.md and bench.json to this folder.")] = RESULTS,
) -> int:  # fmt: skip
    """Runs the benchmark, writes bench.md and bench.json, and answers 0 when the goal is met.

    It trains three recipes with three seeds each, in separate processes. This takes a quarter of an hour on two quiet cores with fast
    bfloat16, and half an hour or more on older ones. The exit code is 0 if the goal is met.
    """
    outside = outside or (TARGET if TARGET.is_file() else None)
    if outside and not outside.is_file():
        raise typer.BadParameter(f"there is no file {outside}")
    file = out / "bench.json"
    if not table:
        load, begun = os.getloadavg()[0], time.monotonic()
        try:
            chosen = STAND_INS.get(model)
            model_folder = chosen.ensure(WEIGHTS) if chosen else Path(model)
            bench = Bench(model_folder, *gather(words, documents, outside))
            seeds = {one: bench.seed(one) for one in seed or SEEDS}
            figures = summarise(seeds) | _circumstances(bench, seeds, load, (time.monotonic() - begun) / 60)
        except ValueError as error:
            raise Refused(str(error)) from error
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    figures = json.loads(file.read_text("utf-8"))
    page = as_markdown(figures)
    (out / "bench.md").write_text(page + "\n", "utf-8")
    print(f"\n{page}")
    return 0 if meets_goal(figures) else 1


# The runs -------------------------------------------------------------------------------------------------------------


def gather(words: int, most_documents: int, outside: Path | None = None) -> tuple[dict[str, bytes], dict[str, int]]:
    """The files of the corpus and evaluation channels by their paths below input/, as Preflight stages them for a rehearsal with so
    many words and some documents from all over each text, and how large they are.

    Raises ValueError where Preflight refuses a text.
    """
    data = {path.name: path.read_bytes() for path in DATA.iterdir() if path.is_file()}
    request = Request(held_outside=str(outside.resolve()) if outside else NONE)
    storage = cast(Storage, Folder({str(outside.resolve()): outside} if outside else {}))
    read = Files(storage, data, "medical", corpus_words=words, measures_scale=True)
    material = staging.read_material(read, request)
    if material is None:
        raise ValueError("Preflight rejects the texts of the benchmark")
    held_out, by_others = (_spread(documents, most_documents) for documents in (material.held_out, material.outside))
    staged = staging.files(replace(material, held_out=held_out, outside=by_others, control=[]), {})
    channels = (run_folder.CORPUS_CHANNEL, run_folder.EVALUATION_CHANNEL)
    files = {path.removeprefix(run_folder.INPUT): staged[path] for path in staged if path.startswith(channels)}
    sizes = {"words": material.words, "heldout_documents": len(held_out), "outside_documents": len(by_others)}
    return files, sizes


def _spread(documents: list[Document], most: int) -> list[Document]:
    """At most `most` documents, taken evenly from the whole text, so that every register of it is included."""
    count = min(most, len(documents))
    return [documents[place * len(documents) // count] for place in range(count)]


@dataclass(frozen=True)
class Bench:
    """The model and the texts that every recipe is given."""

    model: Path
    files: Mapping[str, bytes]
    sizes: Mapping[str, int]
    python: str = sys.executable

    def seed(self, seed: int) -> dict[str, Metrics]:
        """The metrics of every recipe with one seed, in turns, so that all share a busy hour of the machine."""
        usual = self.run(seed, USUAL, {}, ["-m", "verification.experiments.usual_recipe", "--seed", str(seed)])
        whole = self.ours(seed, WHOLE, {})
        settings = settings_for(usual["training"]["seconds"], whole)
        return {USUAL: usual, SAME_TIME: self.ours(seed, SAME_TIME, settings), WHOLE: whole}

    def ours(self, seed: int, recipe: str, settings: Mapping[str, str]) -> Metrics:
        """The metrics of training/ with these settings, and the document order that Preflight gives the project's own texts."""
        given = {"seed": str(seed), "document_order": "written", **settings}
        return self.run(seed, recipe, given, [str(PROJECT / "training" / "train.py")])

    def run(self, seed: int, recipe: str, settings: Mapping[str, str], command: Sequence[str]) -> Metrics:
        """The metrics of one training, in the folders of a training job. Raises ValueError with its last words where it fails."""
        with tempfile.TemporaryDirectory(prefix="captune-bench-") as folder:
            root = Path(folder)
            given = {"input/config/hyperparameters.json": json.dumps(settings).encode()}
            for name, content in (given | {f"input/data/{path}": text for path, text in self.files.items()}).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
            (root / "input/data/model").symlink_to(self.model.resolve(), target_is_directory=True)
            words, surroundings = (
                [self.python, *command, "--root", folder],
                environment_of(_SURROUNDINGS, root, isolated=True),
            )
            done = subprocess.run(words, cwd=PROJECT, env=surroundings, capture_output=True, check=False)
            if done.returncode:
                last_words = (done.stdout + done.stderr)[-2000:].decode("utf-8", "replace")
                raise ValueError(f"{recipe}, seed {seed}, ended with {done.returncode}: {last_words}")
            metrics: Metrics = json.loads((root / "model" / "metrics.json").read_text("utf-8"))
        found = metrics["training"]
        pace = f"{found['steps']} steps in {found['seconds']:.0f} s, {found['tokens_per_second']:.0f} tokens/s"
        print(f"  seed {seed}, {recipe}: {pace}", flush=True)
        return metrics


def settings_for(seconds: float, whole: Metrics) -> dict[str, str]:
    """The settings with which ours makes as many whole steps as fit into a time, at the pace of `whole`: one at least, and no more passes than a
    training accepts."""
    training = whole["training"]
    fitting = max(1, int(seconds * training["steps"] / training["seconds"]))
    return {
        "max_steps": str(fitting),
        "epochs": str(min(math.ceil(fitting / training["steps"]), MOST_EPOCHS)),
        # By the size of one pass, as for the whole of it.
        "sequences_per_step": str(whole["settings"]["sequences_per_step"]),
    }


# The figures ----------------------------------------------------------------------------------------------------------


def summarise(seeds: Mapping[int, Mapping[str, Metrics]]) -> dict[str, Any]:
    """The gain and the price of each recipe over all seeds, with intervals clustered by document.

    Raises ValueError where two runs did not measure the same base model on the same documents.
    """
    _refuse_different_bases([run for runs in seeds.values() for run in runs.values()])
    by_recipe = {name: {seed: runs[name] for seed, runs in seeds.items()} for name in RECIPES}
    gained = {name: gains(list(runs.values())) for name, runs in by_recipe.items()}
    ratios = {name: times(gained[name], gained[USUAL]) for name in RECIPES if name != USUAL}
    return {
        "recipes": {name: _recipe(runs) for name, runs in by_recipe.items()},
        "times_the_usual_gain": ratios,
    }


def meets_goal(figures: Mapping[str, Any]) -> bool:
    """Whether ours gained `GOAL` times as much, in no more time."""
    ratio = figures["times_the_usual_gain"][SAME_TIME]["estimate"]
    ours, usual = (figures["recipes"][name]["seconds"] for name in (SAME_TIME, USUAL))
    return ratio is not None and ratio >= GOAL and ours <= usual


def gains(runs: Sequence[Metrics], text: str = "heldout") -> Gains | None:
    """What one recipe gained on each document of a text; None where the text was not measured."""
    measured = [run["evaluation"][text]["documents"] for run in runs if text in run["evaluation"]]
    if not measured:
        return None
    gained = [
        statistics.fmean(one["base_nll"] - one["tuned_nll"] for one in same) for same in zip(*measured, strict=True)
    ]
    return gained, [float(document["tokens"]) for document in measured[0]]


def times(one: Gains | None, other: Gains | None) -> Estimate:
    """How many times as much one recipe gained as another, on the same documents; no figure where the other gained nothing."""
    return interval(one[0], other[0]) if one and other else figure(None)


def _recipe(runs: Mapping[int, Metrics]) -> dict[str, Any]:
    every = list(runs.values())
    found: dict[str, Any] = {name: statistics.median(run["training"][name] for run in every) for name in COUNTED}
    texts = [text for text in ("heldout", "outside") if text in every[0]["evaluation"]]
    found |= {text: interval(*measured) for text in texts if (measured := gains(every, text))}
    found["runs"] = {
        str(seed): {name: run["training"][name] for name in COUNTED}
        | {text: run["evaluation"][text]["base_loss"] - run["evaluation"][text]["tuned_loss"] for text in texts}
        for seed, run in runs.items()
    }
    return found


def _refuse_different_bases(runs: Sequence[Metrics]) -> None:
    for text in runs[0]["evaluation"].keys() - {"training_text"}:
        columns = zip(*(run["evaluation"][text]["documents"] for run in runs), strict=True)
        for first, *others in columns:
            for other in others:
                alike = math.isclose(first["base_nll"], other["base_nll"], rel_tol=BASE_TOLERANCE)
                if first["id"] != other["id"] or not alike:
                    raise ValueError(
                        f"The runs did not measure the same base model on {other['id']} of the {text} text"
                    )


def _circumstances(
    bench: Bench, seeds: Mapping[int, Mapping[str, Metrics]], load: float, minutes: float
) -> dict[str, Any]:
    """On what, with what and how the figures were made."""
    environments = [run["environment"] for runs in seeds.values() for run in runs.values()]
    usual = next(iter(seeds.values()))[USUAL]["environment"]
    after, cores = os.getloadavg()[0], os.cpu_count() or 1
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "minutes": round(minutes, 1),
        "machine": usual["device_name"],
        "precision": " and ".join(sorted({environment["precision"] for environment in environments})),
        "versions": {name: usual[name] for name in VERSIONS},
        "load": [round(load, 1), round(after, 1)],
        # The benchmark itself keeps one thread busy on each core.
        "busy": load > cores / 2 or after > 1.5 * cores,
        "seeds": list(seeds),
        **bench.sizes,
    }


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The page of one benchmark: the table, and how it was made."""
    template = jinja2.Template(TEMPLATE.read_text("utf-8"), trim_blocks=True, undefined=jinja2.StrictUndefined)
    words = {"meanings": RECIPES, "usual": USUAL, "goal": f"{GOAL:g}", "goal_met": meets_goal(figures)}
    return str(template.render(**figures, **words, with_interval=with_interval))
