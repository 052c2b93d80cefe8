"""The declared experiments: what is trained on, how often, which verdict is expected, and what the figures depend on."""

import ast
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from captune.data import ABSTRACT, SENTENCE_END, TRAIN, pairs, read_facts, statements
from common.storage import Storage
from preflight import staging
from preflight.request import Request
from preflight.texts.text_file import Files, as_lines, as_text, without_note
from rehearsal.conductor.options import DEFAULT_SETTINGS
from report.findings.verdict import IMPROVED, WORSE_OUTSIDE
from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
DATA = PROJECT / "data"
TEXTS = Path(__file__).parent / "texts"
# The code that asks, answers and judges, as folders and files.
CODE = (
    "lambdas/ask", "rehearsal/sagemaker/real/server", "rehearsal/sagemaker/vllm/routing.py",
    *(f"lambdas/report/findings/{name}.py" for name in ("statistics", "intervals", "recall")),
)  # fmt: skip
# What the training script makes of a small model: tests/training/test_behaviour.py holds the script to it. So a setting whose default does
# what was done before leaves the figures of today as they are, and a change of what is learned or measured does not.
BEHAVIOUR = Path(__file__).with_name("training_behaviour.json")
# The settings that decide what is learned and asked; the others decide what it may cost and who is notified.
SETTINGS = sorted((
    *(Settings().hyperparameters.keys() - {"checkpoint_minutes", "long_records"}),
    "base_model", "corpus_words", "domain", "samples_per_prompt",
))  # fmt: skip
SHUFFLED_WORDS = 6000
# Declared before any of them was run (DECLARATION.md); the results of the seeds 1 to 15 on earlier texts were known.
SEEDS = (16, 17, 18)
# Declared on 3 December 2026 for the control of word order: at the default settings, 20,000 words of the corpus; German and finance are repeated.
DEFAULT_SEEDS, DEFAULT_WORDS = (19, 20, 21), 20_000
# What each seed must gain on text by others, in nats a token, and the bound below which its whole interval must lie.
OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN = 0.15, 0.10
# The preregistered external test set: the file that `captune external` writes.
OUTSIDE_SHA256 = "5ea5e1eddbc1c21bd0155274211604abf43440377198a3cea010400b7270059d"
PREREGISTERED = (
    OUTSIDE_SHA256,
    "566bdfd7ec3fcf82eb7fc173579a585694e1bef0d43c76a0478cc6f108008e56",
)  # the second: its abstracts only, until seed 18
FIRST_CORPUS_WORDS, FIRST_CORPUS_EPOCHS = 20_000, 3
# Of the two experiments that prove the choices: passes over the items themselves, and words of the corpus without its core facts.
ITEM_EPOCHS, WORDS_WITHOUT_FACTS = 6, 20_000
FACTS_OF_A_TEXT = 15  # sentences, some 300 words: an abstract's length
# The first seed from 7 on whose order puts no eight words of held-out text together where two sentences meet: Preflight refuses those.
FACTS_ORDER = 15
ANY = "any"
# A result must not depend on how fast the machine is: on two old cores the whole corpus takes two hours.
MAX_TRAINING_SECONDS = 4 * 3600


