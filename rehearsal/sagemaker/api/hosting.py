"""The hosting operations of the control plane: models, endpoint configurations, endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.sagemaker.clock import Clock
from rehearsal.sagemaker.engines import Answer, HostingEngine, InvocationTimedOut
from rehearsal.sagemaker.records import ACCOUNT, Endpoint, Store, arn

from . import rules
from .errors import ServiceError, already, invalid, missing
from .listing import listed
from .market import CAPACITY_HOSTING, Market

LONGEST_CUSTOM_ATTRIBUTES = 1024  # characters: CustomAttributesHeader in the service model


class HostingApi:
    """The operations on models, endpoint configurations and endpoints, and InvokeEndpoint."""

    def __init__(
        self,
        store: Store,
        engine: HostingEngine,
        market: Market,
        clock: Clock,
        has_objects: Callable[[str], bool],
    ) -> None:
        self._store, self._engine, self._market, self._clock = store, engine, market, clock
        self._has_objects = has_objects

    # --- models -------------------------------------------------------------------------------------------

    def create_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Create a model after looking whether its data exists."""
        rules.model(request)
        container = request.get("PrimaryContainer") or request["Containers"][0]
        for _, source in rules.model_sources(container):
            if not self._has_objects(source["S3Uri"]):
                raise invalid(f"Could not find model data at {source['S3Uri']}.")
        return {"ModelArn": self._keep(self._store.models, "Model", "model", "model", request, region)}

    def _keep(
        self,
        shelf: dict[str, dict[str, Any]],
        member: str,
        kind: str,
        words: str,
        request: Mapping[str, Any],
        region: str,
    ) -> str:
        name = request[f"{member}Name"]
        where = arn(region, kind, name)
        with self._store.lock:
            if name in shelf:
                raise already(words, where)
            kept = {key: value for key, value in request.items() if key != "Tags"}
            shelf[name] = kept | {f"{member}Arn": where, "CreationTime": self._clock()}
            self._store.tags[where] = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []}
        return where

    def _take(
        self,
        shelf: dict[str, dict[str, Any]],
        name: str,
        kind: str,
        words: str,
        region: str,
        *,
        away: bool = False,
    ) -> dict[str, Any]:
        where = arn(region, kind, name)
        with self._store.lock:
            if name not in shelf:
                raise missing(words, where)
            if away:
                self._store.tags.pop(where, None)
                return shelf.pop(name)
            return dict(shelf[name])

    def describe_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe a model."""
        return self._take(self._store.models, request["ModelName"], "model", "model", region)

    def delete_model(self, request: Mapping[str, Any], region: str) -> None:
        """Delete a model; SageMaker allows it while an endpoint uses it."""
        self._take(self._store.models, request["ModelName"], "model", "model", region, away=True)

    def list_models(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List models."""
        return self._shelf(self._store.models, "Models", "Model", request)

    def _shelf(
        self, shelf: dict[str, dict[str, Any]], answer: str, member: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        names = (f"{member}Name", f"{member}Arn", "CreationTime")
        with self._store.lock:
            rows = [{name: item[name] for name in names} for item in shelf.values()]
        return listed(answer, rows, request, name=f"{member}Name")

    # --- endpoint configurations --------------------------------------------------------------------------

    def create_endpoint_config(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Create a configuration; its models must exist."""
        rules.endpoint_configuration(request)
        for variant in request["ProductionVariants"]:
            self._take(self._store.models, variant["ModelName"], "model", "model", region)
        shelf = self._store.configurations
        where = self._keep(shelf, "EndpointConfig", "endpoint-config", "endpoint configuration", request, region)
        return {"EndpointConfigArn": where}

    def describe_endpoint_config(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe a configuration."""
        return self._configuration(request, region)

    def delete_endpoint_config(self, request: Mapping[str, Any], region: str) -> None:
        """Delete a configuration; SageMaker allows it while an endpoint uses it."""
        self._configuration(request, region, away=True)

    def _configuration(self, request: Mapping[str, Any], region: str, *, away: bool = False) -> dict[str, Any]:
        name, shelf = request["EndpointConfigName"], self._store.configurations
        return self._take(shelf, name, "endpoint-config", "endpoint configuration", region, away=away)

    def list_endpoint_configs(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List configurations."""
        return self._shelf(self._store.configurations, "EndpointConfigs", "EndpointConfig", request)

    # --- endpoints ----------------------------------------------------------------------------------------

    def create_endpoint(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Accept an endpoint and hand it to the engine."""
        name = request["EndpointName"]
        where = arn(region, "endpoint", name)
        with self._store.lock:
            self._forget_the_gone()
            if name in self._store.endpoints:
                raise already("endpoint", where)
            configuration = self._configuration(request, region)
            variant = configuration["ProductionVariants"][0]
            model = self._take(self._store.models, variant["ModelName"], "model", "model", region)
            self._within_limit(variant)
            endpoint = Endpoint(name, where, configuration, model, self._clock)
            self._store.endpoints[name] = endpoint
            self._store.tags[where] = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []}
        if variant["InstanceType"] in self._market.without_capacity:
            endpoint.become("Failed", CAPACITY_HOSTING)
        else:
            endpoint.placed = True
            self._engine.start(endpoint)
        return {"EndpointArn": where}

    def _within_limit(self, variant: Mapping[str, Any]) -> None:
        instance, wanted = variant["InstanceType"], variant["InitialInstanceCount"]
        used = sum(
            other.variant["InitialInstanceCount"]
            for other in self._store.endpoints.values()
            if other.variant["InstanceType"] == instance and other.status != "Failed"
        )
        limit = self._market.limit(instance, "endpoint")
        if used + wanted > limit:
            raise rules.over_limit(instance, "endpoint", limit, used, wanted)

    def _forget_the_gone(self) -> None:
        for name, endpoint in list(self._store.endpoints.items()):
            if endpoint.gone:
                self._store.past_endpoints.append(self._store.endpoints.pop(name))
                self._store.tags.pop(endpoint.arn, None)

    def look(self) -> list[Endpoint]:
        """Let the engine move on and return the endpoints that exist."""
        with self._store.lock:
            endpoints = list(self._store.endpoints.values())
        for endpoint in endpoints:
            self._observe(endpoint)
        with self._store.lock:
            self._forget_the_gone()
            return list(self._store.endpoints.values())

    def _observe(self, endpoint: Endpoint) -> None:
        if endpoint.placed:
            self._engine.observed(endpoint)

    def _endpoint(self, name: str, region: str) -> Endpoint:
        with self._store.lock:
            endpoint = self._store.endpoints.get(name)
        if endpoint is not None:
            self._observe(endpoint)
        if endpoint is None or endpoint.gone:
            raise missing("endpoint", arn(region, "endpoint", name))
        return endpoint

    def describe_endpoint(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe an endpoint."""
        return self._endpoint(request["EndpointName"], region).describe()

    def delete_endpoint(self, request: Mapping[str, Any], region: str) -> None:
        """Delete an endpoint, unless it is between two states: then SageMaker refuses."""
        endpoint = self._endpoint(request["EndpointName"], region)
        with endpoint.lock:
            if endpoint.status not in ("InService", "Failed", "OutOfService"):
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
            endpoint.become("Deleting")
        if endpoint.placed:
            self._engine.stop(endpoint)
        else:
            endpoint.vanish()

    def list_endpoints(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List endpoints, newest first where no order is asked for."""
        rows = [endpoint.summary() for endpoint in self.look()]
        return listed("Endpoints", rows, request, name="EndpointName", status="EndpointStatus")

    def invoke(self, name: str, body: bytes, content_type: str, custom_attributes: str, region: str) -> Answer:
        """Pass a request to the container.

        Raises:
            ServiceError: ValidationError where there is no endpoint in service or the custom attributes are too
                long, ModelError where the container answers with an error or not within 60 seconds.
        """
        if len(custom_attributes) > LONGEST_CUSTOM_ATTRIBUTES:
            raise ServiceError(
                "ValidationError",
                "1 validation error detected: Value at 'customAttributes' failed to satisfy constraint: Member must have "
                f"length less than or equal to {LONGEST_CUSTOM_ATTRIBUTES}",
            )
        with self._store.lock:
            endpoint = self._store.endpoints.get(name)
        if endpoint is None or endpoint.gone or endpoint.status not in ("InService", "Updating"):
            raise ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        group = f"/aws/sagemaker/Endpoints/{name}"
        try:
            answer = self._engine.invoke(endpoint, body, content_type, custom_attributes)
        except InvocationTimedOut:
            answer = Answer(
                0,
                b"Your invocation timed out while waiting for a response from container primary. "
                b"Review the latency metrics for each container in Amazon CloudWatch, resolve the "
                b"issue, and try again.",
            )
        if answer.status == 200:
            return answer
        text, side = (
            answer.body.decode(errors="replace"),
            "client" if 400 <= answer.status < 500 else "server",
        )
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        console += f"#logEventViewer:group={group}"
        raise ServiceError(
            "ModelError",
            f'Received {side} error ({answer.status}) from primary with message "{text}". See {console} '
            f"in account {ACCOUNT} for more information.",
            extra={
                "OriginalStatusCode": answer.status,
                "OriginalMessage": text,
                "LogStreamArn": f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}",
            },
        )
