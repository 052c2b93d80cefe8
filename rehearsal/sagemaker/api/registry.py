"""Amazon ECR as far as Preflight asks it: whether an image is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ServiceError


class Registry:
    """Answers BatchGetImage. Every image is there but those in `missing`, written as "repository:tag"."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one operation.

        Raises:
            ServiceError: it is not BatchGetImage.
        """
        if operation != "BatchGetImage":
            raise ServiceError("UnknownOperationException", f"The rehearsal does not play {operation}.")
        account, repository = request.get("registryId", ""), request["repositoryName"]
        images: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for image in request["imageIds"]:
            if f"{repository}:{image.get('imageTag')}" in self.missing:
                failures.append(
                    {"imageId": image, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
                )
            else:
                images.append({"registryId": account, "repositoryName": repository, "imageId": image})
        return {"images": images, "failures": failures}