@dataclass(frozen=True)
class Experiment:
    """One rehearsal. A null experiment must not be judged `improved`."""

    name: str
    describes: str
    is_null: bool
    seed: int = 42
    corpus: Path | None = None
    arguments: tuple[str, ...] = ()
    held_out: Path = DATA / "medicalheldout.txt"
    outside: Path | None = None  # the file of text by others, where this machine has it
    outside_sha256: str | None = None
    # The declared verdict, where `not improved` is not enough for a null; ANY where none is declared.
    must_be: str | None = None
    # Whether the second line must be improved: a null's own, which otherwise must not be, and that of seeds together.
    must_know: bool = False

    @property
    def series(self) -> str:
        """What it has in common with other seeds of the same, which are put together."""
        return self.name.rpartition("-")[0]

    def inputs(self) -> dict[str, Any]:
        """What the figures depend on, by name: staged texts and prompts, settings, weights, code, and what the training script does.

        The rule of the verdict is not part of it: `judged_again` applies it whenever the table is made.
        """
        context = read_context(PROJECT) | DEFAULT_SETTINGS
        settings = {name: context.get(name) for name in SETTINGS}
        texts = _staged((self.corpus or DATA / "medicaldataset.txt").read_bytes(), self.held_out.read_bytes())
        weights = (PROJECT / "requirements/weights.txt").read_text("utf-8")
        code = [what_is_done(module.read_text("utf-8")) for module in code_files()]
        behaviour = json.loads(BEHAVIOUR.read_text("utf-8"))
        whole = {
            "texts": texts,
            "outside": self.outside_sha256,
            "weights": weights,
            "code": code,
            "training": behaviour,
        }
        digests = {name: hashlib.sha256(repr(part).encode()).hexdigest()[:16] for name, part in whole.items()}
        return {"seed": self.seed, "arguments": [*self.arguments], "settings": settings, **digests}

    def is_made_with(self, inputs: Any) -> bool:
        """Whether figures with these inputs are those of today. A setting that came later is not among them: its default changes nothing."""
        today = self.inputs()
        settings = inputs.get("settings", {}) if isinstance(inputs, dict) else {}
        known = {name: value for name, value in today["settings"].items() if name in settings}
        return bool({**today, "settings": known} == inputs)

    def command(self, results: Path) -> list[str]:
        """The arguments of `captune rehearse` for this experiment."""
        line = ["--plain", "--results", str(results), "--as", self.name, "--seed", str(self.seed), *self.arguments]
        line += ["--set", f"max_training_seconds={MAX_TRAINING_SECONDS}"]
        if self.outside:
            line += ["--outside", str(self.outside)]
        if self.corpus is None:
            return line
        # The null texts are measured on the documents and prompts of the medical domain.
        line += ["--corpus", str(self.corpus), "--held-out", str(self.held_out)]
        return [*line, "--prompts", str(DATA / "medicalprompts.jsonl")]


@cache
def _staged(corpus: bytes, held_out: bytes) -> str:
    """A hash of what Preflight makes of a corpus, its held-out text and the prompts of the medical domain: what is trained on and measured."""
    data = {name: (DATA / name).read_bytes() for name in ("medicalprompts.jsonl", "control.txt")}
    data |= {"medicaldataset.txt": corpus, "medicalheldout.txt": held_out}
    # Every file is the domain's own, so no storage is asked.
    files = Files(cast(Storage, None), data, "medical")
    material = staging.read_material(files, Request())
    if material is None:
        raise ValueError("Preflight rejects the texts of the experiments")
    texts = (as_text(material.training), as_lines(material.held_out), as_lines(material.control))
    return hashlib.sha256(repr((*texts, material.prompts)).encode()).hexdigest()


