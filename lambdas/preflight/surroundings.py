"""What is already there: leftovers of an earlier run, and the weights of the base model."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code
from common.ledger import Ledger
from common.names import PREFIX, run_of


def leftovers(sagemaker: Any, ledger: Ledger) -> list[str]:
    """Endpoints and training jobs of this project that no reservation covers: they bill and nobody counts them."""
    jobs = sagemaker.list_training_jobs(NameContains=f"{PREFIX}-", StatusEquals="InProgress")["TrainingJobSummaries"]
    endpoints = sagemaker.list_endpoints(NameContains=f"{PREFIX}-")["Endpoints"]
    found = [("training job", job["TrainingJobName"]) for job in jobs]
    found += [
        ("endpoint", endpoint["EndpointName"]) for endpoint in endpoints if endpoint["EndpointStatus"] != "Deleting"
    ]
    return [
        f"{kind} {name}" for kind, name in found if name.startswith(f"{PREFIX}-") and not _covered(ledger, run_of(name))
    ]


def _covered(ledger: Ledger, run: str) -> bool:
    item = ledger.run(run)
    return item is not None and item["state"] == "reserved"


def weights_problem(s3: Any, weights_uri: str) -> tuple[str, str]:
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
