"""A run that can start: its plan, its staged input, its expected time, and whether the model fits the cards."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from common.architecture import Shape
from common.environment import RunSettings
from common.errors import ModelDoesNotFit
from common.estimate import MEASURE_AGAIN_SECONDS
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS
from common.text.tokens import estimated_tokens
from preflight.fits import idle_cards, refuse_what_cannot_fit
from preflight.model import Model
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.lambda_fakes import arn
from tests.doubles.preflight_site import KEPT, Site, titled
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines

OWN = {"corpus": "corpora/mine.txt"}
PLAN: dict[str, Any] = {
    "runName": "captune-abc",
    "executionArn": arn("abc"),
    "definitionVersion": "v1",
    "samplesPerPrompt": 2,
    "acceptEula": True,
    "corpus": {"words": 3090, "documents": 30, "prompts": 1},
    "warnings": [],
}
TRAINING = {
    "instanceTypes": ["ml.g5.2xlarge"],
    "volumeSizeGb": 100,
    "maxRuntimeSeconds": 7200,
    "maxPendingSeconds": 1800,
    "maxWaitSeconds": 0,
    "corpusUri": f"s3://bucket/{KEPT}input/corpus/",
    "evaluationUri": f"s3://bucket/{KEPT}input/evaluation/",
    "outputUri": f"s3://bucket/{KEPT}training/",
    "checkpointUri": "s3://bucket/checkpoints/captune-abc/",
    "hyperparameters": {
        "epochs": "3",
        "learning_rate": "auto",
        "sequence_length": "512",
        "lora_rank": "16",
        "adapter_strength": "0.6",
        "seed": "42",
        "checkpoint_minutes": "10",
        "time_budget_seconds": str(7200 - TRAINING_MARGIN_SECONDS),
        "document_order": "written",
    },
}
HOSTING = {
    "instanceTypes": ["ml.g5.2xlarge"],
    "deadlineSeconds": 3600,
    "downloadSeconds": 1200,
    "startSeconds": 900,
    "maxModelTokens": 4096,
    "trialAdapterUri": f"s3://bucket/{KEPT}training/trial/",
}


def staged(site: Site, name: str) -> list[dict[str, Any]]:
    """The documents of a staged file of JSON lines."""
    return [json.loads(line) for line in site.staged[f"input/{name}.jsonl"].splitlines()]


def test_plan_has_what_the_state_machine_needs(site: Site) -> None:
    plan = site.run()
    assert plan | PLAN == plan
    assert plan["training"] | TRAINING == plan["training"]
    assert plan["hosting"] | HOSTING == plan["hosting"]
    assert plan["tearDownAt"].startswith("2026-11-24T")
    assert plan["budget"]["months"] == ["2026-11"]
    assert plan["evaluation"]["outsideDocuments"] == 0
    assert plan["evaluation"]["outsideText"].startswith("No outside text was given")
    assert len(json.dumps(plan)) < 10_000


def test_all_a_run_needs_is_staged_under_its_prefix(site: Site) -> None:
    plan = site.begin()
    assert set(site.staged) == {
        "input/corpus/corpus.txt",
        "input/evaluation/heldout.jsonl",
        "input/evaluation/control.jsonl",
        "input/prompts.jsonl",
        "code/train.py",
        "code/lib/loss.py",
        "plan.json",
        "training/trial/adapter_config.json",
    }
    assert json.loads(site.staged["plan.json"]) == plan
    assert staged(site, "prompts") == [GOOD]
    held_out = staged(site, "evaluation/heldout")
    assert [sorted(document) for document in held_out] == [["id", "text", "title"]] * 8
    assert held_out[0]["text"] == prose(60, 300)
    assert site.staged["code/train.py"] == b"train"


class TestOwnCorpus:
    def test_it_needs_nothing_else(self, site: Site) -> None:
        site.upload("mine.txt", b"\xef\xbb\xbf" + prose(3000, 7).replace("\n", "\r\n").encode())
        plan = site.begin(OWN)
        assert 1500 < plan["corpus"]["words"] < 3000  # what is held out is not trained on
        held_out = [one["text"] for one in staged(site, "evaluation/heldout")]
        training = site.staged["input/corpus/corpus.txt"].decode()
        assert len(held_out) >= 6
        assert not [text for text in held_out if text in training]
        assert {prompt["kind"] for prompt in staged(site, "prompts")} == {"starter"}

    def test_own_held_out_text_and_prompts_are_used(self, site: Site) -> None:
        site.upload("mine.txt", prose(2000, 7).encode())
        site.upload("apart.txt", prose(900, 8).encode())
        site.upload("p.jsonl", json_lines({**GOOD, "id": "mine"}))
        (warning,) = site.begin({**OWN, "heldOut": "corpora/apart.txt", "prompts": "corpora/p.jsonl"})["warnings"]
        assert "Passages of one document are alike" in warning
        assert len(staged(site, "evaluation/heldout")) >= 6
        assert [one["id"] for one in staged(site, "prompts")] == ["mine"]
        trained = site.staged["input/corpus/corpus.txt"].decode().split()
        assert trained == ["#", "training", "1", *prose(2000, 7).split()]

    def test_too_little_held_out_text_for_a_verdict_is_a_warning(self, site: Site) -> None:
        site.upload("mine.txt", prose(2000, 7).encode())
        site.upload("apart.txt", prose(210, 8).encode())
        (warning,) = site.run({**OWN, "heldOut": "corpora/apart.txt"})["warnings"]
        assert "with fewer than 6 the verdict is always “not shown”" in warning

    def test_repeated_held_out_document_is_measured_once(self, site: Site) -> None:
        again = titled(3, 60, 700).replace(b"# Part", b"# Copy")
        site.upload("apart.txt", titled(7, 60, 700) + b"\n\n" + again)
        site.upload("mine.txt", titled(30, 100, 500))
        (warning,) = site.begin({**OWN, "heldOut": "corpora/apart.txt"})["warnings"]
        assert warning.startswith("3 held-out documents say what another one says")
        assert len(staged(site, "evaluation/heldout")) == 7

    def test_control_text_in_the_corpus_is_left_out(self, site: Site) -> None:
        copied = site.data["control.txt"].split(b"# Part 1")[0]
        site.upload("mine.txt", b"\n\n".join([prose(2000, 7).encode(), copied]))
        site.begin(OWN)
        assert [one["title"] for one in staged(site, "evaluation/control")] == ["Part 1", "Part 2"]


THIRTEEN = Shape(**dataclasses.asdict(BASE_MODELS["llama-2-13b"].shape))


def phase(plan: dict[str, Any], name: str) -> int:
    """The seconds of one phase of the estimate."""
    return next(int(one["seconds"]) for one in plan["estimate"]["phases"] if one["name"] == name)


def test_plan_has_the_estimate_beside_the_worst_case(site: Site) -> None:
    plan = site.run({"epochs": 2})
    expected = plan["estimate"]
    assert expected["tokens"] == 2 * estimated_tokens(plan["corpus"]["words"])
    assert 0 < expected["expectedCents"] < plan["budget"]["worstCaseCents"]
    assert expected["trainingSeconds"] == sum(one["seconds"] for one in expected["phases"][:4])
    memory = expected["memory"]
    assert (memory["trainingCard"], memory["hostingCard"], memory["quantised"]) == ("A10G", "A10G", False)
    assert memory["trainingBytes"] < memory["trainingFreeBytes"]
    assert memory["hostingBytes"] < memory["hostingUsableBytes"]


def test_deadline_before_the_last_answer_is_a_warning(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.data["medicalprompts.jsonl"] = json_lines(*({**GOOD, "id": f"p{n}"} for n in range(1500)))
    (warning,) = site.run({"samplesPerPrompt": 2})["warnings"]
    assert json.loads(capsys.readouterr().out)["warnings"] == [warning]
    assert "74 minutes" in warning and "after 60. Raise endpoint_deadline_minutes" in warning
    site.settings["endpoint_deadline_minutes"] = 90
    assert site.run({"samplesPerPrompt": 2})["warnings"] == []


class TestSeeds:
    def test_time_and_dollars_grow_with_them_and_the_reservation_does_not(self, site: Site) -> None:
        one, three = site.run({"seed": 7}), site.run({"seeds": [7, 8, 9]})
        assert phase(three, "further seeds") == 2 * (phase(three, "learn") + MEASURE_AGAIN_SECONDS)
        more = three["estimate"]["trainingSeconds"] - one["estimate"]["trainingSeconds"]
        assert more == phase(three, "further seeds")
        dearer = three["estimate"]["expectedCents"] - one["estimate"]["expectedCents"]
        assert abs(dearer - more * 151.5 / 3600) <= 1
        assert three["estimate"]["tokens"] == one["estimate"]["tokens"]
        assert three["budget"]["worstCaseCents"] == one["budget"]["worstCaseCents"]
        assert three["training"]["maxRuntimeSeconds"] == one["training"]["maxRuntimeSeconds"]
        assert three["warnings"] == []

    def test_those_that_do_not_fit_are_a_warning_and_cost_nothing(self, site: Site) -> None:
        # A minute to learn, four to load and measure, three more for each further seed: 600 s hold three seeds.
        site.data["medicaldataset.txt"] = titled(30, 900, 100)
        site.settings |= {"epochs": 1, "max_training_seconds": MINIMUM_TRAINING_SECONDS}
        plan = site.run({"seeds": [1, 2, 3, 4, 5]})
        learn = phase(plan, "learn")
        fitting = 1 + (600 - 240 - learn) // (learn + MEASURE_AGAIN_SECONDS)
        assert 1 < fitting < 5
        (warning,) = plan["warnings"]
        assert f"{fitting} of the 5 seeds" in warning and "Raise max_training_seconds" in warning
        fits = site.run({"seeds": list(range(fitting))})
        assert plan["estimate"]["expectedCents"] == fits["estimate"]["expectedCents"]
        assert fits["warnings"] == []
        (warning,) = site.run({"seeds": [1, 2], "epochs": 50})["warnings"]
        assert "not even the first of the seeds" in warning


class TestMemory:
    settings = RunSettings.from_json(json.dumps(SETTINGS))

    def test_model_too_large_for_the_card_is_refused_with_larger_cards(self, site: Site) -> None:
        model = BASE_MODELS["llama-2-13b"]
        changes = {"name": model.name, "parameters": model.parameters, "shape": dataclasses.asdict(model.shape)}
        site.settings["base_model"] = {**SETTINGS["base_model"], **changes}
        message = site.refusal(ModelDoesNotFit)
        assert "Llama 2 13B with 13.0 billion parameters does not fit" in message and "31.1 GB" in message
        assert "the A10G in ml.g5.2xlarge has 24 GB" in message
        assert "ml.p4d.24xlarge (A100, 40 GB), ml.g6e.2xlarge (L40S, 48 GB)" in message

    def test_model_that_trains_in_4_bits_only_is_a_warning(self) -> None:
        model = Model("Thirteen", THIRTEEN.parameters, THIRTEEN, 4096, False, THIRTEEN.weights_bytes)
        hosting = ["ml.g6e.2xlarge", "ml.new1.large"]
        assert "4 bits only" in refuse_what_cannot_fit(model, self.settings, ["ml.g5.2xlarge"], hosting)
        assert refuse_what_cannot_fit(model, self.settings, [], hosting) == "", "an adapter that is only served"

    def test_model_that_no_card_holds_is_refused(self) -> None:
        huge = dataclasses.replace(THIRTEEN, layers=800)
        model = Model("Huge", huge.parameters, huge, 4096, False, huge.weights_bytes)
        with pytest.raises(ModelDoesNotFit, match="No card of SageMaker holds it"):
            refuse_what_cannot_fit(model, self.settings, ["ml.g5.2xlarge"], ["ml.g5.2xlarge"])


@pytest.mark.parametrize(
    ("kind", "count", "sequences", "words"),
    [
        ("ml.g5.12xlarge", 2, 4, "4 cards are as fast"),
        ("ml.g5.2xlarge", 3, 4, "2 cards are as fast"),  # the busiest of three cards has two sequences, as with two
        ("ml.g5.12xlarge", 1, 1, "1 card is as fast"),
        ("ml.g5.2xlarge", 2, 2, None),
        ("ml.g5.2xlarge", 4, 4, None),
        ("ml.g5.12xlarge", 1, 4, None),
    ],
)
def test_cards_without_a_sequence_of_a_step_are_a_warning(
    kind: str, count: int, sequences: int, words: str | None
) -> None:
    settings = RunSettings.from_json(json.dumps({**SETTINGS, "training_instance_count": count}))
    warnings = idle_cards(settings, [kind], sequences * 512 * 512)
    assert not warnings if words is None else words in warnings[0]
