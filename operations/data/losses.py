"""How well the rehearsal's stand-in predicts each register of data/ before any training: whether the corpus speaks as its field does.

Uses the training code's own evaluation, so a loss here is the `base_loss` of a run. Needs no account; a few minutes on a laptop.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from operations.data import index as text_index
from operations.data import texts
from preflight.texts.text_file import documents, part

# Nats a token, measured with the stand-in on 25 November 2026 by the training code of commit 3c9f6b0.
REFERENCES = (
    ("published abstracts", 2.83, "120 biomedical abstracts of PubMedQA's expert-labelled part (MIT licence)"),
    ("a plain textbook paragraph", 2.27, "one on HIV, written for the purpose"),
    (
        "the former corpus",
        4.1,
        "data/medicaldataset.txt as it stood then: training on it made the loss on those abstracts rise",
    ),
)
DEFAULT_WORDS = 1500  # of each register: enough to tell registers apart by 0.1, and few enough for minutes

Score = Callable[[list[str]], list[tuple[float, int]]]  # texts to (summed nats, tokens) of each


def by_register(folder: Path, domain: str, words: int, score: Score) -> list[tuple[str, str, float, int]]:
    """(split, register, nats a token, tokens) over about `words` words of each register; 0 takes all of it."""
    rows = text_index.pairs(folder, domain)
    found = []
    for split in text_index.FILES:
        for register in sorted({entry.register for entry, _ in rows if entry.split == split}):
            chosen = [text for entry, text in rows if (entry.split, entry.register) == (split, register)]
            found.append((split, register, *_mean(score([document.text for document in part(chosen, words)]))))
    return found


def of_file(file: Path, score: Score) -> tuple[float, int]:
    """(nats a token, tokens) of a text of others: titled text, or JSON Lines with `text`."""
    content = file.read_text("utf-8")
    if file.suffix == ".jsonl":
        return _mean(score([json.loads(line)["text"] for line in content.splitlines() if line.strip()]))
    return _mean(score([document.text for document in documents(content, file.stem)]))


def _mean(scored: Iterable[tuple[float, int]]) -> tuple[float, int]:
    pairs = list(scored)
    tokens = sum(count for _, count in pairs)
    return sum(nats for nats, _ in pairs) / max(1, tokens), tokens


def table(
    folder: Path = texts.DATA, words: int = DEFAULT_WORDS, others: Path | None = None, score: Score | None = None
) -> str:
    """Losses by register of every domain with an index, and the reference values, for people."""
    score = score or stand_in()
    lines = []
    for domain in texts.domains(folder):
        lines.append(f"{domain}: the stand-in's mean loss before training, nats a token")
        for split, register, loss, tokens in by_register(folder, domain, words, score):
            lines.append(f"  {split:<8} {register:<22} {loss:5.2f}  {tokens:>7,} tokens")
    if others:
        loss, tokens = of_file(others, score)
        lines.append(f"{others.name:<33} {loss:5.2f}  {tokens:>7,} tokens")
    lines.append("to compare with")
    lines += [f"  {name:<31} {loss:5.2f}  {source}" for name, loss, source in REFERENCES]
    return "\n".join(lines)


def stand_in() -> Score:
    """The evaluation of training/ on the stand-in's weights, which it loads once. Raises WeightsMissing."""
    from rehearsal.models.weights import ensure_weights

    sys.path.insert(0, str(texts.DATA.parent / "training"))
    import torch

    from arguments import Arguments
    from evaluation import score
    from model.network import load_network
    from model.weights import find_model
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
