"""Preflight of a run that can start: its plan, and everything it needs staged under its prefix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.pricing.durations import TRAINING_MARGIN_SECONDS
from tests.doubles.lambda_fakes import arn
from tests.doubles.preflight_site import KEPT, Site, titled
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_the_plan_holds_what_the_state_machine_reads(site: Site) -> None:
    plan = site.run()
    assert plan["runName"] == "captune-abc"
    assert plan["training"] == {
        "instanceType": "ml.g5.2xlarge", "instanceTypes": ["ml.g5.2xlarge"], "instanceCount": 1, "volumeSizeGb": 100,
        "maxRuntimeSeconds": 7200, "maxPendingSeconds": 1800, "spot": False, "maxWaitSeconds": 0, "corpusUri": f"s3://bucket/{KEPT}input/corpus/",
        "evaluationUri": f"s3://bucket/{KEPT}input/evaluation/", "codeUri": f"s3://bucket/{KEPT}code/",
        "outputUri": f"s3://bucket/{KEPT}training/", "checkpointUri": "s3://bucket/checkpoints/captune-abc/",
        "hyperparameters": {
            "epochs": "3", "learning_rate": "auto", "sequence_length": "512", "lora_rank": "16", "adapter_strength": "0.6", "seed": "42",
            "checkpoint_minutes": "10", "time_budget_seconds": str(7200 - TRAINING_MARGIN_SECONDS),
            "document_order": "written",
        },
    }  # fmt: skip
    assert plan["answers"] == {
        "promptsKey": f"{KEPT}input/prompts.jsonl", "preTrainedKey": f"{KEPT}answers/pre-trained.jsonl",
        "fineTunedKey": f"{KEPT}answers/fine-tuned.jsonl",
    }  # fmt: skip
    assert plan["hosting"] == {
        "instanceType": "ml.g5.2xlarge", "instanceTypes": ["ml.g5.2xlarge"], "instanceCount": 1, "deadlineSeconds": 3600,
        "downloadSeconds": 1200, "startSeconds": 900, "maxModelTokens": 4096,
        "trialName": "captune-abc-try0", "trialAdapterUri": f"s3://bucket/{KEPT}training/trial/",
    }  # fmt: skip
    assert (plan["adapterUri"], plan["smoke"], plan["bucket"]) == ("", False, "bucket")
    assert plan["definitionVersion"] == "v1"
    assert (plan["samplesPerPrompt"], plan["seed"], plan["acceptEula"], plan["executionArn"]) == (
        2,
        42,
        True,
        arn("abc"),
    )
    assert plan["tearDownAt"].startswith("2026-11-24T")
    assert plan["corpus"] == {"words": 3090, "documents": 30, "prompts": 1}
    assert plan["budget"]["months"] == ["2026-11"]
    assert plan["warnings"] == []
    assert len(json.dumps(plan)) < 10_000


def test_every_field_that_the_state_machine_reads_of_the_plan_is_there(
    site: Site, request: pytest.FixtureRequest
) -> None:
    import re

    plan = site.run()
    text = (request.config.rootpath / "stacks" / "fine_tuning.asl.yaml").read_text("utf-8")
    fields = set(re.findall(r"\$plan\.([A-Za-z.]+)", text))
    assert len(fields) > 15
    for path in fields:
        value: Any = plan
        for part in path.split("."):
            assert part in value, f"the state machine reads plan.{path}"
            value = value[part]


def test_everything_a_run_needs_is_staged_once_under_its_prefix(site: Site) -> None:
    plan = site.begin()
    assert set(site.staged) == {
        "input/corpus/corpus.txt", "input/evaluation/heldout.jsonl", "input/evaluation/control.jsonl", "input/prompts.jsonl",
        "code/train.py", "code/lib/loss.py", "plan.json", "training/trial/adapter_config.json",
    }  # fmt: skip
    assert json.loads(site.staged["plan.json"]) == plan
    assert json.loads(site.staged["input/prompts.jsonl"]) == GOOD
    held_out = [json.loads(line) for line in site.staged["input/evaluation/heldout.jsonl"].splitlines()]
    assert [sorted(document) for document in held_out] == [["id", "text", "title"]] * 8
    assert held_out[0]["text"] == prose(60, 300)
    assert site.staged["code/train.py"] == b"train"


def test_a_second_call_stages_the_same(site: Site) -> None:
    first = (site.begin(), dict(site.staged))
    assert (site.begin(), site.staged) == first


def test_the_input_overrides_the_settings(site: Site) -> None:
    plan = site.run({"epochs": 1, "seed": 0, "samplesPerPrompt": 0, "keepEndpointMinutes": 30})
    assert plan["training"]["hyperparameters"]["epochs"] == "1"
    assert (plan["seed"], plan["training"]["hyperparameters"]["seed"], plan["samplesPerPrompt"]) == (0, "0", 0)
    assert plan["budget"]["ledgerDetails"]["keep_endpoint_seconds"] == 1800
    assert plan["input"]["seed"] == 0


@pytest.mark.parametrize(
    ("setting", "own", "order"),
    [
        ("auto", False, "written"),
        ("auto", True, "shuffled"),
        ("shuffled", False, "shuffled"),
        ("written", True, "written"),
    ],
)
def test_the_projects_texts_are_learnt_in_the_order_of_the_file_and_others_shuffled_unless_it_is_set(
    site: Site, setting: str, own: bool, order: str
) -> None:
    site.settings["document_order"] = setting
    site.upload("mine.txt", prose(3000, 7).encode())
    plan = site.run({"corpus": "corpora/mine.txt"} if own else {})
    assert plan["training"]["hyperparameters"]["document_order"] == order


def test_a_corpus_of_ones_own_needs_nothing_else(site: Site) -> None:
    site.upload("mine.txt", b"\xef\xbb\xbf" + prose(3000, 7).replace("\n", "\r\n").encode())
    plan = site.begin({"corpus": "corpora/mine.txt"})
    assert 1500 < plan["corpus"]["words"] < 3000  # what is held out is not trained on
    held_out = [json.loads(line)["text"] for line in site.staged["input/evaluation/heldout.jsonl"].splitlines()]
    training = site.staged["input/corpus/corpus.txt"].decode()
    assert len(held_out) >= 6
    assert not [text for text in held_out if text in training]
    prompts = [json.loads(line) for line in site.staged["input/prompts.jsonl"].splitlines()]
    assert {prompt["kind"] for prompt in prompts} == {"starter"}


def test_held_out_text_and_prompts_of_ones_own_are_used(site: Site) -> None:
    site.upload("mine.txt", prose(2000, 7).encode())
    site.upload("apart.txt", prose(900, 8).encode())
    site.upload("p.jsonl", json_lines({**GOOD, "id": "mine"}))
    asked = {"corpus": "corpora/mine.txt", "heldOut": "corpora/apart.txt", "prompts": "corpora/p.jsonl"}
    (warning,) = site.begin(asked)["warnings"]
    assert "Passages of one document are alike" in warning
    held_out = site.staged["input/evaluation/heldout.jsonl"].splitlines()
    assert len(held_out) >= 6, "one document is cut into blocks, because a verdict needs several"
    assert json.loads(site.staged["input/prompts.jsonl"])["id"] == "mine"
    assert site.staged["input/corpus/corpus.txt"].decode().split() == ["#", "training", "1", *prose(2000, 7).split()]


def test_too_little_held_out_text_for_a_verdict_is_told_beforehand(site: Site) -> None:
    site.upload("mine.txt", prose(2000, 7).encode())
    site.upload("apart.txt", prose(210, 8).encode())
    (warning,) = site.run({"corpus": "corpora/mine.txt", "heldOut": "corpora/apart.txt"})["warnings"]
    assert "with fewer than 6 the verdict is always “not shown”" in warning


def test_documents_under_titles_are_measured_whole_and_without_a_warning(site: Site) -> None:
    site.upload("mine.txt", titled(30, 100, 500))
    plan = site.begin({"corpus": "corpora/mine.txt"})
    assert plan["warnings"] == []
    assert len(site.staged["input/evaluation/heldout.jsonl"].splitlines()) == 6


def test_a_held_out_document_that_stands_there_twice_is_measured_once(site: Site) -> None:
    site.upload("apart.txt", titled(7, 60, 700) + b"\n\n" + titled(3, 60, 700).replace(b"# Part", b"# Copy"))
    site.upload("mine.txt", titled(30, 100, 500))
    (warning,) = site.begin({"corpus": "corpora/mine.txt", "heldOut": "corpora/apart.txt"})["warnings"]
    assert warning == "3 held-out documents say what another one says; each is measured once."
    assert len(site.staged["input/evaluation/heldout.jsonl"].splitlines()) == 7


def test_control_text_that_the_corpus_holds_is_left_out(site: Site) -> None:
    site.upload("mine.txt", b"\n\n".join([prose(2000, 7).encode(), site.data["control.txt"].split(b"# Part 1")[0]]))
    site.begin({"corpus": "corpora/mine.txt"})
    control = [json.loads(line)["title"] for line in site.staged["input/evaluation/control.jsonl"].splitlines()]
    assert control == ["Part 1", "Part 2"]
