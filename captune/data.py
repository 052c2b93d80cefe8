"""`captune data`: counts the texts of data/, to check the datasheet; with --loss, how well the proxy model predicts them;
with --style, how they are written.

The loss is that of the training code's own evaluation before any training: the `base_loss` of a run. It shows whether the
corpus speaks as its field does. It takes a few minutes on a laptop.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from captune import external, text_style
from captune.account import PROJECT, Refused
from preflight.texts import outside_text, text_file
from preflight.texts.text_file import Document, documents, part, without_note
from rehearsal import user_files
from rehearsal.programs import as_typed

DATA = PROJECT / "data"
TRAIN, HELD_OUT = "train", "heldout"
FILES = {TRAIN: "dataset.txt", HELD_OUT: "heldout.txt"}
LISTED = "facts.jsonl"  # how the name of a domain's list ends
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
# Nats a token, measured with the proxy model on 25 November 2026 by the training code of commit 3c9f6b0.
REFERENCES = (
    ("published abstracts", 2.83, "120 biomedical abstracts of PubMedQA's expert-labelled part (MIT licence)"),
    ("a plain textbook paragraph", 2.27, "one on HIV, written for the purpose"),
    ("the former corpus", 4.1, "data/medicaldataset.txt as it stood then: training on it made the loss on those abstracts rise"),
)  # fmt: skip
ABSTRACT = "abstract"  # the register that is compared with external abstracts
DEFAULT_WORDS = 1500  # of each register: enough to tell registers apart by 0.1, and few enough for minutes

Score = Callable[[list[str]], list[tuple[float, int]]]  # texts to (summed nats, tokens) of each


def command(
    loss: Annotated[bool, typer.Option("--loss", help="Print the proxy model's loss by register instead.")] = False,
    words: Annotated[int, typer.Option(metavar="N", help="Use N words of each register for --loss; 0 for all of it.")] = DEFAULT_WORDS,
    style: Annotated[bool, typer.Option("--style", help="Print how they are written, by register, instead.")] = False,
    others: Annotated[Path | None, typer.Option(metavar="FILE", help="Compare with this external test set.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Prints the counts, the losses or the figures of style."""
    found = styles(others=others) if style else [losses(words=words, others=others)] if loss else count()
    for lines in found:
        print(as_typed(lines), flush=True)


def count(folder: Path = DATA) -> Iterator[str]:
    """Words and documents, prompts by kind, words by register and area, and last how often core facts are stated."""
    for file in sorted(folder.glob("*.txt")):
        text = without_note(file.read_text("utf-8"))
        yield f"{file.name:<24} {len(text.split()):>7,} words {len(documents(text, file.stem)):>4} documents"
    for file in sorted(folder.glob("*prompts.jsonl")):
        kinds = Counter(json.loads(line)["kind"] for line in file.read_text("utf-8").splitlines())
        total = sum(kinds.values())
        yield f"{file.name:<24} {total:>7,} prompts: " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    for domain in domains(folder):
        rows = pairs(folder, domain)
        for split, ending in FILES.items():
            yield f"\n{domain}{ending} by register and area"
            yield words_table(rows, split)
    for file in sorted(folder.glob(f"*{LISTED}")):
        yield f"\n{file.name}, searched in every sentence of its corpus, which takes ten seconds or more …"
        yield facts_summary(facts_in_corpus(file))


def styles(folder: Path = DATA, others: Path | None = None) -> Iterator[str]:
    """The style of each text by register and of an external test set, and its repetitions. Raises DatasetRejected."""
    yield text_style.EXPLAINED
    for domain in domains(folder):
        rows = pairs(folder, domain)
        given = others or (external.TARGET if domain == external.DOMAIN and external.TARGET.is_file() else None)
        read = _read_others(given) if given else []
        theirs = [one.text for one in read if not external.REFERENCE_PAGES.has(one.title)]  # abstracts only
        beside = {given.name: text_style.style(theirs)} if given else {}
        for split, ending in FILES.items():
            texts: dict[str, list[str]] = {}
            for entry, document in sorted(rows, key=lambda row: row[0].register):
                if entry.split == split:
                    texts.setdefault(entry.register, []).append(document.text)
            found = {register: text_style.style(chosen) for register, chosen in texts.items()}
            yield "\n" + text_style.table(domain + ending, found | beside)
            for name, figures in beside.items():
                if ABSTRACT in found:
                    far = text_style.far_apart(found[ABSTRACT], figures)
                    yield f"Abstracts more than a tenth from {name} (its figures in brackets): {', '.join(far) or 'none'}"
            if split == TRAIN:
                yield "Looking for repetitions, which may take a minute …"
                yield text_style.repeats([text for chosen in texts.values() for text in chosen])
        if given:
            yield f"\n{given.name}: {text_style.repeats(theirs)}"
        else:
            yield f"\nNo external test set to compare {domain} texts with: give --others FILE (captune external fetches abstracts for {external.DOMAIN} ones)."


