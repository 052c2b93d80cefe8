"""The two container images, as the SageMaker SDK lists them for each region.

`sagemaker.core.image_uris.retrieve` gives the same addresses (a test compares them for every region), but importing it
takes two seconds of every synthesis and brings pandas and scipy with it. So its data files are read directly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stacks.settings import SettingsError

# The newest Hugging Face PyTorch training image of the SDK; requirements.txt pins the same library versions.
TRANSFORMERS_VERSION = "5.3.0"
PYTORCH_VERSION = "2.9.0"
# The newest SageMaker vLLM image of the SDK. It is built for CUDA 13, hence the machine image below.
VLLM_VERSION = "0.30.0"
PYTHON_VERSION = "py312"
# The default machine image of endpoints has a driver too old for CUDA 13: the container would die without a log.
INFERENCE_AMI_VERSION = "al2023-ami-sagemaker-inference-gpu-4-1"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A container image in a registry that AWS owns."""

    registry_account: str
    region: str
    repository: str
    tag: str

    @property
    def uri(self) -> str:
        """The address that SageMaker pulls from."""
        return f"{self.registry_account}.dkr.ecr.{self.region}.amazonaws.com/{self.repository}:{self.tag}"


def training_image(region: str) -> Image:
    """The Hugging Face PyTorch training image. Raises SettingsError where AWS does not publish it."""
    entry = _listed("huggingface")["training"]["versions"][TRANSFORMERS_VERSION][f"pytorch{PYTORCH_VERSION}"]
    return _image(region, entry, f"{PYTORCH_VERSION}-transformers{TRANSFORMERS_VERSION}")


def hosting_image(region: str) -> Image:
    """The vLLM serving image. Raises SettingsError where AWS does not publish it."""
    entry = _listed("vllm")["inference"]["versions"][VLLM_VERSION]
    return _image(region, entry, entry["tag_prefix"])


def _image(region: str, entry: dict[str, Any], version: str) -> Image:
    if region not in entry["registries"]:
        raise SettingsError(
            f"AWS publishes no {entry['repository']} {version} image in the region {region}. "
            f"Set region to one of {', '.join(sorted(entry['registries']))}."
        )
    return Image(
        registry_account=entry["registries"][region],
        region=region,
        repository=entry["repository"],
        tag=f"{version}-gpu-{PYTHON_VERSION}-{entry['container_version']['gpu']}",
    )


@cache
def _listed(family: str) -> dict[str, Any]:
    """The SDK's list of a family of images. Raises FileNotFoundError when the pinned SDK is not installed."""
    spec = find_spec("sagemaker")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "core" / "image_uri_config" / f"{family}.json"
        if file.is_file():
            return dict(json.loads(file.read_text(encoding="utf-8")))
    raise FileNotFoundError(f"the package sagemaker lists no {family} images: pip install -r requirements.txt")
