"""The experiments: what is trained on, how often, and which verdict is expected."""

from __future__ import annotations

import ast
import hashlib
import json
import random
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import cast

from common.storage import Storage
from preflight import staging
from preflight.request import Request
from preflight.texts.text_file import as_lines, as_text
from rehearsal.conductor.options import DEFAULT_SETTINGS
from report.findings.verdict import WORSE_OUTSIDE

PROJECT = Path(__file__).resolve().parents[2]
DATA = PROJECT / "data"
TEXTS = Path(__file__).parent / "texts"
SERVER = (  # what answers the prompts in a rehearsal
    "real/server/completion_request.py",
    "real/server/generation.py",
    "real/server/model_server.py",
    "real/server/queueing.py",
    "vllm/routing.py",
    "real/server/sampling.py",
    "real/server/server_settings.py",
)
# Of the settings, those that decide what is learned and what is asked; the others decide what it may cost and who is told.
SETTINGS = (
    "adapter_strength",
    "base_model",
    "corpus_words",
    "document_order",
    "domain",
    "epochs",
    "learning_rate",
    "lora_rank",
    "samples_per_prompt",
    "seed",
    "sequence_length",
)
# In this order: the fingerprint of an experiment that has run depends on it.
MEASURES = ("statistics.py", "intervals.py", "gains.py", "recall.py")
SHUFFLED_WORDS = 6000
# Declared before any of them was run (DECLARATION.md); what the seeds 1 to 9 gave on earlier texts had been looked at.
SEEDS = (10, 11, 12)
# What each of them must gain on text by others, in nats a token, and how much its interval must show at least.
OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN = 0.15, 0.10
# What `make outside` writes, and the text by others that was declared.
OUTSIDE_SHA256 = "566bdfd7ec3fcf82eb7fc173579a585694e1bef0d43c76a0478cc6f108008e56"
FIRST_CORPUS_WORDS, FIRST_CORPUS_EPOCHS = 20_000, 3
# What an experiment shows must not depend on how fast the machine is: on two old cores the whole corpus takes two hours.
MAX_TRAINING_SECONDS = 4 * 3600


@dataclass(frozen=True)
class Experiment:
    """One rehearsal. A null experiment must not be judged `improved`."""

    name: str
    describes: str
    is_null: bool
    seed: int = 42
    corpus: Path | None = None
    arguments: tuple[str, ...] = field(default_factory=tuple)
    held_out: Path = DATA / "medicalheldout.txt"
    outside: Path | None = None  # text of the field by others, measured too: the file, for whoever runs it
    outside_sha256: str | None = None
    must_be: str | None = (
        None  # the verdict that has been declared, where it is not enough that a null is not `improved`
    )

    def fingerprint(self) -> str:
        """What the figures depend on, as one hash: texts and prompts as they are staged, settings, weights, and the code that
        trains, asks, answers and measures.

        The rule of the verdict is not among them: it is applied to the figures again whenever the table is made.
        """
        code = [path for folder in ("training", "lambdas/ask") for path in sorted((PROJECT / folder).rglob("*.py"))]
        code += [PROJECT / "rehearsal" / "sagemaker" / name for name in SERVER]
        code += [PROJECT / "lambdas" / "report" / "findings" / name for name in MEASURES]
        digest = self.material()
        for module in code:
            digest.update(hashlib.sha256(what_is_done(module.read_text("utf-8")).encode()).digest())
        return digest.hexdigest()

    def material(self) -> hashlib._Hash:
        """The part of the fingerprint that is no code: what is trained on and asked, how, and with which weights."""
        context = json.loads((PROJECT / "cdk.json").read_text("utf-8"))["context"] | DEFAULT_SETTINGS
        settings = {key: value for key, value in context.items() if key in SETTINGS}
        digest = hashlib.sha256(repr((self.seed, self.arguments, sorted(settings.items()))).encode())
        digest.update(_staged((self.corpus or DATA / "medicaldataset.txt").read_bytes(), self.held_out.read_bytes()))
        if self.outside_sha256:
            digest.update(bytes.fromhex(self.outside_sha256))
        digest.update(hashlib.sha256((PROJECT / "requirements/weights.txt").read_bytes()).digest())
        return digest

    def command(self, results: Path) -> list[str]:
        """The arguments of `python -m rehearsal` for this experiment."""
        line = ["--plain", "--results", str(results), "--as", self.name, "--seed", str(self.seed), *self.arguments]
        line += ["--set", f"max_training_seconds={MAX_TRAINING_SECONDS}"]
        if self.outside:
            line += ["--outside", str(self.outside)]
        if self.corpus is None:
            return line
        # The null texts are measured on the very documents and prompts of the medical domain.
        texts = [
            "--corpus",
            self.corpus,
            "--heldout",
            self.held_out,
            "--prompts",
            DATA / "medicalprompts.jsonl",
        ]
        return [*line, *map(str, texts)]


