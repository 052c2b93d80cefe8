"""The operations of SageMaker's control plane on training jobs, models, endpoint configurations and endpoints; and InvokeEndpoint."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from botocore.utils import parse_timestamp

from common.pricing.durations import ENDPOINT_CAPACITY_SECONDS
from rehearsal.calls import ServiceError, invalid

from . import validation
from .engines import Answer, HostingEngine, InvocationTimedOut, TrainingEngine
from .market import CAPACITY_HOSTING, CAPACITY_TRAINING, Market
from .store import ACCOUNT, Clock, Endpoint, Store, TrainingJob, arn

DEFAULT_PAGE = 10  # SageMaker returns ten where MaxResults is left out; callers that do not page miss the rest
_LIST_MEMBERS = {"NameContains", "StatusEquals", "CreationTimeAfter", "MaxResults", "NextToken"}
LONGEST_CUSTOM_ATTRIBUTES = 1024  # characters: CustomAttributesHeader in the service model


def listed(
    answer_name: str,
    rows: Iterable[Mapping[str, Any]],
    request: Mapping[str, Any],
    *,
    name: str,
    status: str | None = None,
    ascending: bool = False,
) -> dict[str, Any]:
    """One page of `rows`, by the time of their creation, as a list operation of SageMaker answers it.

    The rows stand in the member `answer_name`; `name` and `status` are members of theirs. The order differs between the operations. Raises
    ServiceError for a NextToken that is not one of ours, or a member that is not played here.
    """
    if odd := sorted(request.keys() - _LIST_MEMBERS):
        raise invalid(f"The rehearsal does not play {', '.join(odd)} of a list.")

    def key(row: Mapping[str, Any]) -> list[Any]:
        return [row["CreationTime"].timestamp(), row[name]]

    after = request.get("CreationTimeAfter")
    if after is not None and not isinstance(after, datetime):
        after = parse_timestamp(after)
    kept = [row for row in rows if after is None or row["CreationTime"] >= after]
    kept.sort(key=key, reverse=not ascending)
    if request.get("NextToken"):
        try:
            last = json.loads(base64.urlsafe_b64decode(request["NextToken"]))
        except ValueError:
            raise invalid("Invalid NextToken.") from None
        # Rows may be deleted between two pages, so a page starts after a row and not at a number.
        kept = [row for row in kept if (key(row) > last if ascending else key(row) < last)]
    size = request.get("MaxResults") or DEFAULT_PAGE
    # SageMaker cuts a page before it looks at names and statuses: one may be empty and have another after it.
    page: dict[str, Any] = {answer_name: [dict(row) for row in kept[:size] if _wanted(row, request, name, status)]}
    if len(kept) > size:
        page["NextToken"] = base64.urlsafe_b64encode(json.dumps(key(kept[size - 1])).encode()).decode()
    return page


def _wanted(row: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str | None) -> bool:
    if request.get("NameContains", "").lower() not in row[name].lower():
        return False
    return not status or request.get("StatusEquals") in (None, row[status])


class TrainingApi:
    """The operations on training jobs."""

    def __init__(self, store: Store, engine: TrainingEngine, market: Market, clock: Clock) -> None:
        self._store, self._engine, self._market, self._clock = store, engine, market, clock

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Accept a job and hand it to the engine."""
        validation.check_training_job(request)
        name = request["TrainingJobName"]
        job = TrainingJob(name, arn(region, "training-job", name), request, self._clock)
        is_free = self._market.select(job)
        with self._store.lock:
            if name in self._store.jobs:
                raise ServiceError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a training job with this "
                    f"name already exists ({self._store.jobs[name].arn})",
                )
            running = (one for one in self._store.jobs.values() if not one.is_over and one.is_spot == job.is_spot)
            self._market.check_limit("spot training job" if job.is_spot else "training job", job, running)
            self._store.jobs[name] = job
            self._store.keep_tags(job.arn, request)
        if is_free:
            self._engine.start(job)
        else:
            job.finish("Failed", reason=CAPACITY_TRAINING)
        return {"TrainingJobArn": job.arn}

    def look(self) -> list[TrainingJob]:
        """Let the engine go on and return every job."""
        with self._store.lock:
            jobs = list(self._store.jobs.values())
        for job in jobs:
            self._engine.observed(job)
        return jobs

    def _job(self, request: Mapping[str, Any]) -> TrainingJob:
        with self._store.lock:
            job = self._store.jobs.get(request["TrainingJobName"])
        if job is None:
            raise invalid("Requested resource not found.")
        self._engine.observed(job)
        return job

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe a job."""
        return self._job(request).describe()

    def stop(self, request: Mapping[str, Any], region: str) -> None:
        """Ask a job to stop; it goes to Stopping at once and to Stopped when the container has ended."""
        job = self._job(request)
        with job.lock:
            if job.status != "InProgress":
                raise invalid(f"The request was rejected because the training job is in status {job.status}.")
            job.stopping()
        self._engine.stop(job)

    def listing(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List jobs, oldest first where the request names no order."""
        return listed(
            "TrainingJobSummaries",
            [job.summary() for job in self.look()],
            request,
            name="TrainingJobName",
            status="TrainingJobStatus",
            ascending=True,
        )


