"""Where everything lies in the bucket. The keys are written out here once more: what lies in a bucket already must be found again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from common.contracts import run_folder

LAMBDAS = Path(run_folder.__file__).parents[2]
# What begins a key, and the names of files that more than one function knows.
STARTS = ("runs/", "checkpoints/", "corpora/", "input/", "training/", "answers/", "report/", "code/")
FILES = ("plan.json", "metrics.json", "summary.json", "report.html", "pre-trained.jsonl")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (run_folder.PLAN, "plan.json"),
        (run_folder.CORPUS_CHANNEL, "input/corpus/"),
        (run_folder.CORPUS, "input/corpus/corpus.txt"),
        (run_folder.RECORDS, "input/corpus/corpus.jsonl"),
        (run_folder.EVALUATION_CHANNEL, "input/evaluation/"),
        (run_folder.HELD_OUT, "input/evaluation/heldout.jsonl"),
        (run_folder.OUTSIDE, "input/evaluation/outside.jsonl"),
        (run_folder.CONTROL, "input/evaluation/control.jsonl"),
        (run_folder.PROMPTS, "input/prompts.jsonl"),
        (run_folder.CODE, "code/"),
        (run_folder.TRAINING, "training/"),
        (run_folder.TRIAL, "training/trial/"),
        (run_folder.BASE_ANSWERS, "answers/pre-trained.jsonl"),
        (run_folder.TUNED_ANSWERS, "answers/fine-tuned.jsonl"),
        (run_folder.REPORT, "report/"),
    ],
)
def test_a_path_lies_in_the_folder_of_its_run(path: str, key: str) -> None:
    assert run_folder.key("captune-a", path) == f"runs/captune-a/{key}"


def test_everything_of_a_run_lies_under_its_own_prefix_but_its_checkpoints() -> None:
    assert run_folder.prefix("captune-a") == "runs/captune-a/"
    assert run_folder.checkpoints("captune-a") == "checkpoints/captune-a/"


def test_the_files_of_an_adapter_and_of_a_report_have_the_names_that_others_read() -> None:
    assert (run_folder.ADAPTER_CONFIGURATION, run_folder.ADAPTER_WEIGHTS, run_folder.METRICS) == (
        "adapter_config.json", "adapter_model.safetensors", "metrics.json",
    )  # fmt: skip
    assert (run_folder.SUMMARY, run_folder.DAMAGED_SUMMARY) == ("summary.json", "summary.damaged.json")
    assert (run_folder.PAGE, run_folder.PDF, run_folder.MODEL_CARD) == ("report.html", "report.pdf", "MODEL_CARD.md")


def test_the_address_of_an_adapter_tells_its_run() -> None:
    uri = run_folder.adapter_uri("bucket", "captune-a", "captune-a-try2")
    assert uri == "s3://bucket/runs/captune-a/training/captune-a-try2/output/model/"
    found = run_folder.ADAPTER_URI.fullmatch(uri)
    assert found and found.groups() == ("bucket", "captune-a", "captune-a-try2")
    assert run_folder.run_of_uri(uri) == "captune-a"
    assert run_folder.run_of_uri("s3://bucket/corpora/mine.txt") is None


def test_no_function_spells_a_key_by_itself() -> None:
    """In code: a comment, a docstring and a sentence to a person may name a file."""
    spelt = {}
    for path in sorted(LAMBDAS.rglob("*.py")):
        if path == Path(run_folder.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if text and " " not in text and (text.startswith(STARTS) or text.endswith(FILES)):
                spelt[f"{path.relative_to(LAMBDAS)}:{node.lineno}"] = text  # type: ignore[attr-defined]
    assert spelt == {}
