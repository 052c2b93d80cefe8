"""The model card, and the words about side effects and decoding that it shares with the page."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from verification.experiments.reports.examples import KINDS
from verification.experiments.reports.made_up import answers, prompts
from rehearsal.models import weights
from report import summary
from report.content.headline import headline
from report.content.side_effects import _forgetting_words
from report.html import page
from report.model_card import card
from stacks.configuration import catalog


@pytest.mark.parametrize("name", KINDS)
def test_every_state_renders_a_model_card_with_its_sections(made: dict[str, Any], name: str) -> None:
    text = card.render(made[name])
    assert text.startswith("---\n")
    for heading in (
        "## Intended use",
        "### Out of scope",
        "## Training data",
        "## Evaluation",
        "## Limitations",
        "## Cost",
    ):
        assert heading in text


def test_the_front_matter_is_what_the_hub_reads(made: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    for name in KINDS:
        meta = yaml.safe_load(card.render(made[name]).split("---\n")[1])
        assert (meta["library_name"], meta["pipeline_tag"]) == ("peft", "text-generation")
        assert "lora" in meta["tags"] and all(isinstance(tag, str) for tag in meta["tags"])
        assert ("license" in meta) == ("base_model" in meta)
    hub = pytest.importorskip("huggingface_hub")
    parsed = hub.ModelCard(card.render(made["improved"]))
    assert parsed.data.eval_results[0].metric_type == "loss"


def front_matter(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = pytest.importorskip("yaml").safe_load(card.render(document).split("---\n")[1])
    return found


@pytest.mark.parametrize("name", [*(model.name for model in catalog.BASE_MODELS.values()), weights.NAME])
def test_every_model_that_can_be_chosen_has_its_name_and_licence_on_the_hub(made: dict[str, Any], name: str) -> None:
    one = made["improved"]
    one["base_model"]["name"] = name
    meta = front_matter(one)
    pytest.importorskip("huggingface_hub").utils.validate_repo_id(meta["base_model"])
    assert meta["license"] in ("llama2", "llama3.1", "llama3.2", "apache-2.0")
    assert f'base = "{meta["base_model"]}"' in card.render(one)


def test_of_weights_that_the_hub_may_not_have_neither_name_nor_licence_is_told(made: dict[str, Any]) -> None:
    one = made["improved"]
    one["base_model"]["name"] = "Our own 7B"
    assert front_matter(one).keys().isdisjoint({"base_model", "license"})
    assert 'base = "the folder or name of the base model"' in card.render(one)


def test_a_text_of_ones_own_is_of_no_domain_and_of_no_known_language(made: dict[str, Any]) -> None:
    one = made["improved"]
    assert front_matter(one)["language"] == "en" and "on a corpus of the medical domain" in card.render(one)
    one["domain"] = None
    assert "language" not in front_matter(one) and "by Captune on a text of its user's own." in card.render(one)
    assert ("Domain", "a text of its own") in headline(one).facts
    one["domain"] = "no"
    assert front_matter(one)["tags"][-1] == "no"


def test_the_card_gives_every_difference_with_its_interval(made: dict[str, Any]) -> None:
    text = card.render(made["improved"])
    assert text.count("| held out |") == 3
    assert re.search(
        r"\| held out \| Loss, nats per token \| [\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ \| −0\.\d+ ± [\d.]+ \| −0\.\d+ to −0\.\d+ \|",
        text,
    )


def test_the_card_names_an_instance_only_where_the_model_of_the_plan_was_trained_on_it(
    made: dict[str, Any],
) -> None:
    settled = copy.deepcopy(made["improved"])
    settled["cost"] |= {"training_seconds": 1000, "endpoint_seconds": 1500}
    settled["base_model"]["matches_plan"] = True
    sentence = "Training took 16 min 40 s on one ml.g5.2xlarge, the endpoint stood for 25 min on one ml.g5.2xlarge."
    assert sentence in card.render(settled)
    settled["configuration"]["spot"] = {"interruptions": 1}
    assert "Billed were 16 min 40 s of training on one ml.g5.2xlarge, the endpoint" in card.render(settled)
    settled["configuration"]["spot"] = None
    settled["configuration"]["training_instance_count"] = 2  # billed are the seconds of both
    sentence = "Training took 8 min 20 s on 2 ml.g5.2xlarge, the endpoint stood for 25 min on one ml.g5.2xlarge."
    assert sentence in card.render(settled)
    settled["configuration"]["training_instance_count"] = None
    settled["base_model"]["matches_plan"] = False
    assert "Training took 16 min 40 s, the endpoint stood for 25 min." in card.render(settled)


def test_what_preflight_noted_stands_among_the_limits_and_in_the_card(made: dict[str, Any]) -> None:
    noted = copy.deepcopy(made["improved"])
    noted["configuration"]["warnings"] = ["Passages of one document are alike."]
    assert page.render(noted).count("Passages of one document are alike.") == 2
    assert "not among them. Passages of one document are alike." in card.render(noted)


def test_a_fall_of_the_control_loss_is_told_without_a_sign_and_beside_a_gain_only() -> None:
    told = {"standard_error": 0.01, "estimate": -0.1, "low": -0.12, "high": -0.08}
    block = {"difference": told, "p_value": 0.01}
    words = _forgetting_words(block, {"difference": told}, False)
    assert words.startswith(
        "The loss on text about other subjects fell by 0.100 nats per token (95 % interval 0.080 to 0.120)"
    )
    assert "part of the gain" in words
    assert "gain" not in _forgetting_words(block, {"difference": {"high": 0.01}}, False)
    assert "gain" not in _forgetting_words(block, {}, False)


@pytest.mark.parametrize(
    ("p_value", "smoke", "claimed"), [(0.01, False, True), (0.0625, False, False), (0.01, True, False)]
)
def test_something_is_forgotten_by_what_counts_in_the_verdict_and_never_in_a_smoke_run(
    p_value: float, smoke: bool, claimed: bool
) -> None:
    rose = {"standard_error": 0.01, "estimate": 0.1, "low": 0.08, "high": 0.12}
    words = _forgetting_words({"difference": rose, "p_value": p_value}, {}, smoke)
    assert words.startswith("Something was forgotten") == claimed
    assert ("can be chance" in words) == (not claimed and not smoke)


def test_samples_are_counted_for_each_kind_of_prompt() -> None:
    rows = answers(prompts(8), "base", skill=0.5)
    for row in rows:
        if row["kind"] != "starter":
            row |= {"samples": [], "seeds": []}
    found = summary.decoding(rows)
    assert (found["samples_of_each_starter"], found["samples_of_each_question"], found["seeds"]) == (2, 0, [42, 43])