def _missing(kind: str, where: str) -> ServiceError:
    """SageMaker's "not found" of all but training jobs; it is a ValidationException, not a ResourceNotFound."""
    return invalid(f'Could not find {kind} "{where}".')


class Shelf:
    """Models, or endpoint configurations: what is created, described, listed and deleted, and nothing else.

    `member` is the beginning of their members in requests, for example "EndpointConfig"; ARNs name their `kind`, messages their `words`.
    """

    def __init__(
        self, store: Store, items: dict[str, dict[str, Any]], member: str, kind: str, words: str, clock: Clock
    ) -> None:
        self._store, self._items, self._clock = store, items, clock
        self._member, self._kind, self._words = member, kind, words

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Keep a request under its name and answer with its ARN."""
        name = request[f"{self._member}Name"]
        where = arn(region, self._kind, name)
        named = {f"{self._member}Arn": where}
        with self._store.lock:
            if name in self._items:
                raise invalid(f'Cannot create already existing {self._words} "{where}".')
            kept = {key: value for key, value in request.items() if key != "Tags"}
            self._items[name] = {**kept, **named, "CreationTime": self._clock()}
            self._store.keep_tags(where, request)
        return named

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Return the item that a request names."""
        with self._store.lock:
            return dict(self._items[self._name(request, region)])

    def delete(self, request: Mapping[str, Any], region: str) -> None:
        """Delete the item that a request names; SageMaker allows it while an endpoint uses it."""
        with self._store.lock:
            item = self._items.pop(self._name(request, region))
            self._store.tags.pop(item[f"{self._member}Arn"], None)

    def _name(self, request: Mapping[str, Any], region: str) -> str:
        name = str(request[f"{self._member}Name"])
        if name not in self._items:
            raise _missing(self._words, arn(region, self._kind, name))
        return name

    def listing(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List the items."""
        names = [f"{self._member}Name", f"{self._member}Arn", "CreationTime"]
        with self._store.lock:
            rows = [{name: item[name] for name in names} for item in self._items.values()]
        return listed(f"{self._member}s", rows, request, name=names[0])


class HostingApi:
    """The operations on endpoints and what they are made of, and InvokeEndpoint."""

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
        self.models = Shelf(store, store.models, "Model", "model", "model", clock)
        self.configurations = Shelf(
            store, store.configurations, "EndpointConfig", "endpoint-config", "endpoint configuration", clock
        )

    def create_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Create a model; its data must exist."""
        validation.check_model(request)
        for _, source in validation.model_sources(request["PrimaryContainer"]):
            if not self._has_objects(source["S3Uri"]):
                raise invalid(f"Could not find model data at {source['S3Uri']}.")
        return self.models.create(request, region)

    def create_configuration(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Create a configuration; its models must exist."""
        validation.check_endpoint_configuration(request)
        for variant in request["ProductionVariants"]:
            self.models.describe(variant, region)
        return self.configurations.create(request, region)

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Accept an endpoint and hand it to the engine."""
        name = request["EndpointName"]
        where = arn(region, "endpoint", name)
        with self._store.lock:
            earlier = self._store.endpoints.get(name)
        if earlier is not None and earlier.status == "Deleting":
            # Who makes it again has waited some minutes, which are short here: it goes on as by two looks.
            self._observe(earlier)
            self._observe(earlier)
        with self._store.lock:
            self._forget_deleted()
            # CreateEndpoint alone takes no notice of upper and lower case (botocore, CreateEndpointInput.EndpointName).
            if name.lower() in map(str.lower, self._store.endpoints):
                raise invalid(f'Cannot create already existing endpoint "{where}".')
            configuration = self.configurations.describe(request, region)
            # botocore's model (CreateEndpoint) documents a check of the configuration and none of the model. What AWS does with an
            # endpoint whose model is gone is not documented; here it fails while it is created.
            model = self._store.models.get(configuration["ProductionVariants"][0]["ModelName"], {})
            endpoint = Endpoint(name, where, configuration, model, self._clock)
            endpoint.placed = self._market.select(endpoint)
            running = (one for one in self._store.endpoints.values() if one.status != "Failed")
            self._market.check_limit("endpoint", endpoint, running)
            self._store.endpoints[name] = endpoint
            self._store.keep_tags(where, request)
        if endpoint.placed:
            self._engine.start(endpoint)
        else:
            # SageMaker looks for an instance for so long; here the clock is moved.
            looked = endpoint.variant.get("VariantInstanceProvisionTimeoutInSeconds", ENDPOINT_CAPACITY_SECONDS)
            self._clock.advance(seconds=looked)
            endpoint.become("Failed", CAPACITY_HOSTING)
        return {"EndpointArn": where}

    def _forget_deleted(self) -> None:
        for name, endpoint in list(self._store.endpoints.items()):
            if endpoint.deleted:
                del self._store.endpoints[name]
                self._store.tags.pop(endpoint.arn, None)

    def look(self) -> list[Endpoint]:
        """Let the engine go on and return the endpoints that exist."""
        with self._store.lock:
            endpoints = list(self._store.endpoints.values())
        for endpoint in endpoints:
            self._observe(endpoint)
        with self._store.lock:
            self._forget_deleted()
            return list(self._store.endpoints.values())

    def _observe(self, endpoint: Endpoint) -> None:
        if endpoint.placed:
            self._engine.observed(endpoint)

    def _endpoint(self, request: Mapping[str, Any], region: str) -> Endpoint:
        name = request["EndpointName"]
        with self._store.lock:
            endpoint = self._store.endpoints.get(name)
        if endpoint is not None:
            self._observe(endpoint)
        if endpoint is None or endpoint.deleted:
            raise _missing("endpoint", arn(region, "endpoint", name))
        return endpoint

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe an endpoint."""
        return self._endpoint(request, region).describe()

    def delete(self, request: Mapping[str, Any], region: str) -> None:
        """Delete an endpoint, unless it is between two states: then SageMaker refuses."""
        endpoint = self._endpoint(request, region)
        with endpoint.lock:
            if endpoint.status not in ("InService", "Failed", "OutOfService"):
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
            endpoint.become("Deleting")
        if endpoint.placed:
            self._engine.stop(endpoint)
        else:
            endpoint.vanish()

    def listing(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List endpoints, newest first where the request names no order."""
        rows = [endpoint.summary() for endpoint in self.look()]
        return listed("Endpoints", rows, request, name="EndpointName", status="EndpointStatus")

    def invoke(self, name: str, body: bytes, content_type: str, custom_attributes: str) -> Answer:
        """Pass a request to the container.

        Raises ServiceError: ValidationError where no endpoint is in service or the custom attributes are too long, ModelError where the
        container answers with an error or not within 60 seconds.
        """
        if len(custom_attributes) > LONGEST_CUSTOM_ATTRIBUTES:
            constraint = f"Member must have length less than or equal to {LONGEST_CUSTOM_ATTRIBUTES}"
            raise ServiceError(
                "ValidationError", f"Value at 'customAttributes' failed to satisfy constraint: {constraint}"
            )
        with self._store.lock:
            endpoint = self._store.endpoints.get(name)
        if endpoint is None or endpoint.deleted or endpoint.status != "InService":
            raise ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        try:
            answer = self._engine.invoke(endpoint, body, content_type, custom_attributes)
        except InvocationTimedOut:
            answer = Answer(0, b"Your invocation timed out while waiting for a response from container primary.")
        if answer.status == 200:
            return answer
        text, side = answer.body.decode(errors="replace"), "client" if 400 <= answer.status < 500 else "server"
        raise ServiceError(
            "ModelError",
            f'Received {side} error ({answer.status}) from primary with message "{text}". See the log group '
            f"/aws/sagemaker/Endpoints/{name} in account {ACCOUNT} for more information.",
            extra={"OriginalStatusCode": answer.status, "OriginalMessage": text},
        )
