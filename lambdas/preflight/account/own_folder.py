"""A folder of a user's own bucket: what lies there, and why S3 will not show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code, error_message
from common.errors import WeightsNotFound, WeightsRejected

# Nobody's config.json is larger, and Preflight holds in memory what it reads.
MOST_BYTES_READ = 20_000_000
_REFUSED = {"AccessDenied", "403", "AllAccessDisabled"}
_NO_BUCKET = {"NoSuchBucket", "404"}
_ARCHIVED = "InvalidObjectState"


def told_of_region(listing: Mapping[str, Any], bucket: str, region: str) -> str:
    """What is wrong where S3 names another region than the deployment's for the bucket, else "". It may name none.

    A client is led on to the bucket's own region without a word, and SageMaker is not.
    """
    headers = listing.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    there = headers.get("x-amz-bucket-region") or region
    if there == region:
        return ""
    return (
        f"the bucket {bucket} lies in {there}, and SageMaker in {region} reads buckets of {region} alone: copy the folder to a bucket there, correct weights_uri "
        f"and deploy, or deploy in {there}"
    )


def list_folder(s3: Any, bucket: str, prefix: str, region: str) -> tuple[dict[str, int], str]:
    """The objects under a prefix by the rest of their names, in bytes; and what `told_of_region` says, after which nothing more is listed.

    Raises ClientError where S3 refuses.
    """
    sizes: dict[str, int] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        if elsewhere := told_of_region(page, bucket, region):
            return sizes, elsewhere
        sizes |= {entry["Key"].removeprefix(prefix): int(entry["Size"]) for entry in page.get("Contents", [])}
    return sizes, ""


class Folder:
    """What lies under the address, by name and size. `region` is the deployment's."""

    def __init__(self, s3: Any, uri: str, region: str) -> None:
        self.uri = uri
        self._s3, self._region = s3, region
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self._prefix.rstrip("/").rpartition("/")[2]

    def sizes(self) -> dict[str, int]:
        """The files by their names below the folder, in bytes.

        Raises WeightsNotFound where there are none, none can be seen, or SageMaker could not read them from its region.
        """
        try:
            sizes, elsewhere = list_folder(self._s3, self._bucket, self._prefix, self._region)
        except ClientError as error:
            raise self._unreadable(self.uri, "listed", "s3:ListBucket", error) from error
        if elsewhere:
            raise WeightsNotFound(f"weights_uri names {self.uri}: {elsewhere}.")
        if not sizes:
            raise WeightsNotFound(f"There is nothing at {self.uri}, which weights_uri names. Upload the model there.")
        return sizes

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder. Raises WeightsNotFound where it cannot be read, WeightsRejected where it is none."""
        place = f"{self.uri}{name}"
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            content = answer["Body"].read(MOST_BYTES_READ)
        except ClientError as error:
            raise self._unreadable(place, "read", "s3:GetObject", error) from error
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise WeightsRejected(f"{place} is not a JSON object. Upload the model's own file again.")
        return value

    def _unreadable(self, place: str, done: str, action: str, error: ClientError) -> WeightsNotFound:
        code, message = error_code(error), error_message(error)
        if code in _NO_BUCKET:
            return WeightsNotFound(
                f"There is no bucket {self._bucket}, which weights_uri names. Correct it and deploy."
            )
        if code.startswith("KMS.") or "kms:" in message:
            return WeightsNotFound(
                f"{place} cannot be {done} ({code}: {message}). The roles of this deployment are allowed kms:Decrypt for that folder with any key of this region, "
                "so the key itself refuses it or is disabled. Let the key's policy, in the account that owns it, allow kms:Decrypt to this deployment's account, "
                "and enable the key; or encrypt the objects with another one. AWS's own key (aws/s3) serves the account that it belongs to and no other."
            )
        if code == _ARCHIVED:
            return WeightsNotFound(
                f"{place} cannot be {done} ({code}): it is archived. Restore the folder's objects and copy them to the class STANDARD."
            )
        if code in _REFUSED:
            return WeightsNotFound(
                f"{place} cannot be {done} ({code}: {message}). The roles of this deployment are allowed {action} there, so a policy of the bucket or of your "
                "organisation refuses it: let the bucket's policy allow it to this deployment's account."
            )
        raise error
