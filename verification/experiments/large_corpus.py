"""How fast, and in how much memory, Preflight's own code reads, checks and splits a corpus of any size.

    python -m verification.experiments.large_corpus [MEGABYTES …]    # 10, 100 and 1,000 by default

The text is made up and written to a temporary folder: articles under `# Title` lines, or with `--untitled` one text without any; a
paragraph is one line, or with `--wrapped` lines of 72 letters. Each size is read in a process of its own over a bucket in that folder,
so that what counts is its own peak (resident set). Preflight has a whole core, and the way from S3 beside it.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.storage import Storage
from preflight import staging
from preflight.request import Request
from preflight.texts.large_text import Amount

SIZES_MB = (10, 100, 1000)
KEY = "corpora/large.txt"
_ARTICLE_SENTENCES, _PARAGRAPHS = 4, 6
_WORDS = 60_000
_BLOCK_BYTES = 4 * 10**6


class Folder:
    """As much of S3 as the reading needs, over files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """An object's size and version."""
        return {"ContentLength": (self._folder / Key).stat().st_size, "ETag": "one"}

    def get_object(self, *, Bucket: str, Key: str, Range: str, IfMatch: str) -> dict[str, Any]:
        """A part of an object."""
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        with (self._folder / Key).open("rb") as file:
            file.seek(first)
            return {"Body": io.BytesIO(file.read(last + 1 - first))}


def articles(titled: bool, wrapped: bool = False) -> Iterator[str]:
    """Made-up articles without end, of words of usual length, some of them with a figure or an accent."""
    rng = random.Random(20261126)
    letters = "eeeeeeaaaaiiiioootttnnnnsssrrrrhhllddcummfpgwybvkü"
    known = ["".join(rng.choices(letters, k=rng.choice((2, 3, 4, 5, 6, 7, 9, 12)))) for _ in range(_WORDS)]
    number = 0
    while True:
        number += 1
        paragraphs = [
            " ".join(
                f"{' '.join(rng.choices(known, k=17)).capitalize()} {rng.randint(2, 99)} {rng.choice(known)}."
                for _ in range(_ARTICLE_SENTENCES)
            )
            for _ in range(_PARAGRAPHS)
        ]
        if wrapped:
            paragraphs = [textwrap.fill(paragraph, 72) for paragraph in paragraphs]
        title = f"# Article {number}\n\n" if titled else ""
        yield title + "\n\n".join(paragraphs) + "\n\n"


def fill(folder: Path, megabytes: int, titled: bool, wrapped: bool) -> None:
    """Writes a corpus of a size.

    A block of it is made, and every further one says the same in other letters: no two share a run of words.
    """
    made, block, rng = articles(titled, wrapped), bytearray(), random.Random(1)
    while len(block) < min(_BLOCK_BYTES, megabytes * 10**6):
        block += next(made).encode()
    path = folder / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while file.tell() < megabytes * 10**6:
            vowels, others = "aeiou", "bcdfghjklmnpqrstvwxyz"
            mixed = ["".join(rng.sample(one, len(one))) for one in (vowels, others)]
            left = megabytes * 10**6 - file.tell()
            end = len(block) if left >= len(block) else block.index(b"\n\n", left - 1) + 2
            file.write(block[:end].translate(bytes.maketrans((vowels + others).encode(), "".join(mixed).encode())))


def read(folder: Path) -> None:
    """Reads the corpus in this process and prints what it took."""
    size = (folder / KEY).stat().st_size
    data = {"control.txt": b"# One\n\nA text of its own about a town by the sea.\n"}
    storage = Storage(Folder(folder), "bucket")
    wall, cpu = time.monotonic(), time.process_time()
    material = staging.gather(storage, data, Request(corpus=KEY), "medical", lambda step: step(), Amount())
    staged = staging.files(material, {}) if material else {}
    digest = staging.digest(staged)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert material is not None
    print(
        f"{size / 1e6:7,.0f} MB {size / 1e6 / cpu:7.1f} MB/s of a core {cpu:6.1f} s of CPU ({wall:.1f} s by the clock here) {peak:5,.0f} MiB at most; "
        f"{sum(map(len, staged.values())) / 1e6:5.1f} MB staged: {len(material.training):,} documents, {material.words:,} words, {len(material.held_out)} held "
        f"out ({digest[:8]})",
        flush=True,
    )


def main(arguments: list[str]) -> int:
    """Make each corpus, read it, remove it."""
    if arguments[:1] == ["read"]:
        read(Path(arguments[1]))
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m verification.experiments.large_corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("megabytes", type=int, nargs="*", default=list(SIZES_MB), help="(default: 10 100 1000)")
    parser.add_argument("--untitled", action="store_true", help="one text without `# Title` lines")
    parser.add_argument(
        "--wrapped", action="store_true", help="lines of 72 letters, as in a text that was typed or copied"
    )
    asked = parser.parse_args(arguments)
    for megabytes in asked.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), megabytes, not asked.untitled, asked.wrapped)
            subprocess.run([sys.executable, "-m", __spec__.name, "read", folder], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
