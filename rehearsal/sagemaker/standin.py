"""The facade: one object that plays SageMaker, its runtime, the price list, the service quotas and the image registry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .api.control import Control
from .api.faults import Call, Faults
from .api.market import Market, Price
from .api.quotas import Quota
from .api.registry import Registry
from .api.rules import is_jumpstart
from .api.validation import check_request, service_model
from .api.wire import Server
from .clock import Clock, utc_now
from .engines import Answer, Context, HostingEngine, TrainingEngine
from .records import Store


class StandIn:
    """A local AWS for what moto cannot play. Use `start`, `environment`, `stop`, or a with-statement.

    Args:
        workdir: a folder of the caller's for the jobs, endpoints and logs.
        s3_endpoint: the address of the rehearsed S3.
        gated_weights: the folder that plays the gated bucket; needed by the real engines only.
        training, hosting: engines; left out, the real ones, which run the containers' commands here.
        clock: the time that every record, and so the billing, goes by.
        on_training_line: called with (job name, line) for each line a training container prints.
        quotas: quota code to value (or a whole `Quota`); see quotas.DEFAULT_QUOTAS.
        prices: instance type to dollars an hour, or `Price`s; ml.g5.2xlarge at 1.515 when left out.
        time_scale: real seconds for each second of SageMaker's own limits.
        authorize: raises ServiceError for a call that its role may not make; left out, everybody may do everything.
        s3_of: gives the S3 client with which a container acts as its role (ARN); left out, one that may do everything.

    Attributes:
        faults: the faults in force.
        calls: every call in the order of its arrival.
        store: what exists.
        market: prices, quotas and free instances, which may be changed on the way.
        registry: which container images there are.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        s3_endpoint: str,
        gated_weights: Path | None = None,
        training: TrainingEngine | None = None,
        hosting: HostingEngine | None = None,
        clock: Clock = utc_now,
        on_training_line: Callable[[str, str], None] | None = None,
        quotas: Mapping[str, float | Quota | None] | None = None,
        prices: Mapping[str, float | str] | Iterable[Price] | None = None,
        time_scale: float = 1.0,
        authorize: Callable[[Call], None] = lambda call: None,
        s3_of: Callable[[str], Any] | None = None,
    ) -> None:
        self.faults, self.calls, self.store = Faults(), list[Call](), Store()
        self.market, self.registry = Market(prices, quotas), Registry()
        self._clock, self._authorize = clock, authorize
        self._gated_weights = gated_weights
        self._s3 = boto3.client(
            "s3",
            endpoint_url=s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id="standin",
            aws_secret_access_key="standin",  # pragma: allowlist secret
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32, proxies={}),
        )
        self._training, self._hosting = training or _real_training(), hosting or _real_hosting()
        workdir.mkdir(parents=True, exist_ok=True)
        context = Context(
            workdir, s3_of or (lambda role: self._s3), gated_weights, clock, on_training_line or _ignore, time_scale
        )
        self._training.attach(context)
        self._hosting.attach(context)
        self.control = Control(self.store, self._training, self._hosting, self.market, clock, self._has_objects)
        self._server: Server | None = None

    def start(self, server: Server | None = None) -> str:
        """Start the server, or take over one that another stand-in has handed over, and return its address."""
        service_model("sagemaker")  # a third of a second; better now than in the first call
        played = self._dispatch, self._invoke, self.faults, self.calls, self._clock, self._authorize
        if server is not None:
            server.play(*played)
            self._server = server
            return server.url
        self._server = Server(*played)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="sagemaker").start()
        return self._server.url

    def hand_over(self) -> Server | None:
        """End every container, and return the server, which goes on answering until another stand-in takes it over."""
        self.faults.clear()
        self._training.close()
        self._hosting.close()
        server, self._server = self._server, None
        return server

    def stop(self) -> None:
        """End every container and the server. May be called twice."""
        server = self.hand_over()
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the variables that make botocore find the stand-in.

        Raises:
            RuntimeError: the server is not running.
        """
        if self._server is None:
            raise RuntimeError("start the stand-in before asking for its addresses")
        services = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "PRICING", "SERVICE_QUOTAS", "ECR")
        return {f"AWS_ENDPOINT_URL_{service}": self._server.url for service in services}

    def leftovers(self) -> dict[str, list[str]]:
        """Return the names of what would still bill or linger."""
        endpoints = self.control.hosting.look()
        with self.store.lock:
            jobs = list(self.store.jobs.values())
            configurations, models = sorted(self.store.configurations), sorted(self.store.models)
        for job in jobs:
            self._training.observed(job)
        return {
            "training jobs": sorted(job.name for job in jobs if not job.is_over),
            "endpoints": sorted(endpoint.name for endpoint in endpoints),
            "endpoint configurations": configurations,
            "models": models,
        }

    def billed_seconds(self) -> dict[str, dict[str, int]]:
        """Return instance seconds billed until now: {"training": {job: seconds}, "endpoints": {name: …}}.

        A training job counts from the start of its instance, an endpoint from its creation. Endpoints of one
        name that followed each other are added up.
        """
        endpoints = self.control.hosting.look()
        with self.store.lock:
            jobs, past = list(self.store.jobs.values()), list(self.store.past_endpoints)
        for job in jobs:
            self._training.observed(job)
        now = self._clock()
        billed: dict[str, int] = {}
        for endpoint in (*past, *endpoints):
            seconds = endpoint.billed_seconds(now) * int(endpoint.variant.get("InitialInstanceCount", 1))
            billed[endpoint.name] = billed.get(endpoint.name, 0) + seconds
        counts = {job.name: int(job.request["ResourceConfig"]["InstanceCount"]) for job in jobs}
        training = {job.name: job.billed_seconds(now) * counts[job.name] for job in jobs}
        return {"training": training, "endpoints": billed}

    def _dispatch(self, service: str, operation: str, request: Mapping[str, Any], region: str) -> Any:
        if service == "sagemaker":
            return self.control.call(operation, request, region)
        check_request(service, operation, request)
        if service == "ecr":
            return self.registry.call(operation, request)
        return self.market.call(operation, request, region)

    def _invoke(self, endpoint: str, body: bytes, content_type: str, custom_attributes: str, region: str) -> Answer:
        return self.control.hosting.invoke(endpoint, body, content_type, custom_attributes, region)

    def _has_objects(self, uri: str) -> bool:
        if is_jumpstart(uri):
            return True
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        try:
            found = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except self._s3.exceptions.NoSuchBucket:
            return False
        return bool(found.get("KeyCount"))


def _ignore(job: str, line: str) -> None:
    pass


def _real_training() -> TrainingEngine:
    from .real.training import TrainingHost  # here, so that tests with fakes do not load it

    return TrainingHost()


def _real_hosting() -> HostingEngine:
    from .real.hosting import ModelHost

    return ModelHost()
