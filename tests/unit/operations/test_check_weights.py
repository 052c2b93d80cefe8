"""What `make check-aws` says of the weights: JumpStart's, and those in a folder of the user's own."""

from __future__ import annotations

from typing import Any

import pytest

from operations.check import supplies
from operations.check.findings import Level
from stacks.configuration.catalog import Weights
from tests.doubles.lambda_fakes import refusal
from tests.doubles.operations.check_fakes import S3, one

GATED = Weights(uri="s3://gated/llama/v1/", region="us-east-1", gated=True, own=False)
OWN = Weights(uri="s3://mine/models/one/", region="us-east-1", gated=False, own=True)
MODEL = {"config.json": 600, "model.safetensors": 13 * 10**9}


@pytest.mark.parametrize(
    ("objects", "level"),
    [
        ({"config.json": 1, "model-1.safetensors": 5 * 10**9, "model-2.safetensors": 8 * 10**9}, Level.OK),
        ({}, Level.PROBLEM),
        ({"config.json": 1, "pytorch_model.bin": 1}, Level.PROBLEM),
        ({"model-1.safetensors": 1}, Level.PROBLEM),
        ({"config.json": 1, "nested/model-1.safetensors": 1}, Level.PROBLEM),
    ],
    ids=["right", "nothing", "another form", "no config.json", "in a folder"],
)
def test_the_weights_have_the_form_that_training_and_hosting_read(objects: dict[str, int], level: Level) -> None:
    found = one(supplies.weights(S3(objects), GATED))
    assert found.level == level
    if level == Level.OK:
        assert "2 safetensors of 13.0 GB" in found.text


def test_a_region_without_jumpstart_has_no_weights() -> None:
    s3 = S3()
    s3.troubles["list_objects_v2"] = [refusal("NoSuchBucket")]
    found = one(supplies.weights(s3, GATED))
    assert (found.level, "gated" in found.text) == (Level.PROBLEM, True)


def test_what_lies_beside_weights_of_the_user_s_own_would_be_downloaded_too() -> None:
    crowded = {**MODEL, "checkpoint-9/optimizer.pt": 27 * 10**9, "checkpoint-9/model.safetensors": 13 * 10**9}
    found = one(supplies.weights(S3(crowded), OWN))
    assert found.level == Level.PROBLEM
    assert "40.0 GB that nobody reads, the largest of them checkpoint-9/optimizer.pt (27.0 GB)" in found.text
    assert found.fix.startswith("move them elsewhere")
    assert one(supplies.weights(S3({**MODEL, "one.gguf": 7 * 10**9}), OWN)).level == Level.OK


def test_what_jumpstart_has_beside_its_weights_is_not_the_user_s_to_move() -> None:
    assert one(supplies.weights(S3({**MODEL, "original/one.pth": 40 * 10**9}), GATED)).level == Level.OK


def test_a_bucket_of_another_region_is_found_before_the_first_run() -> None:
    s3 = S3(MODEL)
    answer: Any = s3.on_list_objects_v2

    def listing(**request: Any) -> dict[str, Any]:
        return {**answer(**request), "ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}

    s3.__dict__["on_list_objects_v2"] = listing
    found = one(supplies.weights(s3, OWN))
    assert found.level == Level.PROBLEM
    assert "the bucket mine lies in eu-west-1, and SageMaker in us-east-1" in found.text
    assert found.fix.startswith("copy the folder to a bucket there")
