"""The stacks of a few sets of settings, each synthesized once for all tests."""

import pytest

from tests.doubles.machines.stacks_bench import Stacks, synthesize


@pytest.fixture(scope="session")
def stacks() -> Stacks:
    """What `cdk synth` makes of the repository as it is."""
    return synthesize()


@pytest.fixture(scope="session")
def own_weights() -> Stacks:
    """Weights in a bucket of the user's, who gets e-mail, scopes the budget by tag and keeps no data."""
    return synthesize(
        "retain_data=false", "alert_email=owner@example.org", "budget_scope=tag", "budget_usd=40",
        "endpoint_deadline_minutes=35", "weights_uri=s3://mine/models/one/",
    )  # fmt: skip


@pytest.fixture(scope="session")
def abroad() -> Stacks:
    """Another region, another domain, and a model whose weights are not gated."""
    return synthesize(
        "region=eu-west-1", "training_instance_type=ml.g6.4xlarge", "domain=finance", "accept_eula=true",
        "base_model=mistral-7b", "endpoint_deadline_minutes=240",
    )  # fmt: skip


@pytest.fixture(scope="session")
def own_image() -> Stacks:
    """A gated model of the catalogue that is not the default, served by an image of the user's; two instance types for each use."""
    image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/own/vllm:v1"
    types = "ml.g5.2xlarge,ml.g6.2xlarge"
    return synthesize(
        "base_model=llama-3.1-8b", f"hosting_image={image}", f"training_instance_type={types}",
        f"hosting_instance_type={types}",
    )  # fmt: skip
