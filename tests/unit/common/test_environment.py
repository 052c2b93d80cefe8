"""The environment variables of the Lambdas."""

from __future__ import annotations

import json

import pytest

from common.architecture import Shape
from common.environment import BaseModel, MisconfiguredFunction, RunSettings, required
from tests.doubles.run_settings import SETTINGS


def test_a_variable_that_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    assert required("BUCKET_NAME") == "bucket"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_missing_is_named_with_the_way_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("BUCKET_NAME", raising=False)
    if value is not None:
        monkeypatch.setenv("BUCKET_NAME", value)
    with pytest.raises(MisconfiguredFunction, match="BUCKET_NAME is not set; deploy the stacks again"):
        required("BUCKET_NAME")


def test_settings_are_read_with_their_base_model() -> None:
    settings = RunSettings.from_json(json.dumps(SETTINGS))
    assert settings.base_model == BaseModel(
        **{**SETTINGS["base_model"], "shape": Shape(**SETTINGS["base_model"]["shape"])}
    )
    assert (settings.region, settings.accept_eula, settings.seed) == ("us-east-1", True, 42)


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", json.dumps(SETTINGS | {"unheard": 1}), json.dumps(SETTINGS | {"base_model": {"id": "x"}}),
     json.dumps({key: value for key, value in SETTINGS.items() if key != "seed"})],
)  # fmt: skip
def test_settings_of_another_form_are_those_of_another_deployment(text: str) -> None:
    with pytest.raises(MisconfiguredFunction, match="SETTINGS_JSON is not what this code reads"):
        RunSettings.from_json(text)


def test_the_stack_writes_what_preflight_reads() -> None:
    from stacks.configuration.run_settings import settings_json
    from stacks.configuration.settings import Settings

    settings = RunSettings.from_json(settings_json(Settings.from_context({"epochs": "5", "accept_eula": "true"})))
    assert (settings.epochs, settings.accept_eula, settings.base_model.id) == (5, True, "llama-2-7b")