def _read_others(file: Path) -> list[Document]:
    """A file of `--others`, as a run reads it."""
    return outside_text.read(user_files.read(file, text_file.MOST_BYTES), file.name)


def domains(folder: Path = DATA) -> list[str]:
    """The domains whose documents are listed in an index."""
    return [file.name.removesuffix("index.jsonl") for file in sorted(folder.glob("*index.jsonl"))]


def losses(
    folder: Path = DATA, words: int = DEFAULT_WORDS, others: Path | None = None, score: Score | None = None
) -> str:
    """Losses by register of every domain with an index, and the reference values. Raises DatasetRejected for an external test set."""
    score = score or stand_in()
    lines = []
    for domain in domains(folder):
        lines.append(f"{domain}: the proxy model's mean loss before training, nats per token")
        for split, register, loss, tokens in by_register(folder, domain, words, score):
            lines.append(f"  {split:<8} {register:<22} {loss:5.2f}  {tokens:>7,} tokens")
    if others:
        theirs = _read_others(others)
        loss, tokens = _mean(score([document.text for document in theirs]))
        lines.append(f"{others.name:<33} {loss:5.2f}  {tokens:>7,} tokens")
    lines.append("to compare with")
    return "\n".join([*lines, *(f"  {name:<31} {loss:5.2f}  {source}" for name, loss, source in REFERENCES)])


def by_register(folder: Path, domain: str, words: int, score: Score) -> list[tuple[str, str, float, int]]:
    """(split, register, nats a token, tokens) over about `words` words of each register; 0 takes all of it."""
    rows = pairs(folder, domain)
    found = []
    for split in FILES:
        for register in sorted({entry.register for entry, _ in rows if entry.split == split}):
            chosen = [text for entry, text in rows if (entry.split, entry.register) == (split, register)]
            found.append((split, register, *_mean(score([document.text for document in part(chosen, words)]))))
    return found


def _mean(scored: Iterable[tuple[float, int]]) -> tuple[float, int]:
    pairs = list(scored)
    tokens = sum(count for _, count in pairs)
    return sum(nats for nats, _ in pairs) / max(1, tokens), tokens


def stand_in() -> Score:
    """The evaluation of training/ on the proxy model's weights, which it loads once. Raises CannotRun."""
    from rehearsal.models.weights import ensure_weights

    sys.path.insert(0, str(PROJECT / "training"))
    import torch

    from arguments import Arguments
    from evaluation import score
    from inputs import find_model
    from model.network import load_network
    from progress import Clock
    from text import Document, boundaries, tokenize

    arguments = Arguments()
    network: Any = load_network(find_model(ensure_weights()), arguments, torch.device("cpu"))
    edges = boundaries(network.tokenizer)

    def scored(parts: list[str]) -> list[tuple[float, int]]:
        tokenized = tokenize([Document(str(n), "", text) for n, text in enumerate(parts)], network.tokenizer)
        nats = score(network, tokenized, edges, arguments.sequence_length, tuned=False, clock=Clock())
        return [(value, len(document.tokens)) for value, document in zip(nats, tokenized, strict=True)]

    return scored


# What each document is, and how often core facts are stated.


@dataclass(frozen=True)
class Entry:
    """One line of an index. `part` and `number` are the document's place in the plan, within its register."""

    title: str
    area: str
    register: str
    split: str
    topic: str
    part: str
    number: int


