"""How much memory the largest run that Preflight allows needs in WriteReport and in FinishReport.

    python -m verification.experiments.reports.memory [PROMPTS [SAMPLES [RESAMPLES]]] [--words N]

The defaults are the largest that are allowed: twenty minutes or more. Fewer resamples take less time and the same memory. Each
handler runs in a process of its own over a bucket in a folder. The answers have 64 tokens of about four characters, as Ask allows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from report.findings import analysis, intervals
from verification.experiments.large_corpus import peak_mib
from verification.experiments.reports.made_up import CORPUS, COST, FACTS, FILLER, SECONDS, answers, metrics
from verification.experiments.reports.made_up import prompts as made_up_prompts
from verification.experiments.rewrite import Folder

PROMPTS, SAMPLES, CHARACTERS = 10_000, 8, 64 * 4
EMOJI = "\U0001f9ec"  # with one in it, each letter of a text takes four bytes of memory
CORPUS_WORDS = 5_000_000  # some 32 MiB, the most that is learnt of a corpus
ARN = "arn:aws:states:us-east-1:123456789012:execution:captune-fine-tuning:large"
PREFIX = "runs/captune-large/"


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


def run(handler: str, folder: Path, resamples: int) -> None:
    """Runs one handler in this process and prints its seconds and its peak in MiB."""
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
    print(f"{handler:8} {peak_mib():7,.0f} MiB {time.process_time() - began:7.0f} s of CPU", flush=True)


def main(arguments: list[str]) -> int:
    """Fill a bucket and measure both handlers over it, one after the other."""
    if arguments and arguments[0] in ("report", "finish"):
        run(arguments[0], Path(arguments[1]), int(arguments[2]))
        return 0
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__, formatter_class=style)
    parser.add_argument("prompts", type=int, nargs="?", default=PROMPTS, help="(default: %(default)s)")
    parser.add_argument("samples", type=int, nargs="?", default=SAMPLES, help="of each (default: %(default)s)")
    parser.add_argument("resamples", type=int, nargs="?", default=intervals.RESAMPLES, help="(default: %(default)s)")
    parser.add_argument("--words", type=int, default=CORPUS_WORDS, help="of the corpus (default: %(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), asked.prompts, asked.samples, asked.words)
        for handler in ("report", "finish"):
            subprocess.run([sys.executable, "-m", __spec__.name, handler, folder, str(asked.resamples)], check=True)
        for path in sorted((Path(folder) / PREFIX / "report").iterdir()):
            print(f"{path.name:14} {path.stat().st_size / 2**20:7.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
