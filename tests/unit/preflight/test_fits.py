"""A model that is too large for a card is refused before anything is paid for, with what would do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.architecture import Shape
from common.errors import ModelDoesNotFit
from preflight.fits import idle_cards, refuse_what_cannot_fit
from preflight.model import Model
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS


def shape(model_id: str) -> Shape:
    return Shape(**dataclasses.asdict(BASE_MODELS[model_id].shape))


class Sized(Site):
    """An account whose settings name a model of the catalogue and instance types."""

    def choose(self, model_id: str, *types: str) -> None:
        model = BASE_MODELS[model_id]
        self.settings["base_model"] = {
            **SETTINGS["base_model"], "name": model.name, "parameters": model.parameters, "shape": dataclasses.asdict(model.shape),
        }  # fmt: skip
        self.settings["training_instance_types"] = self.settings["hosting_instance_types"] = list(types)
        self.quotas.applied = dict.fromkeys(self.quotas.applied, 1.0)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Sized:
    return Sized(monkeypatch)


def test_prompts_that_a_short_context_may_not_hold_are_told_before_training(site: Sized) -> None:
    assert not [told for told in site.run()["warnings"] if "may be too long" in told]
    site.settings["base_model"] = {**SETTINGS["base_model"], "served_tokens": 100}
    assert [told for told in site.run()["warnings"] if "may be too long" in told]


def test_thirteen_billion_on_24_gb_are_refused_with_what_would_do(site: Sized) -> None:
    site.choose("llama-2-13b", "ml.g5.2xlarge")
    message = site.refusal(ModelDoesNotFit)
    assert message.startswith(
        "Llama 2 13B with 13.0 billion parameters does not fit: to be served in 16 bits beside its adapter it needs about 31.1 GB"
    )
    assert "the A10G in ml.g5.2xlarge has 24 GB" in message
    assert "What would do: ml.p4d.24xlarge (A100, 40 GB), ml.g6e.2xlarge (L40S, 48 GB)." in message


def test_an_adapter_that_is_only_served_needs_no_card_to_be_trained_on(site: Sized) -> None:
    one = shape("llama-2-13b")
    model = Model("Thirteen", one.parameters, one, 4096, False, one.weights_bytes)
    settings: Any = type("Settings", (), {"lora_rank": 16, "sequence_length": 512})
    assert refuse_what_cannot_fit(model, settings, [], ["ml.g6e.2xlarge"]) == ""
    said = refuse_what_cannot_fit(model, settings, ["ml.g5.2xlarge"], ["ml.g6e.2xlarge", "ml.new1.large"])
    assert (
        said == "On ml.g5.2xlarge Thirteen fits in 4 bits only: it is trained and measured so, and served in 16 bits."
    )


def idle(count: int, *kinds: str, sequences: int = 4) -> list[str]:
    """The warnings of a run with as much text as steps of so many sequences need."""
    settings: Any = type("Settings", (), {"training_instance_count": count, "sequence_length": 512})
    return idle_cards(settings, kinds, sequences * 512 * 512)


def test_cards_that_a_step_has_no_sequence_for_are_told() -> None:
    (told,) = idle(2, "ml.g5.2xlarge", "ml.g5.12xlarge")
    assert told.startswith(
        "2 x ml.g5.12xlarge have 8 cards. A step of a run over so much text learns from 4 sequences,"
    )
    assert "4 cards are as fast, and the others are paid for all the same. Lower training_instance_count" in told


def test_a_third_card_is_told_because_the_busiest_has_two_sequences_as_with_two() -> None:
    (told,) = idle(3, "ml.g5.2xlarge")
    assert "3 x ml.g5.2xlarge have 3 cards." in told
    assert "2 cards are as fast, and the others are paid for" in told


def test_less_text_has_work_for_fewer_cards() -> None:
    (told,) = idle(4, "ml.g5.2xlarge", sequences=2)
    assert "learns from 2 sequences, and a card takes whole ones: 2 cards are as fast" in told
    (told,) = idle(1, "ml.g5.12xlarge", sequences=1)
    assert "learns from one sequence, and a card takes whole ones: 1 card is as fast" in told
    assert idle(2, "ml.g5.2xlarge", sequences=2) == idle(1, "ml.g5.2xlarge", sequences=1) == []


@pytest.mark.parametrize("count", [1, 2, 4])
def test_cards_that_make_a_step_faster_are_all_of_use(count: int) -> None:
    assert idle(count, "ml.g5.2xlarge") == []
    assert idle(1, "ml.g5.12xlarge") == []


def test_what_no_card_holds_is_said_so() -> None:
    huge = dataclasses.replace(shape("llama-2-13b"), layers=800)
    settings: Any = type("Settings", (), {"lora_rank": 16, "sequence_length": 512})
    with pytest.raises(ModelDoesNotFit, match="even on 4-bit weights.*No card of SageMaker holds it"):
        refuse_what_cannot_fit(
            Model("Huge", huge.parameters, huge, 4096, False, huge.weights_bytes),
            settings,
            ["ml.g5.2xlarge"],
            ["ml.g5.2xlarge"],
        )
