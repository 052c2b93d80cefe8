"""Container images: those of the region, found offline, and refused by name where AWS has none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from stacks_bench import ROOT

from stacks import images
from stacks.settings import BUDGET_REGIONS, SettingsError


def test_the_addresses_are_those_that_the_sagemaker_sdk_gives_in_every_region() -> None:
    from sagemaker.core import image_uris  # two seconds, which the synthesis is spared

    for region in BUDGET_REGIONS:
        training = image_uris.retrieve(
            framework="huggingface",
            region=region,
            version=images.TRANSFORMERS_VERSION,
            base_framework_version=f"pytorch{images.PYTORCH_VERSION}",
            py_version=images.PYTHON_VERSION,
            instance_type="ml.g5.2xlarge",
            image_scope="training",
        )
        hosting = image_uris.retrieve(
            framework="vllm",
            region=region,
            version=images.VLLM_VERSION,
            py_version=images.PYTHON_VERSION,
            instance_type="ml.g5.2xlarge",
            image_scope="inference",
        )
        assert (images.training_image(region).uri, images.hosting_image(region).uri) == (training, hosting)


@pytest.mark.parametrize("find", [images.training_image, images.hosting_image])
def test_a_region_without_the_image_is_refused_by_name(find: Callable[[str], images.Image]) -> None:
    with pytest.raises(SettingsError, match=r"image in the region mars-east-1\. Set region to one of .*us-east-1"):
        find("mars-east-1")


def test_the_serving_image_is_the_newest_for_cuda_13_that_the_sdk_lists() -> None:
    """Fails after an upgrade of the SDK that brings a newer one: read its release notes, then move the pin."""
    versions = images._listed("vllm")["inference"]["versions"]
    tags = {version: entry["container_version"].get("gpu", "") for version, entry in versions.items()}
    fitting = [version for version, tag in tags.items() if tag.startswith("cu130") and tag.endswith("-sagemaker")]
    assert max(fitting, key=lambda version: tuple(map(int, version.split(".")))) == images.VLLM_VERSION


def test_synthesis_does_not_import_the_heavy_sdk() -> None:
    code = "import sys, stacks.application, stacks.images as i; i.hosting_image('us-east-1'); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
