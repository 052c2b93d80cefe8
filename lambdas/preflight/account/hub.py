"""JumpStart's public hub: whether it still has the base model where the catalogue says, and whether its files can be read as they lie.

Asking costs nothing, and needs the licence accepted. What is found out here would else show in the first minute of training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import urlopen

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.aws import error_code
from common.contracts.weights_folder import CONFIGURATION, TOKENIZER_SETTINGS
from common.environment import BaseModel
from common.errors import WeightsNotFound, WeightsRejected

HUB = "SageMakerPublicHub"
CHAT_TEMPLATE = "chat_template.jinja"
_MOST_BYTES_READ = 20_000_000
_SECONDS = 10


def fetch(url: str) -> bytes:
    """The content at a presigned address. Raises OSError where it cannot be had."""
    with urlopen(url, timeout=_SECONDS) as answer:
        content: bytes = answer.read(_MOST_BYTES_READ)
    return content


def ask(client: Any, model: BaseModel, get: Callable[[str], bytes] = fetch) -> tuple[bool, list[str]]:
    """Whether the model's folder has a chat template, and warnings. A hub that does not answer is a warning.

    Raises WeightsNotFound where the hub has the weights elsewhere, and WeightsRejected where they lie in another form.
    """
    named = {
        "HubName": HUB,
        "HubContentType": "Model",
        "HubContentName": model.hub_name,
        "HubContentVersion": model.hub_version,
    }
    try:
        described = client.describe_hub_content(**named)
        files = _files(client, named, model)
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        why = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        return model.has_chat_template, [
            f"JumpStart's hub could not be asked about {model.name} ({why}); whether its files lie as expected shows in training's first minute."
        ]
    there = json.loads(described["HubContentDocument"]).get("HostingPrepackedArtifactUri") or model.weights_uri
    if there.rstrip("/") != model.weights_uri.rstrip("/"):
        raise WeightsNotFound(
            f"JumpStart's hub has the weights of {model.name} {model.hub_version} at {there}, and this deployment would read {model.weights_uri}. Deploy a newer "
            "version of this project, or correct weights_prefix in stacks/configuration/catalog.py and deploy."
        )
    folders = {path.rpartition("/")[0] for path in files if path.endswith(".safetensors")}
    folder = next((one for one in sorted(folders) if _in(one, CONFIGURATION) in files), None)
    if folder is None:
        raise WeightsRejected(
            f"JumpStart's folder {model.weights_uri} does not hold {CONFIGURATION} and *.safetensors side by side, but {', '.join(sorted(files)[:5]) or 'nothing'}. "
            "Choose another base_model, or set weights_uri to a copy in that form, and deploy."
        )
    status = described.get("SupportStatus", "Supported")
    warnings = [f"JumpStart's hub calls {model.name} {model.hub_version} {status}."] if status != "Supported" else []
    if not model.has_chat_template or _in(folder, CHAT_TEMPLATE) in files:
        return model.has_chat_template, warnings
    try:
        settings = json.loads(get(files[_in(folder, TOKENIZER_SETTINGS)]))
    except (KeyError, OSError, ValueError):
        return True, [
            *warnings,
            f"Whether {model.name} has a chat template could not be read; only conversations need it.",
        ]
    return bool(settings.get("chat_template")), warnings


def _files(client: Any, named: Mapping[str, str], model: BaseModel) -> dict[str, str]:
    """The addresses of the model's files by their paths, from every page of the hub's answer."""
    access = {"AcceptEula": model.requires_eula, "ExpectedS3Url": model.weights_uri}
    pages = client.get_paginator("create_hub_content_presigned_urls").paginate(**named, AccessConfig=access)
    return {one["LocalPath"]: one["Url"] for page in pages for one in page["AuthorizedUrlConfigs"]}


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