def read_index(file: Path) -> list[Entry]:
    """The entries of an index in file order. Raises TypeError for a line with other keys."""
    return [Entry(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def pairs(folder: Path, domain: str) -> list[tuple[Entry, Document]]:
    """Each entry of a domain's index with its document, the training text first. Raises Refused."""
    entries = read_index(folder / f"{domain}index.jsonl")
    found: list[tuple[Entry, Document]] = []
    for split, ending in FILES.items():
        chosen = [entry for entry in entries if entry.split == split]
        texts = documents((folder / f"{domain}{ending}").read_text("utf-8"), domain + split)
        named, there = [entry.title for entry in chosen], [document.title for document in texts]
        if named != there:
            differing = enumerate(zip_longest(named, there, fillvalue="nothing"), 1)
            number, titles = next(one for one in differing if one[1][0] != one[1][1])
            raise Refused(
                f"{domain}index.jsonl and {domain}{ending} differ from document {number} on: "
                f"{titles[0]!r} is in the index, {titles[1]!r} in the text."
            )
        found += zip(chosen, texts, strict=True)
    return found


def words_table(rows: list[tuple[Entry, Document]], split: str) -> str:
    """Words by register and area of one split, titles not counted, for people."""
    chosen = [(entry, document) for entry, document in rows if entry.split == split]
    areas = list(dict.fromkeys(entry.area for entry, _ in sorted(chosen, key=lambda row: row[0].area)))
    registers = sorted({entry.register for entry, _ in chosen})
    words: Counter[tuple[str, str]] = Counter()
    count: Counter[str] = Counter()
    for entry, document in chosen:
        length = len(document.text.split())
        for key in ((entry.register, entry.area), (entry.register, ""), ("", entry.area), ("", "")):
            words[key] += length
        count[entry.register] += 1
        count[""] += 1
    grid = [["words", *areas, "all", "documents"]]
    for register in [*registers, ""]:
        cells = [f"{words[register, area]:,}" if words[register, area] else "–" for area in [*areas, ""]]
        grid.append([register or "all", *cells, f"{count[register]:,}"])
    return text_style.aligned(grid)


@dataclass(frozen=True)
class Fact:
    """A core fact of a field. A sentence states it where both patterns are found in it, in lower case: that is fast.

    `source` is where it was read that the fact holds, "" where nothing was found.
    """

    fact: str
    subject: str
    object: str
    source: str

    def stated_in(self, sentences: list[str]) -> list[int]:
        """The places of the sentences, in lower case, that name both the subject and the object."""
        subject, says = (re.compile(pattern).search for pattern in (self.subject, self.object))
        return [place for place, sentence in enumerate(sentences) if subject(sentence) and says(sentence)]


@dataclass(frozen=True)
class Statements:
    """Where a text states one fact: the numbers of document and sentence."""

    fact: str
    places: frozenset[tuple[int, int]]

    @property
    def sentences(self) -> int:
        """How many sentences state it."""
        return len(self.places)

    @property
    def documents(self) -> int:
        """How many documents state it."""
        return len({document for document, _ in self.places})


def read_facts(file: Path) -> list[Fact]:
    """The facts of a JSON Lines file, in its order. Raises TypeError for a line with other keys."""
    return [Fact(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def facts_in_corpus(file: Path) -> list[Statements]:
    """How often the training text of a domain, which lies beside its list of facts, states each of them."""
    domain = file.name.removesuffix(LISTED)
    text = file.with_name(domain + FILES[TRAIN]).read_text("utf-8")
    return statements(read_facts(file), documents(text, domain))


def statements(facts: Iterable[Fact], texts: Iterable[Document]) -> list[Statements]:
    """Where these documents state each fact, in the order of the facts. Titles don't count."""
    split = [SENTENCE_END.split(text.text.lower()) for text in texts]
    return [
        Statements(fact.fact, frozenset((n, place) for n, one in enumerate(split) for place in fact.stated_in(one)))
        for fact in facts
    ]


def facts_summary(found: list[Statements]) -> str:
    """One line on all of them. Takes at least one."""
    sentences = sorted(row.sentences for row in found)
    stated = f"{sentences[0]} to {sentences[-1]} sentences (median {median(sentences):.0f})"
    fewest = min(row.documents for row in found)
    return f"{len(found):,} core facts, each stated in {stated} of {fewest} documents or more"
