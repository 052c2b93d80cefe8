"""The weights of the base model: looked for where the run will read them."""

from __future__ import annotations

import pytest

from preflight.account import weights
from tests.doubles.lambda_fakes import S3, refusal

WEIGHTS = "s3://gated/models/llama/v1.1.0/"


def test_weights_that_are_there_are_no_problem() -> None:
    assert weights.problem(S3({("gated", "models/llama/v1.1.0/config.json"): b"{}"}), WEIGHTS) == ("", "")


def test_an_empty_prefix_is_a_reason_to_refuse() -> None:
    problem, warning = weights.problem(S3({("gated", "models/llama/v1.0.0/config.json"): b"{}"}), WEIGHTS)
    assert problem == f"there are no weights at {WEIGHTS}: the region or the version of the catalog is wrong"
    assert not warning


def test_a_bucket_that_does_not_exist_is_a_reason_to_refuse() -> None:
    s3 = S3()
    s3.troubles["list_objects_v2"] = [refusal("NoSuchBucket")]
    assert "choose a region with JumpStart" in weights.problem(s3, WEIGHTS)[0]


@pytest.mark.parametrize("code", ["AccessDenied", "403", "SlowDown"])
def test_a_listing_that_is_refused_only_warns_because_the_job_has_a_role_of_its_own(code: str) -> None:
    s3 = S3()
    s3.troubles["list_objects_v2"] = [refusal(code)]
    problem, warning = weights.problem(s3, WEIGHTS)
    assert not problem
    assert f"could not be listed ({code})" in warning
