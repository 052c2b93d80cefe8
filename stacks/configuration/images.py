"""The two container images, as the SageMaker SDK lists them for each region, and how the serving one is asked.

`sagemaker.core.image_uris.retrieve` gives the same addresses (a test compares them for every region), but importing it
takes two seconds of every synthesis and brings pandas and scipy with it. So its data files are read directly.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stacks.configuration.checks import IMAGE_ADDRESS
from stacks.configuration.settings import SettingsError

# The newest Hugging Face PyTorch training image of the SDK; its PyTorch has had no patches since 15 October 2026.
# `make conformance ARGS=training-image` tests the training script with the image's library versions.
TRANSFORMERS_VERSION = "5.3.0"
PYTORCH_VERSION = "2.9.0"
PYTHON_VERSION = "py312"
# Its successor, which the SDK does not list: the first tag stands in aws/deep-learning-containers at 10f65db (docs/src/data/
# huggingface-pytorch-training/2.11-gpu-sagemaker.yml), the second on a page of Hugging Face's. `captune check` says which of them exists.
TRAINING_SUCCESSORS = ("2.11-transformers5.13-cu130-amzn2023-sagemaker", "2.11.0-transformers5.13.1-cu130-amzn2023")
# The Amazon Linux vLLM server, vLLM 0.27.1. Plain `/invocations` of vLLM takes the model from a header that InvokeEndpoint
# cannot send, so it answers as the base model whatever the body says. This family of images routes a request by its
# CustomAttributes to `/v1/completions`, where the body's model counts. 2.4 and not a newer one, because its entrypoint was
# read: github.com/aws/deep-learning-containers at e0ecede (21 August 2026), scripts/docker/vllm/sagemaker_{entrypoint.sh,
# args.py,serve.py} and .github/config/image/vllm/sagemaker-amzn2023.yml; AWS asks a real endpoint by the same attribute in
# test/vllm/sagemaker/amzn2023/test_sm_model_serving.py. The source of 2.5 and 2.6, which the SDK 3.27.0 lists too, was not read.
VLLM_SERVER_VERSION = "2.4"
# It is built for CUDA 13. The default machine image of endpoints has a driver too old for that: the container would die
# without a log. This one has driver 580 (test/test_utils/constants.py of the same repository).
INFERENCE_AMI_VERSION = "al2023-ami-sagemaker-inference-gpu-4-1"


# Together 32 requests cost a server little more than one of them.
REQUESTS_AT_ONCE = 32  # to one model
MODELS_ASKED_AT_ONCE = 2  # the base model and the fine-tuned one, by two branches of the state machine
MOST_REQUESTS_AT_ONCE = MODELS_ASKED_AT_ONCE * REQUESTS_AT_ONCE
# Of Ask. 10,000 prompts with 8 samples, each answer with one character of four bytes, take some 200 MiB beside Python's libraries.
ASK_MEMORY = 512

# Prompt and answer together. A longer context of the model is not made room for: its keys and values would fill the card (16 GB for the
# 131,072 tokens of Llama 3.1 8B), and vLLM refuses to start where one request of the longest kind does not fit.
MOST_TOKENS_SERVED = 4096

# vLLM takes no other value of --max-lora-rank (MaxLoRARanks in vllm/config/lora.py, 0.27 to 0.32).
SERVER_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A container image in a registry of Amazon ECR, most often one that AWS owns."""

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
    version = f"{PYTORCH_VERSION}-transformers{TRANSFORMERS_VERSION}"
    return _image(region, entry, f"{version}-gpu-{PYTHON_VERSION}-{entry['container_version']['gpu']}")


def training_successors(region: str) -> list[str]:
    """The addresses that the successor of the training image may have."""
    return [replace(training_image(region), tag=tag).uri for tag in TRAINING_SUCCESSORS]


def hosting_image(region: str, replacement: str = "") -> Image:
    """The serving image: AWS's vLLM server, or the one of the setting `hosting_image`.

    Raises SettingsError where AWS does not publish its image, and for a replacement that lies in another region: SageMaker pulls an endpoint's image from the endpoint's own region.
    """
    if match := IMAGE_ADDRESS.fullmatch(replacement):
        if match["region"] != region:
            raise SettingsError(
                f"hosting_image is in {match['region']}, but SageMaker pulls only from {region}: copy the image there, or set "
                f"region to {match['region']}."
            )
        return Image(registry_account=match["account"], region=region, repository=match["repository"], tag=match["tag"])
    entry = _listed("vllm-server")["versions"][VLLM_SERVER_VERSION]
    return _image(region, entry, f"{entry['tag_prefix']}-{entry['container_version']['gpu']}")


def _image(region: str, entry: dict[str, Any], tag: str) -> Image:
    if region not in entry["registries"]:
        raise SettingsError(
            f"AWS publishes no image {entry['repository']}:{tag} in the region {region}. "
            f"Set region to one of {', '.join(sorted(entry['registries']))}."
        )
    return Image(registry_account=entry["registries"][region], region=region, repository=entry["repository"], tag=tag)


@cache
def _listed(family: str) -> dict[str, Any]:
    """The SDK's list of a family of images. Raises FileNotFoundError when the pinned SDK is not installed."""
    spec = find_spec("sagemaker")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "core" / "image_uri_config" / f"{family}.json"
        if file.is_file():
            return dict(json.loads(file.read_text(encoding="utf-8")))
    raise FileNotFoundError(f"The package sagemaker lists no {family} images. Run pip install -r requirements.txt")


def server_lora_rank(trained: int) -> int:
    """The smallest --max-lora-rank with room for an adapter of this rank. Raises ValueError where vLLM has none."""
    for rank in SERVER_LORA_RANKS:
        if 1 <= trained <= rank:
            return rank
    raise ValueError(f"vLLM serves adapters of rank 1 to {SERVER_LORA_RANKS[-1]}, not {trained}. Correct lora_rank.")
