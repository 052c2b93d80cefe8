"""How fast, and in how much memory, Preflight reads, checks and splits a made-up corpus.

    python -m verification.experiments.large_corpus [MEGABYTES …]    # 4, 30 and 67 by default

A process of its own reads each size from files in a temporary folder, so that its peak (resident set) counts. Articles stand
under `# Title` lines, or with `--untitled` without any; a paragraph is one line, or with `--wrapped` lines of 72 letters.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from common.storage import Storage
from preflight import staging
from preflight.learnable import MOST_BYTES
from preflight.request import Request
from preflight.texts.files import Files
from preflight.texts.training_text import Amount
from verification.experiments.rewrite import Folder

SIZES_MB = (4, 30, 67)
KEY = "corpora/large.txt"
_ARTICLE_SENTENCES, _PARAGRAPHS = 4, 6
_WORDS = 60_000


def articles(titled: bool, wrapped: bool = False) -> Iterator[str]:
    """Made-up articles without end, of words of usual length, some of them with a figure or an accent."""
    rng = random.Random(20261126)
    letters = "eeeeeeaaaaiiiioootttnnnnsssrrrrhhllddcummfpgwybvkü"
    known = ["".join(rng.choices(letters, k=rng.choice((2, 3, 4, 5, 6, 7, 9, 12)))) for _ in range(_WORDS)]

    def sentence() -> str:
        return f"{' '.join(rng.choices(known, k=17)).capitalize()} {rng.randint(2, 99)} {rng.choice(known)}."

    for number in count(1):
        paragraphs = [" ".join(sentence() for _ in range(_ARTICLE_SENTENCES)) for _ in range(_PARAGRAPHS)]
        if wrapped:
            paragraphs = [textwrap.fill(paragraph, 72) for paragraph in paragraphs]
        yield (f"# Article {number}\n\n" if titled else "") + "\n\n".join(paragraphs) + "\n\n"


def fill(folder: Path, megabytes: int, titled: bool, wrapped: bool) -> None:
    """Writes a corpus of a size."""
    path = folder / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for article in articles(titled, wrapped):
            file.write(article)
            if file.tell() >= megabytes * 10**6:
                return


def read(folder: Path) -> None:
    """Reads the corpus in this process and prints what it took."""
    size = (folder / KEY).stat().st_size / 1e6
    data = {"control.txt": b"# One\n\nA text of its own about a town by the sea.\n"}
    began = time.process_time()
    files = Files(Storage(Folder(folder), "bucket"), data, "medical")
    material = staging.gather(files, Request(corpus=KEY), lambda step: step(), Amount(bytes=MOST_BYTES))
    assert material is not None
    staged = sum(map(len, staging.files(material, {}).values())) / 1e6
    seconds = time.process_time() - began
    print(
        f"{size:7,.0f} MB {size / seconds:7.1f} MB/s of a core {seconds:6.1f} s of CPU {peak_mib():5,.0f} MiB at most; {staged:5.1f} MB staged: "
        f"{len(material.training):,} documents, {material.words:,} words, {len(material.held_out)} held out",
        flush=True,
    )


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main(arguments: list[str]) -> int:
    """Makes each corpus, reads it, removes it."""
    if arguments[:1] == ["read"]:
        read(Path(arguments[1]))
        return 0
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__, formatter_class=style)
    parser.add_argument("megabytes", type=int, nargs="*", default=list(SIZES_MB), help="(default: 4 30 67)")
    parser.add_argument("--untitled", action="store_true", help="one text without `# Title` lines")
    parser.add_argument("--wrapped", action="store_true", help="lines of 72 letters, as in a text that was typed")
    given = parser.parse_args(arguments)
    for megabytes in given.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), megabytes, not given.untitled, given.wrapped)
            subprocess.run([sys.executable, "-m", __spec__.name, "read", folder], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
