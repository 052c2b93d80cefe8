"""How fast, and in how much memory, the functions with the largest inputs work on made-up ones.

    python -m verification.experiments.memory corpus [MEGABYTES …]                      # Preflight reads, checks and splits a corpus
    python -m verification.experiments.memory report [PROMPTS [SAMPLES [RESAMPLES]]]    # WriteReport and FinishReport of the largest run

A corpus holds articles under `# Title` lines, or with `--untitled` without any; a paragraph is one line, or with `--wrapped` lines of 72
letters. The defaults of `report` are the largest that Preflight allows: twenty minutes or more. Fewer resamples take less time and the
same memory. Its answers have 64 tokens of about four characters, as Ask allows. Each measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common.storage import Storage
from preflight import staging
from preflight.model import MOST_BYTES
from preflight.request import Request
from preflight.texts.text_file import Files
from report.findings import analysis, intervals
from verification.experiments.made_up_runs import CORPUS, COST, FACTS, FILLER, SECONDS, answers, metrics
from verification.experiments.made_up_runs import prompts as made_up_prompts
from verification.experiments.rewrite import Folder

SIZES_MB = (4, 30, 67)
KEY = "large.txt"
_ARTICLE_SENTENCES, _PARAGRAPHS, _WORDS = 4, 6, 60_000
PROMPTS, SAMPLES, CHARACTERS = 10_000, 8, 64 * 4
EMOJI = "\U0001f9ec"  # with one in it, each letter of a text takes four bytes of memory
CORPUS_WORDS = 5_000_000  # some 32 MiB, the most that is learnt of a corpus
ARN = "arn:aws:states:us-east-1:123456789012:execution:captune-fine-tuning:large"
PREFIX = "runs/captune-large/"


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# A corpus --------------------------------------------------------------------------------------------------------------


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


def read_corpus(megabytes: int, titled: bool, wrapped: bool) -> str:
    """Writes a corpus of a size, reads it as Preflight does, and says what that took of this process."""
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, KEY).open("w", encoding="utf-8") as file:
            for article in articles(titled, wrapped):
                file.write(article)
                if file.tell() >= megabytes * 10**6:
                    break
        data = {"control.txt": b"# One\n\nA text of its own about a town by the sea.\n"}
        began = time.process_time()
        files = Files(Storage(Folder(Path(folder)), "bucket"), data, "medical", corpus_bytes=MOST_BYTES)
        material = staging.gather(files, Request(corpus=KEY))
    assert material is not None
    staged = sum(map(len, staging.files(material, {}).values())) / 1e6
    seconds = time.process_time() - began
    return (
        f"{megabytes:7,.0f} MB {megabytes / seconds:7.1f} MB/s of a core {seconds:6.1f} s of CPU {peak_mib():5,.0f} MiB at most; {staged:5.1f} MB "
        f"staged: {len(material.training):,} documents, {material.words:,} words, {len(material.held_out)} held out"
    )


# A report --------------------------------------------------------------------------------------------------------------


def plan() -> dict[str, Any]:
    """The plan of the run, as far as a report reads it."""
    keys = (
        ("promptsKey", "input/prompts.jsonl"),
        ("preTrainedKey", "answers/base.jsonl"),
        ("fineTunedKey", "answers/tuned.jsonl"),
    )
    return {
        "runName": "captune-large", "domain": "medical", "executionArn": ARN, "region": "us-east-1", "prefix": PREFIX,
        "baseModel": {"name": "Llama 2 7B", "parameters": 6_738_415_616, "weightsUri": "s3://weights/"},
        "startedAt": "2026-11-25T10:00:00+00:00", "input": {}, "seed": 42, "corpus": {"words": 9}, "warnings": [],
        "training": {"instanceType": "ml.g5.2xlarge", "maxRuntimeSeconds": 7200}, "hosting": {"instanceType": "ml.g5.2xlarge"},
        "budget": {"trainingHourlyUsd": "1.515", "hostingHourlyUsd": "1.515", "priceSource": "list", "months": ["2026-11"]},
        "answers": {name: f"{PREFIX}{key}" for name, key in keys},
        "report": {"prefix": f"{PREFIX}report/", "uri": f"s3://bucket/{PREFIX}report/"},
    }  # fmt: skip


def fill(folder: Path, prompts: int, samples: int, corpus_words: int) -> None:
    """Writes the bucket of the largest run: corpus, metrics, prompts, and the answers of both models."""
    rng = random.Random(7)
    (folder / PREFIX / "input" / "corpus").mkdir(parents=True)
    (folder / PREFIX / "answers").mkdir()
    words = CORPUS.split() + " ".join(FILLER).split()
    (folder / PREFIX / "input/corpus/corpus.txt").write_text(" ".join(rng.choices(words, k=corpus_words)))
    (folder / PREFIX / "metrics.json").write_text(json.dumps(metrics()))
    rows = made_up_prompts(prompts)
    (folder / PREFIX / "input/prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def text() -> str:
        parts = rng.sample(FILLER, 4) + [name for name, _ in rng.sample(FACTS, 2)]
        return ", ".join(parts)[: CHARACTERS - 1] + EMOJI

    for name in ("base", "tuned"):
        with (folder / PREFIX / f"answers/{name}.jsonl").open("w") as file:
            for answer in answers(rows, name, skill=0.3):
                answer |= {"greedy": text(), "samples": [text() for _ in range(samples)], "seeds": list(range(samples))}
                file.write(json.dumps(answer) + "\n")


def write_report(handler: str, folder: Path, resamples: int) -> str:
    """Runs one handler in this process, and says its seconds and its peak in MiB."""
    import finish.handler
    import report.handler

    os.environ["BUCKET_NAME"] = "bucket"
    analysis.analyse = partial(analysis.analyse, resamples=resamples)
    module = report.handler if handler == "report" else finish.handler
    module.client = lambda service: Folder(folder)  # type: ignore[attr-defined]
    began = time.process_time()
    if handler == "report":
        reservation = {"reservedCents": 558, "capCents": 2500}
        event: dict[str, Any] = {"plan": plan(), "reservation": reservation, "adapterUri": f"s3://bucket/{PREFIX}"}
    else:
        event = {
            "run": "captune-large", "executionArn": ARN, "status": "SUCCEEDED", "error": "", "cause": "", "verdict": "improved",
            "reason": "", "secondsByState": SECONDS, "cost": {**COST, "cap_cents": 2500}, "unreserved": [], "leftAlone": [],
        }  # fmt: skip
    module.handle(event, None)
    return f"{handler:8} {peak_mib():7,.0f} MiB {time.process_time() - began:7.0f} s of CPU"


def main(arguments: list[str] | None = None) -> None:
    """Measures each size of a corpus, or both handlers over the bucket of one run."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__, formatter_class=style)
    parts = parser.add_subparsers(dest="part", required=True)
    corpus = parts.add_parser("corpus")
    corpus.add_argument("megabytes", type=int, nargs="*", default=list(SIZES_MB), help="(default: 4 30 67)")
    corpus.add_argument("--untitled", action="store_true", help="one text without `# Title` lines")
    corpus.add_argument("--wrapped", action="store_true", help="lines of 72 letters, as in a text that was typed")
    report = parts.add_parser("report")
    report.add_argument("prompts", type=int, nargs="?", default=PROMPTS, help="(default: %(default)s)")
    report.add_argument("samples", type=int, nargs="?", default=SAMPLES, help="of each (default: %(default)s)")
    report.add_argument("resamples", type=int, nargs="?", default=intervals.RESAMPLES, help="(default: %(default)s)")
    report.add_argument("--words", type=int, default=CORPUS_WORDS, help="of the corpus (default: %(default)s)")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
    ):
        if given.part == "corpus":
            for megabytes in given.megabytes:
                read = processes.submit(read_corpus, megabytes, not given.untitled, given.wrapped)
                print(read.result(), flush=True)
            return
        fill(Path(folder), given.prompts, given.samples, given.words)
        for handler in ("report", "finish"):
            print(processes.submit(write_report, handler, Path(folder), given.resamples).result(), flush=True)
        for path in sorted((Path(folder) / PREFIX / "report").iterdir()):
            print(f"{path.name:14} {path.stat().st_size / 2**20:7.1f} MiB")


if __name__ == "__main__":
    main()
