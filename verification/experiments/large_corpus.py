"""How fast, and in how much memory, Preflight reads, checks and splits a made-up corpus.

    python -m verification.experiments.large_corpus [MEGABYTES …]    # 4, 30 and 67 by default

Articles stand under `# Title` lines, or with `--untitled` without any; a paragraph is one line, or with `--wrapped` lines of 72 letters.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from common.storage import Storage
from preflight import staging
from preflight.model import MOST_BYTES
from preflight.request import Request
from preflight.texts.text_file import Files
from preflight.texts.training import Amount
from verification.experiments.rewrite import Folder

SIZES_MB = (4, 30, 67)
KEY = "large.txt"
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


def measure(megabytes: int, titled: bool, wrapped: bool) -> str:
    """Writes a corpus of a size, reads it as Preflight does, and says what that took of this process."""
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, KEY).open("w", encoding="utf-8") as file:
            for article in articles(titled, wrapped):
                file.write(article)
                if file.tell() >= megabytes * 10**6:
                    break
        data = {"control.txt": b"# One\n\nA text of its own about a town by the sea.\n"}
        began = time.process_time()
        files = Files(Storage(Folder(Path(folder)), "bucket"), data, "medical")
        material = staging.gather(files, Request(corpus=KEY), Amount(bytes=MOST_BYTES))
    assert material is not None
    staged = sum(map(len, staging.files(material, {}).values())) / 1e6
    seconds = time.process_time() - began
    return (
        f"{megabytes:7,.0f} MB {megabytes / seconds:7.1f} MB/s of a core {seconds:6.1f} s of CPU {peak_mib():5,.0f} MiB at most; {staged:5.1f} MB "
        f"staged: {len(material.training):,} documents, {material.words:,} words, {len(material.held_out)} held out"
    )


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Measures each size in a separate process, so that its peak (resident set) counts."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__, formatter_class=style)
    parser.add_argument("megabytes", type=int, nargs="*", default=list(SIZES_MB), help="(default: 4 30 67)")
    parser.add_argument("--untitled", action="store_true", help="one text without `# Title` lines")
    parser.add_argument("--wrapped", action="store_true", help="lines of 72 letters, as in a text that was typed")
    given = parser.parse_args()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for megabytes in given.megabytes:
            print(processes.submit(measure, megabytes, not given.untitled, given.wrapped).result(), flush=True)


if __name__ == "__main__":
    main()
