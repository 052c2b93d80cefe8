"""Container images: those of the region, found offline, and refused by name where AWS has none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from stacks.configuration import images
from stacks.configuration.checks import BUDGET_REGIONS
from stacks.configuration.settings import SettingsError
from tests.doubles.machines.stacks_bench import ROOT, as_list, synthesize

pytestmark = pytest.mark.slow


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
            framework="vllm-server",
            region=region,
            version=images.VLLM_SERVER_VERSION,
            instance_type="ml.g5.2xlarge",
            image_scope="inference",
        )
        assert (images.training_image(region).uri, images.hosting_image(region).uri) == (training, hosting)


@pytest.mark.parametrize("find", [images.training_image, images.hosting_image])
def test_a_region_without_the_image_is_refused_by_name(find: Callable[[str], images.Image]) -> None:
    with pytest.raises(
        SettingsError, match=r"no image \S+:\S+ in the region mars-east-1\. Set region to one of .*us-east-1"
    ):
        find("mars-east-1")


def test_the_serving_image_routes_and_is_pinned_to_a_version_whose_entrypoint_was_read() -> None:
    """Fails after an upgrade of the SDK that lists a newer server: read its entrypoint, then decide whether to move the pin."""
    assert images.hosting_image("us-east-1").tag == "server-sagemaker-cuda-v2.4"
    listed = [
        version for version in images._listed("vllm-server")["versions"] if version.startswith("2.")
    ]  # plain "2" moves
    assert max(listed, key=lambda version: tuple(map(int, version.split(".")))) == "2.6"


def test_the_setting_replaces_the_serving_image_and_its_repository() -> None:
    address = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own/vllm:v1.2_3"
    image = images.hosting_image("eu-west-1", address)
    assert image == images.Image(
        registry_account="111122223333", region="eu-west-1", repository="own/vllm", tag="v1.2_3"
    )
    assert image.uri == address


def test_the_endpoints_role_may_pull_the_image_that_replaces_and_no_other() -> None:
    stacks = synthesize("hosting_image=111122223333.dkr.ecr.us-east-1.amazonaws.com/own/vllm:v1")
    pulling = [one for one in stacks.statements("HostingRole") if "ecr:BatchGetImage" in as_list(one["Action"])]
    (resource,) = (json.dumps(resource) for one in pulling for resource in as_list(one["Resource"]))
    assert ":ecr:us-east-1:111122223333:repository/own/vllm" in resource
    machine = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")
    assert machine["DefinitionSubstitutions"]["HostingImage"].endswith("/own/vllm:v1")


def test_an_image_of_another_region_is_refused_with_both_ways_out() -> None:
    address = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/vllm:v1"
    with pytest.raises(
        SettingsError, match=r"lies in eu-west-1.*from us-east-1 only: copy .*, or set region to eu-west-1"
    ):
        images.hosting_image("us-east-1", address)


def test_what_is_no_address_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(SettingsError, match="hosting_image is 'vllm:latest': write a whole address such as"):
        images.hosting_image("us-east-1", "vllm:latest")


def test_synthesis_does_not_import_the_heavy_sdk() -> None:
    code = "import sys, stacks.application, stacks.configuration.images as i; i.hosting_image('us-east-1'); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