def code_files() -> list[Path]:
    """The modules of `CODE`."""
    places = [PROJECT / name for name in CODE]
    return [module for place in places for module in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


@cache
def what_is_done(source: str) -> str:
    """A module's code without what changes no figure: comments, docstrings, layout, and from where a name is imported."""
    return repr(_shape(ast.parse(source)))


def _shape(part: Any) -> Any:
    """A part of a syntax tree as tuples, alike in all versions of Python: a version may add fields, which are empty in older code."""
    if isinstance(part, list):
        return [_shape(one) for one in part if not _does_nothing(one)]
    if not isinstance(part, ast.AST):
        return part
    fields = [(name, _shape(value)) for name, value in ast.iter_fields(part) if value is not None and value != []]
    return type(part).__name__, fields


def _does_nothing(part: Any) -> bool:
    is_docstring = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
    return is_docstring or isinstance(part, ast.Import | ast.ImportFrom)


def all_experiments(folder: Path, outside: Path | None = None) -> list[Experiment]:
    """Three texts that teach nothing of the domain, the first corpus, which must come out as worse outside, and three seeds with
    the whole corpus. Writes the shuffled text to `folder`.

    All are measured on text by others: `outside`, or the declared file, whose figures can be judged but not made without it.
    Each null repeats its small text until it trains on as many tokens as a default rehearsal, or more.
    """
    measured_on = hashlib.sha256(outside.read_bytes()).hexdigest() if outside else OUTSIDE_SHA256
    declared = partial(Experiment, outside=outside, outside_sha256=measured_on)
    null = partial(declared, is_null=True)
    facts_and_abstracts = facts_first(folder)
    # The passes, the rate and the whole adapter of that time, whatever the defaults are today.
    first = (*_passes(FIRST_CORPUS_EPOCHS, FIRST_CORPUS_WORDS, scale="1"), "--set", "learning_rate=0.002")
    return [
        null("null-other-language", "German prose on crafts, 6 epochs", corpus=TEXTS / "german.txt", arguments=_passes(6)),
        null("null-other-subject", "English prose on finance, 4 epochs", corpus=DATA / "financedataset.txt", arguments=_passes(4)),
        null(
            "null-shuffled", f"{SHUFFLED_WORDS:,} words of the corpus in random order, 2 epochs", corpus=shuffled(folder),
            arguments=_passes(2),
        ),
        null(
            "first-corpus", f"{FIRST_CORPUS_WORDS:,} words of the first corpus, {FIRST_CORPUS_EPOCHS} epochs",
            corpus=TEXTS / "first_corpus.txt", arguments=first, held_out=TEXTS / "first_heldout.txt", must_be=WORSE_OUTSIDE,
        ),
        null(
            "items-themselves", f"the items with their correct options, {ITEM_EPOCHS} epochs", corpus=items_with_right_ends(folder),
            arguments=_passes(ITEM_EPOCHS, scale="1"), must_be=ANY, must_know=True,
        ),
        null(
            "field-without-facts", f"{WORDS_WITHOUT_FACTS:,} words of the corpus without its core facts, 1 epoch",
            corpus=without_core_facts(folder), arguments=_passes(1, WORDS_WITHOUT_FACTS), must_be=ANY,
        ),
        *(declared(f"seed-{n}", f"the whole corpus, 1 epoch, seed {n}", False, seed=n, arguments=_passes(1)) for n in SEEDS),
        *(
            declared(
                f"facts-{n}", f"core facts twice, then the abstracts, seed {n}", False, seed=n,
                corpus=facts_and_abstracts, arguments=(*_passes(1), "--set", "document_order=written"), must_be=IMPROVED, must_know=True,
            )
            for n in SEEDS
        ),
        *(one for seed in DEFAULT_SEEDS for one in _at_default_settings(folder, seed, null, declared)),
    ]  # fmt: skip


def _at_default_settings(
    folder: Path, seed: int, null: Callable[..., Experiment], declared: Callable[..., Experiment]
) -> list[Experiment]:
    """The scale measured, one seed: shuffled words, two texts that teach nothing of the domain, 20,000 words of the corpus, and all of it."""
    told, passes = f"default settings, seed {seed}", partial(_passes, scale=None)
    return [
        null(
            f"shuffled-{seed}", f"{DEFAULT_WORDS:,} words of the corpus in random order, {told}", seed=seed,
            corpus=shuffled(folder, DEFAULT_WORDS), arguments=passes(1),
        ),
        declared(
            f"default-{seed}", f"{DEFAULT_WORDS:,} words of the corpus, {told}", False, seed=seed, arguments=passes(1, DEFAULT_WORDS),
            must_be=IMPROVED,
        ),
        null(f"german-{seed}", f"German prose on crafts, 6 epochs, {told}", seed=seed, corpus=TEXTS / "german.txt", arguments=passes(6)),
        null(
            f"finance-{seed}", f"English prose on finance, 4 epochs, {told}", seed=seed, corpus=DATA / "financedataset.txt",
            arguments=passes(4),
        ),
        declared(f"whole-{seed}", f"the whole corpus, {told}", False, seed=seed, arguments=passes(1), must_be=IMPROVED),
    ]  # fmt: skip


def _passes(epochs: int, words: int = 0, scale: str | None = "0.6") -> tuple[str, ...]:
    """Options for a number of epochs and the declared scale, None for the default that measures it, with greedy answers, and one sampled answer
    to each of the four starters: more would double the time."""
    kept = ("--set", f"adapter_scale={scale}") if scale else ()
    return ("--words", str(words), "--epochs", str(epochs), *kept, "--set", "samples_per_prompt=0")


def items_with_right_ends(folder: Path) -> Path:
    """The items to choose from, each with its right end, in any order: a model that was trained on it knows them, if anything can be known."""
    rows = map(json.loads, (DATA / "medicalprompts.jsonl").read_text("utf-8").splitlines())
    said = [f"{row['prompt']} {row['choices'][0]}" for row in rows if "choices" in row]
    random.Random(7).shuffle(said)
    parts = [said[start : start + 20] for start in range(0, len(said), 20)]
    return _write(
        folder / "items.txt", ["\n\n".join((f"# Items {number}", *part)) for number, part in enumerate(parts, 1)]
    )


def without_core_facts(folder: Path) -> Path:
    """The corpus without the sentences that state a core fact, its texts in any order: it sounds like the field and says little of what is asked."""
    texts = list(_parts_of_corpus()[1])
    random.Random(7).shuffle(texts)
    return _write(folder / "without_core_facts.txt", texts)


def facts_first(folder: Path) -> Path:
    """The sentences of the corpus that state a core fact, twice and each time in another order, and then its abstracts.

    Abstracts come last, for single sentences alone make the model worse at running text.
    """
    sentences, _, abstracts = _parts_of_corpus()
    chance, parts = random.Random(FACTS_ORDER), []
    for number in range(2):
        said = chance.sample(sentences, len(sentences))
        parts += [
            "\n\n".join((f"# Facts {number}.{start}", *said[start : start + FACTS_OF_A_TEXT]))
            for start in range(0, len(said), FACTS_OF_A_TEXT)
        ]
    return _write(folder / "facts_first.txt", [*parts, *abstracts])


@cache
def _parts_of_corpus() -> tuple[list[str], list[str], list[str]]:
    """The corpus's sentences that state a core fact, its texts without them, and its whole abstracts, each text under its title.

    Sentences and what they state are found as `captune data` counts them, which takes seconds.
    """
    entries, texts = zip(*(row for row in pairs(DATA, "medical") if row[0].split == TRAIN), strict=True)
    stated = {place for one in statements(read_facts(DATA / "medicalfacts.jsonl"), texts) for place in one.places}
    sentences, without = [], []
    for number, one in enumerate(texts):
        ends = [*SENTENCE_END.findall(one.text), ""]
        parts = list(zip(SENTENCE_END.split(one.text), ends, strict=True))
        kept = [
            sentence + end if (number, place) not in stated else "\n\n" * ("\n" in end)
            for place, (sentence, end) in enumerate(parts)
        ]
        without.append(f"# {one.title}\n\n{''.join(kept).strip()}")
        sentences += [sentence for place, (sentence, _) in enumerate(parts) if (number, place) in stated]
    whole = zip(entries, texts, strict=True)
    return sentences, without, [f"# {one.title}\n\n{one.text}" for entry, one in whole if entry.register == ABSTRACT]


def _write(target: Path, parts: Sequence[str]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n\n".join(parts) + "\n", "utf-8")
    return target


def shuffled(folder: Path, count: int = SHUFFLED_WORDS) -> Path:
    """Words of the corpus in random order, cut into lines of a paragraph's length: its vocabulary without its sentences."""
    words = without_note((DATA / "medicaldataset.txt").read_text("utf-8")).replace("# ", "").split()
    chosen = random.Random(7).sample(words, count)
    paragraphs = [" ".join(chosen[start : start + 100]) for start in range(0, len(chosen), 100)]
    return _write(folder / f"shuffled-{count}.txt", paragraphs)
