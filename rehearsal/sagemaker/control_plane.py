"""SageMaker's control plane: its operations by their names, over one store. Engines play the hardware."""

from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.calls import invalid

from .engines import HostingEngine, TrainingEngine
from .market import Market
from .operations import HostingApi, TrainingApi
from .store import Clock, Store

Operation = Callable[[Mapping[str, Any], str], Mapping[str, Any] | None]


class ControlPlane:
    """Performs an operation on a request that has been checked against the service's model: `operations[name](request, region)`.

    An operation returns its answer, None for an empty one, and raises ServiceError as SageMaker would answer. `has_objects` returns
    whether anything lies under an S3 URI.
    """

    def __init__(
        self,
        training: TrainingEngine,
        hosting: HostingEngine,
        market: Market,
        clock: Clock,
        has_objects: Callable[[str], bool],
    ) -> None:
        self.store = Store()
        self.training = jobs = TrainingApi(self.store, training, market, clock)
        self.hosting = endpoints = HostingApi(self.store, hosting, market, clock, has_objects)
        models, configurations = endpoints.models, endpoints.configurations
        self.operations: Mapping[str, Operation] = {
            "CreateTrainingJob": jobs.create,
            "DescribeTrainingJob": jobs.describe,
            "StopTrainingJob": jobs.stop,
            "ListTrainingJobs": jobs.listing,
            "CreateModel": endpoints.create_model,
            "DescribeModel": models.describe,
            "DeleteModel": models.delete,
            "ListModels": models.listing,
            "CreateEndpointConfig": endpoints.create_configuration,
            "DescribeEndpointConfig": configurations.describe,
            "DeleteEndpointConfig": configurations.delete,
            "ListEndpointConfigs": configurations.listing,
            "CreateEndpoint": endpoints.create,
            "DescribeEndpoint": endpoints.describe,
            "DeleteEndpoint": endpoints.delete,
            "ListEndpoints": endpoints.listing,
            "ListTags": self._tags,
            "DescribeHubContent": _hub_content,
            "CreateHubContentPresignedUrls": _hub_files,
        }

    def leftovers(self) -> dict[str, list[str]]:
        """Return the names of what would still bill or linger."""
        return {
            "training jobs": sorted(job.name for job in self.training.look() if not job.is_over),
            "endpoints": sorted(endpoint.name for endpoint in self.hosting.look()),
            "endpoint configurations": sorted(self.store.configurations),
            "models": sorted(self.store.models),
        }

    def _tags(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        with self.store.lock:
            tags = self.store.tags.get(request["ResourceArn"])
        if tags is None:
            raise invalid(f'Could not find resource "{request["ResourceArn"]}".')
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _hub_content(request: Mapping[str, Any], region: str) -> dict[str, Any]:
    """A model of JumpStart's public hub, which says nothing against it."""
    named = {name: request[name] for name in ("HubName", "HubContentType", "HubContentName", "HubContentVersion")}
    return {**named, "HubContentStatus": "Available", "SupportStatus": "Supported", "HubContentDocument": "{}"}


def _hub_files(request: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The files of every model there: those that training and hosting read. Nobody fetches them here."""
    files = ("config.json", "model.safetensors")
    return {"AuthorizedUrlConfigs": [{"LocalPath": f"/{name}", "Url": f"https://hub.invalid/{name}"} for name in files]}
