"""The model card: what the Hugging Face Hub reads of it, and how the figures stand in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from rehearsal.models import weights
from report import render
from report.content.figures import forgetting
from stacks.configuration import catalog
from verification.experiments.reports.examples import KINDS


def front_matter(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render.card(document).split("---\n")[1])
    return found


@pytest.mark.parametrize("name", KINDS)
def test_every_card_has_its_sections_and_what_the_hub_reads(made: dict[str, Any], name: str) -> None:
    meta = front_matter(made[name])
    for part in ("Intended use", "Out of scope", "Training data", "Evaluation", "Limitations", "Cost"):
        assert re.search(rf"^##+ {part}$", render.card(made[name]), re.M), part
    assert (meta["library_name"], meta["pipeline_tag"]) == ("peft", "text-generation")
    assert "lora" in meta["tags"] and all(isinstance(tag, str) for tag in meta["tags"])
    assert ("license" in meta) == ("base_model" in meta)


@pytest.mark.parametrize("name", [*(model.name for model in catalog.BASE_MODELS.values()), weights.NAME])
def test_every_base_model_has_its_name_and_licence_on_the_hub(made: dict[str, Any], name: str) -> None:
    one = made["improved"]
    one["base_model"]["name"] = name
    meta = front_matter(one)
    validate_repo_id(meta["base_model"])
    assert meta["license"] in ("llama2", "llama3.1", "llama3.2", "apache-2.0")
    assert f'base = "{meta["base_model"]}"' in render.card(one)


def test_unknown_weights_claim_no_licence_and_a_users_text_no_language(made: dict[str, Any]) -> None:
    one = made["improved"]
    assert front_matter(one)["language"] == "en"
    one["base_model"]["name"], one["domain"] = "Our own 7B", None
    assert front_matter(one).keys().isdisjoint({"base_model", "license", "language"})


def test_the_card_gives_every_difference_with_its_interval(made: dict[str, Any]) -> None:
    text = render.card(made["improved"])
    data: Any = ModelCard(text).data
    assert data.eval_results[0].metric_type == "loss"
    assert text.count("| held out |") == 3
    figures = r"[\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ \| −0\.\d+ ± [\d.]+ \| −0\.\d+ to −0\.\d+ \|"
    assert re.search(rf"\| held out \| Loss, nats per token \| {figures}", text)
    assert "| outside, by others | Loss, nats per token |" in render.card(made["improved-outside"])


@pytest.mark.parametrize(
    ("matches", "count", "sentence"),
    [
        (True, 2, "Training took 8 min 20 s on 2 ml.g5.2xlarge"),  # billed are the seconds of both
        (False, 1, "Training took 16 min 40 s, the endpoint"),  # a stand-in names no instance
    ],
)
def test_training_time_names_the_instances_of_the_planned_model(
    made: dict[str, Any], matches: bool, count: int, sentence: str
) -> None:
    one = made["improved"]
    one["cost"] |= {"training_seconds": 1000, "endpoint_seconds": 1500}
    one["base_model"]["matches_plan"] = matches
    one["configuration"]["training_instance_count"] = count
    assert sentence in render.card(one)


@pytest.mark.parametrize(
    ("p_value", "smoke", "claimed"), [(0.01, False, True), (0.0625, False, False), (0.01, True, False)]
)
def test_forgetting_is_claimed_by_the_verdicts_own_rule(p_value: float, smoke: bool, claimed: bool) -> None:
    rose = {"standard_error": 0.01, "estimate": 0.1, "low": 0.08, "high": 0.12}
    fell = {"estimate": -0.1, "standard_error": 0.01, "low": -0.12, "high": -0.08}

    def said(change: Any, heldout: Any, p_value: float, smoke: bool) -> str:
        control = {"difference": change, "p_value": p_value}
        told: Any = {"control": control, "heldout": heldout, "configuration": {"smoke": smoke}}
        return forgetting(told)

    words = said(rose, None, p_value, smoke)
    assert words.startswith("Something was forgotten") == claimed
    assert ("can be chance" in words) == (not claimed and not smoke)
    # A fall of the control loss is set beside a gain only.
    assert "part of the gain" in said(fell, {"difference": fell}, 0.01, False)
    assert "gain" not in said(fell, {"difference": {"high": 0.01}}, 0.01, False)
