"""Whether the weights of the base model are where the run will read them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code


def problem(s3: Any, weights_uri: str) -> tuple[str, str]:
    """Looks for the base model's weights: a reason to refuse the run, and a warning. Both are empty when all is well.

    The gated bucket may refuse a listing that the training job is allowed, so a refusal is only a warning.
    """
    bucket, _, prefix = weights_uri.removeprefix("s3://").partition("/")
    try:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount", 0)
    except ClientError as error:
        if error_code(error) in {"NoSuchBucket", "404"}:
            return (
                f"the bucket {bucket} with the weights does not exist in this region: choose a region with JumpStart, such as us-east-1",
                "",
            )
        return (
            "",
            f"The weights at {weights_uri} could not be listed ({error_code(error)}); SageMaker will read them with its own role.",
        )
    if not found:
        return f"there are no weights at {weights_uri}: the region or the version of the catalog is wrong", ""
    return "", ""
