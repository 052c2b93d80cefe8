"""Where everything lies in the project's bucket: each key is spelt here, and nowhere else among the functions.

A path below a run's folder is a constant; `key` puts the run before it. The stacks grant rights on these folders by patterns
of their own (stacks/names.py), because they are synthesized without the functions' packages; a test holds the two together.
"""

import re

# The three roots of the bucket. Checkpoints have one of their own: a lifecycle rule knows no wildcards, and they are to expire.
RUNS = "runs/"
CORPORA = "corpora/"
CHECKPOINTS = "checkpoints/"

PLAN = "plan.json"

# Written by StageInput, once the run owns its folder.
INPUT = "input/"
CORPUS_CHANNEL = f"{INPUT}corpus/"
# One of the two is the corpus: running text, or records.
CORPUS = f"{CORPUS_CHANNEL}corpus.txt"
RECORDS = f"{CORPUS_CHANNEL}corpus.jsonl"
EVALUATION_CHANNEL = f"{INPUT}evaluation/"
HELD_OUT = f"{EVALUATION_CHANNEL}heldout.jsonl"
OUTSIDE = f"{EVALUATION_CHANNEL}outside.jsonl"
CONTROL = f"{EVALUATION_CHANNEL}control.jsonl"
# What the adapter scale is chosen by, one of the two: text by others, or part of the control text.
SCALE = f"{EVALUATION_CHANNEL}scale.jsonl"
SCALE_BY_CONTROL = f"{EVALUATION_CHANNEL}scale_control.jsonl"
# Prompts with a right end and near misses, which training scores; and those that are asked of the endpoint.
CHOICES = f"{EVALUATION_CHANNEL}choices.jsonl"
PROMPTS = f"{INPUT}prompts.jsonl"
CODE = "code/"

# Written by the training job, below a folder of the job's own name.
TRAINING = "training/"
# Below training/, which is all that the hosting role may read of a run.
TRIAL = f"{TRAINING}trial/"
# What is in the folder of an adapter; metrics.json is the last file that training writes.
ADAPTER_CONFIGURATION = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
METRICS = "metrics.json"
# The folder of TensorBoard's event files, beside metrics.json in the job's other output and on a person's machine.
CURVES = "tensorboard"
# The folder with an adapter among the files of a run that are kept on a person's machine.
KEPT_ADAPTER = "adapter"
SPARE_BYTES = 1 << 26  # left free on that machine's disk

ANSWERS = "answers/"
BASE_ANSWERS = f"{ANSWERS}pre-trained.jsonl"
TUNED_ANSWERS = f"{ANSWERS}fine-tuned.jsonl"

REPORT = "report/"
# What is in the folder of a report.
SUMMARY = "summary.json"
PAGE = "report.html"
PDF = "report.pdf"
MODEL_CARD = "MODEL_CARD.md"

# Below the address that a training job is given, SageMaker writes into a folder of the job's own: bucket, run and job.
ADAPTER_URI = re.compile(rf"s3://([^/]+)/{RUNS}([^/]+)/{TRAINING}([^/]+)/output/model/?")
_RUN_OF_AN_ADDRESS = re.compile(rf"/{RUNS}([^/]+)/")


def prefix(run: str) -> str:
    """Where everything of a run lies in the bucket, with the trailing slash."""
    return f"{RUNS}{run}/"


def key(run: str, path: str) -> str:
    """The key of a file or folder of a run, by its path in the run's folder."""
    return f"{prefix(run)}{path}"


def checkpoints(run: str) -> str:
    """Where SageMaker keeps a run's checkpoints, with the trailing slash."""
    return f"{CHECKPOINTS}{run}/"


def adapter_uri(bucket: str, run: str, job: str) -> str:
    """The address of the adapter that a training job of a run has left."""
    return f"s3://{bucket}/{key(run, TRAINING)}{job}/output/model/"


def run_of_uri(uri: str) -> str | None:
    """The run in whose folder an address lies, or None."""
    found = _RUN_OF_AN_ADDRESS.search(uri)
    return found[1] if found else None
