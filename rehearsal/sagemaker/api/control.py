"""The SageMaker control plane: finds the method for an operation, and keeps tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore import xform_name

from rehearsal.sagemaker.clock import Clock
from rehearsal.sagemaker.engines import HostingEngine, TrainingEngine
from rehearsal.sagemaker.records import Store

from .errors import ServiceError, invalid
from .hosting import HostingApi
from .market import Market
from .training import TrainingApi
from .validation import check_request

_OPERATIONS = frozenset(
    {
        "CreateTrainingJob",
        "DescribeTrainingJob",
        "ListTrainingJobs",
        "StopTrainingJob",
        "CreateModel",
        "DescribeModel",
        "ListModels",
        "DeleteModel",
        "CreateEndpointConfig",
        "DescribeEndpointConfig",
        "ListEndpointConfigs",
        "DeleteEndpointConfig",
        "CreateEndpoint",
        "DescribeEndpoint",
        "ListEndpoints",
        "DeleteEndpoint",
        "ListTags",
        "AddTags",
        "DeleteTags",
    }
)


class Control:
    """Answers SageMaker operations."""

    def __init__(
        self,
        store: Store,
        training: TrainingEngine,
        hosting: HostingEngine,
        market: Market,
        clock: Clock,
        has_objects: Callable[[str], bool],
    ) -> None:
        self._store = store
        self.training = TrainingApi(store, training, market, clock)
        self.hosting = HostingApi(store, hosting, market, clock, has_objects)

    def call(self, operation: str, request: Mapping[str, Any], region: str) -> dict[str, Any] | None:
        """Check the request and answer it.

        Raises:
            ServiceError: as the service would answer.
        """
        if operation not in _OPERATIONS:
            raise ServiceError("UnknownOperationException", f"The rehearsal does not play {operation}.")
        check_request("sagemaker", operation, request)
        for part in (self, self.training, self.hosting):
            method = getattr(part, xform_name(operation), None)
            if method is not None:
                answer: dict[str, Any] | None = method(request, region)
                return answer
        raise AssertionError(operation)

    def _tags(self, request: Mapping[str, Any]) -> dict[str, str]:
        tags = self._store.tags.get(request["ResourceArn"])
        if tags is None:
            raise invalid(f'Could not find resource "{request["ResourceArn"]}".')
        return tags

    def list_tags(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List the tags of a resource."""
        with self._store.lock:
            return {"Tags": [{"Key": key, "Value": value} for key, value in self._tags(request).items()]}

    def add_tags(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Add tags to a resource and return all of them."""
        with self._store.lock:
            self._tags(request).update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        return self.list_tags(request, region)

    def delete_tags(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Take tags off a resource."""
        with self._store.lock:
            for key in request["TagKeys"]:
                self._tags(request).pop(key, None)
        return {}
