"""python -m rehearsal.token_counts [--project FOLDER]

Counts the texts of data/ in words, in tokens of Llama 2 and in tokens of the rehearsal's stand-in, and compares the first with
the figures in lambdas/common/text/tokens.py that the estimates of time and cost use. Needs npm, once. Exit code 1 when they differ.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.text.tokens import TOKENS_PER_WORD
from preflight.texts import text_file

from .conductor.options import PROJECT
from .models.llama_vocabulary import PACKAGE, VERSION, ensure_vocabulary
from .models.weights import NAME, WeightsMissing, ensure_weights

TOLERANCE = 0.005  # tokens a word: the figures are kept with three digits after the point


@dataclass(frozen=True)
class Count:
    """One text in words and in tokens."""

    text: str
    words: int
    llama: int
    stand_in: int

    @property
    def per_word(self) -> float:
        """Tokens of Llama 2 a word."""
        return self.llama / self.words


def count(path: Path, llama: Any, stand_in: Any) -> Count:
    """Counts one text with two tokenizers, without special tokens."""
    found = text_file.documents(path.read_text(encoding="utf-8"), path.stem)
    parts = [f"{document.title}\n\n{document.text}" for document in found]  # as the training job joins them

    def tokens(tokenizer: Any) -> int:
        return sum(len(ids) for ids in tokenizer(parts, add_special_tokens=False)["input_ids"])

    return Count(path.stem, sum(len(part.split()) for part in parts), tokens(llama), tokens(stand_in))


def table(counts: list[Count]) -> str:
    """The counts for people."""
    lines = [f"{'text':<16} {'words':>7} {'Llama 2':>8} {'a word':>7} {'stand-in':>9} {'a word':>7}"]
    lines += [
        f"{one.text:<16} {one.words:>7,} {one.llama:>8,} {one.per_word:>7.3f} {one.stand_in:>9,} {one.stand_in / one.words:>7.3f}"
        for one in counts
    ]
    return "\n".join([*lines, f"Llama 2 by {PACKAGE} {VERSION}; the stand-in is {NAME}."])


def differences(counts: list[Count]) -> list[str]:
    """What lambdas/common/text/tokens.py says otherwise."""
    return [
        f"{one.text} has {one.per_word:.3f} tokens a word; lambdas/common/text/tokens.py says {TOKENS_PER_WORD.get(one.text)}"
        for one in counts
        if abs(TOKENS_PER_WORD.get(one.text, 0.0) - one.per_word) > TOLERANCE
    ]


def main(arguments: list[str] | None = None) -> int:
    """Counts, prints and compares; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.token_counts", description=__doc__)
    parser.add_argument("--project", type=Path, default=PROJECT, help="the folder with data/ (default: this checkout)")
    project = parser.parse_args(arguments).project
    cache = (project / ".rehearsal" / "weights").absolute()
    try:
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()  # it warns of texts longer than the model's context; nothing is put into a model here
        tokenizers = [
            AutoTokenizer.from_pretrained(folder) for folder in (ensure_vocabulary(cache), ensure_weights(cache))
        ]
    except WeightsMissing as error:
        print(error, file=sys.stderr)
        return 1
    counts = [count(project / "data" / f"{name}.txt", *tokenizers) for name in TOKENS_PER_WORD]
    print(table(counts))
    wrong = differences(counts)
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
