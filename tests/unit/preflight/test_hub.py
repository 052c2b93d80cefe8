"""What JumpStart's hub says of the base model, before anything is paid."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.environment import BaseModel, RunSettings
from common.errors import EulaNotAccepted, WeightsNotFound, WeightsRejected
from preflight.account import hub
from tests.doubles.lambda_fakes import SageMaker, refusal
from tests.doubles.preflight_site import SETTINGS, Site

MODEL = RunSettings.from_json(json.dumps(SETTINGS)).base_model
CHAT = replace(MODEL, has_chat_template=True)
WEIGHTS = ["sub/config.json", "sub/model-1.safetensors", "sub/model-2.safetensors"]
BESIDE = ["config.json", "model.safetensors", "tokenizer_config.json"]


def asked(
    model: BaseModel = MODEL, files: list[str] | None = None, settings: str | None = None, **described: Any
) -> Any:
    """What becomes of the hub's answer; `settings` is what tokenizer_config.json holds, None where it cannot be had."""
    client = SageMaker()
    client.hub = {"HubContentDocument": "{}", "SupportStatus": "Supported", **described}
    client.hub_files = BESIDE if files is None else files

    def get(url: str) -> bytes:
        if settings is None:
            raise OSError("timed out")
        return settings.encode()

    answer = hub.ask(client, model, get)
    named = {"HubName": "SageMakerPublicHub", "HubContentType": "Model", "HubContentName": MODEL.hub_name}
    assert client.called("describe_hub_content") == [{**named, "HubContentVersion": MODEL.hub_version}]
    access = {"AcceptEula": True, "ExpectedS3Url": MODEL.weights_uri}
    assert client.called("create_hub_content_presigned_urls")[0]["AccessConfig"] == access
    return answer


def at(uri: str) -> str:
    return json.dumps({"HostingPrepackedArtifactUri": uri})


@pytest.mark.parametrize(
    ("found", "has_template", "warned"),
    [
        (lambda: asked(), False, ""),
        (lambda: asked(HubContentDocument=at("s3://gated/llama")), False, ""),
        (lambda: asked(files=WEIGHTS), False, ""),
        (lambda: asked(SupportStatus="Deprecated"), False, f"calls Llama 2 7B {MODEL.hub_version} Deprecated"),
        (lambda: asked(CHAT, [*BESIDE, "chat_template.jinja"]), True, ""),
        (lambda: asked(CHAT, settings='{"chat_template": "{{ messages }}"}'), True, ""),
        (lambda: asked(CHAT, settings="{}"), False, ""),
        (lambda: asked(CHAT), True, "could not be read"),
        (lambda: asked(CHAT, BESIDE[:2], "{}"), True, "could not be read"),
        (lambda: asked(CHAT, settings="<html>"), True, "could not be read"),
    ],
)
def test_an_answer_of_the_hub_becomes_a_warning_or_nothing(found: Any, has_template: bool, warned: str) -> None:
    template, warnings = found()
    assert template is has_template
    assert (warned in warnings[0]) if warned else not warnings


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ({"HubContentDocument": at("s3://gated/llama/v2/")}, WeightsNotFound, "at s3://gated/llama/v2/, and this deployment would read s3://gated/llama/"),
        ({"files": ["config.json", "pytorch_model.bin"]}, WeightsRejected, "but config.json, pytorch_model.bin. Choose another base_model"),
        ({"files": ["config.json", "sub/model.safetensors"]}, WeightsRejected, "side by side"),
        ({"files": []}, WeightsRejected, "but nothing"),
    ],
)  # fmt: skip
def test_weights_that_are_not_as_the_catalogue_says_are_refused(
    answer: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told.replace(".", r"\.")):
        asked(**answer)


@pytest.mark.parametrize("operation", ["describe_hub_content", "create_hub_content_presigned_urls"])
@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        (refusal("AccessDeniedException"), "AccessDeniedException"),
        (refusal("ResourceNotFound"), "ResourceNotFound"),
        (refusal("ThrottlingException"), "ThrottlingException"),
        (EndpointConnectionError(endpoint_url="https://api.sagemaker"), "EndpointConnectionError"),
    ],
)
def test_a_hub_that_does_not_answer_is_a_warning(operation: str, trouble: Exception, named: str) -> None:
    client = SageMaker()
    client.troubles[operation] = [trouble]
    template, (warning,) = hub.ask(client, CHAT)
    assert template is True and f"({named})" in warning


@pytest.mark.parametrize(
    ("changed", "called"),
    [({}, 1), ({"accept_eula": False}, 0), ({"base_model": {**SETTINGS["base_model"], "hub_name": ""}}, 0)],
)
def test_the_hub_is_asked_once_the_licence_is_accepted(
    changed: dict[str, Any], called: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(monkeypatch)
    site.settings |= changed
    with suppress(EulaNotAccepted):
        site.run()
    assert len(site.sagemaker.called("describe_hub_content")) == called
