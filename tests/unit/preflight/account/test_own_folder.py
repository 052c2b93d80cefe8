"""What S3 will not show of a folder of the user's own, SageMaker would not get either: it is refused with what can help."""

from __future__ import annotations

import pytest

from common.errors import CaptuneError, WeightsNotFound
from tests.doubles.lambda_fakes import refusal
from tests.doubles.own_weights_site import URI, Folder


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(monkeypatch)


def refused_reading(site: Folder, code: str, message: str) -> str:
    """What is said where S3 answers so to the first object of the folder that is read."""
    answer = site.s3.on_get_object

    def reading(Bucket: str, Key: str, **more: str) -> object:
        if Bucket == "mine":
            raise refusal(code, message)
        return answer(Bucket, Key, **more)

    site.s3.__dict__["on_get_object"] = reading
    return site.refusal(WeightsNotFound)


def test_an_empty_folder_and_a_bucket_that_is_not_there_are_said_so(site: Folder) -> None:
    site.s3.objects = {}
    assert f"There is nothing at {URI}" in site.refusal(WeightsNotFound)
    site.s3.troubles["list_objects_v2"] = [refusal("NoSuchBucket")]
    assert "There is no bucket mine" in site.refusal(WeightsNotFound)


def test_what_may_not_be_listed_is_refused_because_training_would_be_refused_too(site: Folder) -> None:
    site.s3.troubles["list_objects_v2"] = [
        refusal("AccessDenied", "User: x is not authorized to perform: s3:ListBucket")
    ]
    assert (
        f"{URI} cannot be listed (AccessDenied: User: x is not authorized to perform: s3:ListBucket). "
        "The roles of this deployment are allowed s3:ListBucket there"
    ) in site.refusal(WeightsNotFound)


def test_what_may_not_be_read_is_refused_with_the_policy_that_can_allow_it(site: Folder) -> None:
    said = refused_reading(site, "AccessDenied", "Access Denied")
    assert f"{URI}config.json cannot be read (AccessDenied: Access Denied)." in said
    assert "are allowed s3:GetObject there, so a policy of the bucket or of your organisation refuses it" in said


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("KMS.DisabledException", "The key is disabled."),
        ("KMS.KMSInvalidStateException", "The key is pending deletion."),
        ("KMS.NotFoundException", "Invalid keyId."),
        ("AccessDenied", "User: x is not authorized to perform: kms:Decrypt on resource: y because no resource-based policy allows it"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_open_the_objects_is_told_from_a_bucket_that_refuses(
    site: Folder, code: str, message: str
) -> None:
    said = refused_reading(site, code, message)
    assert f"{URI}config.json cannot be read ({code}: {message})" in said
    assert "Let the key's policy, in the account that owns it, allow kms:Decrypt to this deployment's account" in said


def test_archived_objects_are_to_be_restored(site: Folder) -> None:
    assert "it is archived. Restore the folder's objects" in refused_reading(site, "InvalidObjectState", "archived")


def test_an_error_of_s3_itself_is_nothing_that_the_user_could_mend(site: Folder) -> None:
    site.s3.troubles["list_objects_v2"] = [refusal("InternalError")] * 9
    with pytest.raises(CaptuneError) as raised:
        site.run()
    assert not isinstance(raised.value, WeightsNotFound)


@pytest.mark.parametrize("region", ["", "us-east-1"])
def test_a_bucket_of_the_deployments_region_or_of_one_that_s3_does_not_name_is_taken(site: Folder, region: str) -> None:
    site.s3.region = region
    assert site.run()["baseModel"]["name"] == "Tiny-Llama"


def test_a_bucket_of_another_region_is_refused_because_sagemaker_is_not_led_on_to_it(site: Folder) -> None:
    site.s3.region = "eu-west-1"
    assert site.refusal(WeightsNotFound) == (
        f"weights_uri names {URI}: the bucket mine lies in eu-west-1, and SageMaker in us-east-1 reads buckets of us-east-1 alone: copy the folder to a "
        "bucket there, correct weights_uri and deploy, or deploy in eu-west-1."
    )
