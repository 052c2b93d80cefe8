"""Memory on a card, reckoned without torch: as the training job plans it, and what Preflight refuses by it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from common.architecture import Shape
from common.cards import CARDS, card_of, serving_bytes, training_bytes, training_memory
from common.errors import ModelDoesNotFit
from stacks.catalog import BASE_MODELS
from stacks.settings import GPU_FAMILIES
from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS

A10G = CARDS["g5"]


def shape(model_id: str) -> Shape:
    return Shape(**dataclasses.asdict(BASE_MODELS[model_id].shape))


def test_every_family_that_the_settings_take_has_its_card() -> None:
    assert set(CARDS) == set(GPU_FAMILIES)
    for card in CARDS.values():
        assert card_of(card.instance_type) == card
    assert card_of("ml.m5.large") is None
    assert card_of("g5.2xlarge") is None


@pytest.mark.parametrize("model_id", BASE_MODELS)
def test_the_formula_is_the_training_jobs_own(model_id: str) -> None:
    torch = pytest.importorskip("torch")
    import memory
    from arguments import Arguments

    one, rank = shape(model_id), 16
    theirs = memory.Shape(
        parameters=one.parameters, linear_parameters=one.linear_parameters, adapter_parameters=one.adapter_parameters(rank),
        layers=one.layers, hidden=one.hidden, intermediate=one.intermediate, vocabulary=one.vocabulary,
    )  # fmt: skip
    for tokens in (512, 4096):
        for quantised in (False, True):
            for checkpointing in (False, True):
                kept = memory.estimate(
                    theirs,
                    tokens,
                    quantization="nf4" if quantised else "none",
                    dtype=torch.bfloat16,
                    checkpointing=checkpointing,
                )
                assert training_bytes(one, rank, tokens, quantised=quantised, checkpointing=checkpointing) == kept
    for card in CARDS.values():
        arguments = Arguments(sequence_length=512, lora_rank=rank)
        planned = memory.plan(theirs, arguments, "cuda", card.free_bytes)
        ours = training_memory(one, rank, 512, card)
        assert (ours.needed_bytes, ours.quantised, ours.fits) == (
            planned.needed_bytes,
            planned.quantization == "nf4",
            True,
        )


@pytest.mark.parametrize("model_id", [name for name in BASE_MODELS if name != "llama-2-13b"])
def test_what_has_seven_or_eight_billion_parameters_fits_the_usual_card_in_16_bits(model_id: str) -> None:
    one = shape(model_id)
    assert training_memory(one, 16, 512, A10G).fits and not training_memory(one, 16, 512, A10G).quantised
    assert serving_bytes(one, 64, 4096) <= A10G.served_bytes


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


def test_thirteen_billion_on_24_gb_are_refused_with_what_would_do(site: Sized) -> None:
    site.choose("llama-2-13b", "ml.g5.2xlarge")
    message = site.refusal(ModelDoesNotFit)
    assert message.startswith(
        "Llama 2 13B with 13.0 billion parameters does not fit: to be served in 16 bits beside its adapter it needs about 31.1 GB"
    )
    assert "the A10G in ml.g5.2xlarge has 24 GB" in message
    assert "What would do: ml.p4d.24xlarge (A100, 40 GB), ml.g6e.2xlarge (L40S, 48 GB)." in message


def test_an_adapter_that_is_only_served_needs_no_card_to_be_trained_on(site: Sized) -> None:
    from preflight.fits import refuse_what_cannot_fit
    from preflight.model import Model

    one = shape("llama-2-13b")
    model = Model("Thirteen", one.parameters, one, 4096)
    settings: Any = type("Settings", (), {"lora_rank": 16, "sequence_length": 512})
    assert refuse_what_cannot_fit(model, settings, [], ["ml.g6e.2xlarge"]) == ""
    said = refuse_what_cannot_fit(model, settings, ["ml.g5.2xlarge"], ["ml.g6e.2xlarge", "ml.new1.large"])
    assert (
        said == "On ml.g5.2xlarge Thirteen fits in 4 bits only: it is trained and measured so, and served in 16 bits."
    )


def test_what_no_card_holds_is_said_so() -> None:
    from preflight.fits import refuse_what_cannot_fit
    from preflight.model import Model

    huge = dataclasses.replace(shape("llama-2-13b"), layers=800)
    settings: Any = type("Settings", (), {"lora_rank": 16, "sequence_length": 512})
    with pytest.raises(ModelDoesNotFit, match="even on 4-bit weights.*No card of SageMaker holds it"):
        refuse_what_cannot_fit(
            Model("Huge", huge.parameters, huge, 4096), settings, ["ml.g5.2xlarge"], ["ml.g5.2xlarge"]
        )
