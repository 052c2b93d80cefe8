"""The deployed data and code, which lie in the bucket of the CDK bootstrap: who encrypts that bucket decides who may read it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from common.errors import AssetUnreadable, ServiceUnreachable
from preflight import staging
from tests.doubles.lambda_fakes import S3, refusal
from tests.doubles.preflight_site import Site, asset

KMS = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: kms:Decrypt on this resource"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setenv("DATA_ASSET_BUCKET", "assets")
    monkeypatch.setenv("DATA_ASSET_KEY", "data.zip")
    return S3({("assets", "data.zip"): asset({"medicaldataset.txt": b"text"})})


def test_the_files_of_an_asset_are_read_by_path(s3: S3) -> None:
    assert staging.asset(s3, "DATA") == {"medicaldataset.txt": b"text"}


@pytest.mark.parametrize("code", ["AccessDenied", "KMS.DisabledException", "NoSuchKey"])
def test_a_refused_asset_is_named_with_the_key_that_refuses_it_and_the_fix(s3: S3, code: str) -> None:
    s3.troubles["get_object"] = [refusal(code, KMS)]
    with pytest.raises(AssetUnreadable) as refused:
        staging.asset(s3, "DATA")
    for part in ("s3://assets/data.zip", code, KMS, "kms:ViaService", "make deploy puts it back"):
        assert part in str(refused.value)


def test_any_other_trouble_of_s3_is_left_to_whoever_tries_again(s3: S3) -> None:
    s3.troubles["get_object"] = [refusal("SlowDown")]
    with pytest.raises(ClientError, match="SlowDown"):
        staging.asset(s3, "DATA")


def test_a_run_whose_assets_are_refused_ends_by_that_name_and_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch)
    site.s3.troubles["get_object"] = [refusal("AccessDenied", KMS)]
    assert not issubclass(AssetUnreadable, ServiceUnreachable)
    assert "kms:Decrypt" in site.refusal(AssetUnreadable)