@cache
def _staged(corpus: bytes, held_out: bytes) -> bytes:
    """A hash of what Preflight makes of a corpus, its held-out text and the prompts of the medical domain: what is trained on and measured."""
    data = {name: (DATA / name).read_bytes() for name in ("medicalprompts.jsonl", "control.txt")}
    data |= {"medicaldataset.txt": corpus, "medicalheldout.txt": held_out}
    # Every file is the domain's own, so no storage is asked.
    material = staging.gather(cast(Storage, None), data, Request(), "medical", lambda step: step())
    if material is None:
        raise ValueError("Preflight refuses the texts of the experiments")
    texts = (as_text(material.training), as_lines(material.held_out), as_lines(material.control))
    return hashlib.sha256(repr((*texts, material.prompts)).encode()).digest()


def what_is_done(source: str) -> str:
    """A module's code without what changes no figure: comments, docstrings, layout, and from where a name is imported."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _says_nothing(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _says_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def all_experiments(folder: Path, outside: Path | None = None) -> list[Experiment]:
    """Three seeds with the whole corpus, three texts that teach nothing of the domain, and the first corpus, which made the model better at its own manner of
    writing and worse at what others write, and has to come out as that. Writes the made texts to `folder`.

    All are measured on text by others: `outside`, or without it the declared file, which can then be judged and not run.
    The small texts are shown so often that each null trains on as many tokens as a rehearsal with its defaults, or more.
    """

    def passes(epochs: int, words: int = 0) -> tuple[str, ...]:
        # Greedy answers, and one sampled answer to each of the four starters, which are always sampled: more would take as long
        # again, for each of six rehearsals.
        return ("--words", str(words), "--epochs", str(epochs), "--set", "samples_per_prompt=0")

    real = [
        Experiment(
            f"seed-{seed}",
            f"the whole corpus, 1 epoch, seed {seed}",
            False,
            seed,
            arguments=passes(1),
        )
        for seed in SEEDS
    ]
    null = [
        Experiment(
            "null-other-language",
            "German prose on crafts, 6 epochs",
            True,
            corpus=TEXTS / "german.txt",
            arguments=passes(6),
        ),
        Experiment(
            "null-other-subject",
            "English prose on finance, 4 epochs",
            True,
            corpus=DATA / "financedataset.txt",
            arguments=passes(4),
        ),
        Experiment(
            "null-shuffled",
            f"{SHUFFLED_WORDS:,} words of the corpus in random order, 2 epochs",
            True,
            corpus=shuffled(folder),
            arguments=passes(2),
        ),
    ]
    first = Experiment(
        "first-corpus",
        f"{FIRST_CORPUS_WORDS:,} words of the first corpus, in a manner of its own, {FIRST_CORPUS_EPOCHS} epochs",
        True,
        corpus=TEXTS / "first_corpus.txt",
        # The passes, the rate and the whole adapter of that time, whatever the defaults are today.
        arguments=(
            *passes(FIRST_CORPUS_EPOCHS, FIRST_CORPUS_WORDS),
            "--set",
            "learning_rate=0.002",
            "--set",
            "adapter_strength=1",
        ),
        held_out=TEXTS / "first_heldout.txt",
        must_be=WORSE_OUTSIDE,
    )
    measured_on = hashlib.sha256(outside.read_bytes()).hexdigest() if outside else OUTSIDE_SHA256
    return [replace(e, outside=outside, outside_sha256=measured_on) for e in [*null, first, *real]]


def shuffled(folder: Path, seed: int = 7) -> Path:
    """Words of the corpus in random order, cut into lines of a paragraph's length: its vocabulary without its sentences."""
    words = (DATA / "medicaldataset.txt").read_text("utf-8").replace("# ", "").split()
    chosen = random.Random(seed).sample(words, SHUFFLED_WORDS)
    paragraphs = [" ".join(chosen[start : start + 100]) for start in range(0, len(chosen), 100)]
    target = folder / "shuffled.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n\n".join(paragraphs) + "\n", "utf-8")
    return target
