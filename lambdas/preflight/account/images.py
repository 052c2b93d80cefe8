"""Whether the container images of a run exist: a tag that AWS has taken away would be found when training is paid for."""

import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code

_ADDRESS = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([a-z0-9._/-]+):([A-Za-z0-9._-]+)")
# Every form of manifest that a registry may hold behind a tag; the answer is in one of those that are asked for.
_FORMS = [
    *(f"application/vnd.docker.distribution.{form}.v2+json" for form in ("manifest", "manifest.list")),
    *(f"application/vnd.oci.image.{form}.v1+json" for form in ("manifest", "index")),
]
_MISSING = {"ImageNotFound", "ImageTagDoesNotMatchDigest", "InvalidImageTag"}


def problem(ecr_in: Callable[[str], Any], address: str) -> tuple[str, str]:
    """Looks for one image: a reason to refuse the run, and a warning. Both are empty when it is there.

    `ecr_in` makes a client for a region. A registry that cannot be asked is only a warning: SageMaker pulls with a role of its own.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        form = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"
        return f"{address} is not the address of an image in Amazon ECR ({form})", ""
    account, region, repository, tag = found.groups()
    try:
        answer = ecr_in(region).batch_get_image(
            registryId=account, repositoryName=repository, imageIds=[{"imageTag": tag}], acceptedMediaTypes=_FORMS
        )
    except (ClientError, BotoCoreError) as error:
        code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        if code == "RepositoryNotFoundException":
            return f"the registry {account} has no repository {repository} in {region}", ""
        return "", f"Preflight could not check that the image {address} exists ({code})."
    failures = [failure.get("failureCode", "") for failure in answer.get("failures", [])]
    if any(code in _MISSING for code in failures):
        return f"{address} does not exist", ""
    if not answer.get("images"):
        why = ", ".join(failures) or "no image, no reason"
        return "", f"Preflight could not check that the image {address} exists ({why})."
    return "", ""
