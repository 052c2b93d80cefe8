"""The texts, prompts and adapter of a run in a whole account: as little as the Lambdas take."""

import io
import json
import random
import zipfile
from collections.abc import Mapping
from functools import cache
from typing import Any

from verification.experiments import made_up_runs as made_up

ASSETS = {
    "DATA_ASSET_BUCKET": "assets",
    "DATA_ASSET_KEY": "assets/data.zip",
    "TRAINING_ASSET_BUCKET": "assets",
    "TRAINING_ASSET_KEY": "assets/training.zip",
}
CORPUS, PROMPTS = "corpora/small.txt", "corpora/small.jsonl"
# Few and short: what is learned is not what the simulation is about. The report judges too few documents at once.
INPUT: Mapping[str, Any] = {"corpus": CORPUS, "prompts": PROMPTS, "samplesPerPrompt": 0}
# Where the adapter lies that a run serves without training, and the plan of the run that trained it.
EARLIER = "runs/captune-earlier/"
EARLIER_ADAPTER = f"{EARLIER}training/captune-earlier/output/model/"
METRICS: Mapping[str, Any] = {
    **made_up.metrics(),
    "evaluation": {
        name: made_up.documents(random.Random(1), 2, -0.2, 0.05, 3.0) for name in ("heldout", "training_text")
    },
    # One set: intervals over more would take most of the simulation's time.
    "choices": made_up.choices(random.Random(1), 1, 0.4),
}


def corpus() -> str:
    """Twenty documents of words that occur once each: nothing in it repeats or leaks."""
    return "".join(f"# Title {n}\n\n" + " ".join(f"w{n}x{m}" for m in range(60)) + "\n\n" for n in range(20))


def prompts() -> str:
    """Two prompts without facts."""
    rows = [{"id": f"p{n}", "kind": "starter", "prompt": f"Question {n}", "facts": []} for n in (1, 2)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@cache
def objects() -> Mapping[str, bytes]:
    """What lies in S3 before a run: its texts, and the two deployed assets."""
    control = "".join(f"# Control {n}\n\n" + " ".join(f"c{n}x{m}" for m in range(60)) + "\n\n" for n in range(2))
    return {
        CORPUS: corpus().encode(),
        PROMPTS: prompts().encode(),
        ASSETS["DATA_ASSET_KEY"]: zipped({"control.txt": control}),
        ASSETS["TRAINING_ASSET_KEY"]: zipped({"train.py": "print('not run')\n"}),
    }


def adapter(folder: str) -> dict[str, bytes]:
    """The files of an adapter that a training job has left, by key."""
    return {
        f"{folder}adapter_config.json": b"{}",
        f"{folder}adapter_model.safetensors": b"weights",
        f"{folder}metrics.json": json.dumps(METRICS).encode(),
    }


def earlier(weights_uri: str) -> dict[str, bytes]:
    """The files of an earlier run that left an adapter for these weights, by key."""
    return {
        **adapter(EARLIER_ADAPTER),
        f"{EARLIER_ADAPTER}adapter_config.json": b'{"r": 16}',
        f"{EARLIER_ADAPTER}adapter_model.safetensors": bytes(64),
        f"{EARLIER}plan.json": json.dumps({"baseModel": {"weightsUri": weights_uri}}).encode(),
    }


def serving(bucket: str) -> dict[str, Any]:
    """The input of a run that serves that adapter and asks nothing."""
    return {"adapterUri": f"s3://{bucket}/{EARLIER_ADAPTER}", "serveOnly": True}


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Files in a zip archive, as an asset is deployed."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()
