"""One object that plays SageMaker, its runtime, the price list, the service quotas and the image registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .api.control import Control
from .api.faults import Call, Faults
from .api.market import Market, Quota, Registry
from .api.rules import is_jumpstart
from .api.validation import check_request, service_model
from .api.wire import Player, Server
from .engines import Context, HostingEngine, TrainingEngine
from .records import Clock, Store, utc_now
from .s3_folders import split


class StandIn:
    """A local AWS for what moto cannot play. Use `start`, `environment`, `stop`, or a with-statement.

    Args:
        workdir: a folder of the caller's for the jobs, endpoints and logs.
        s3_endpoint: the address of the rehearsed S3.
        gated_weights: the folder that plays the gated bucket; needed by the real engines only.
        training, hosting: engines; left out, the real ones, which run the containers' commands here.
        clock: the time of every record, and so of the billing.
        on_training_line: called with (job name, line) for each line a training container prints.
        quotas, prices: see `Market`.
        time_scale: real seconds for each second of SageMaker's own limits.
        authorize: raises ServiceError for a call that its role may not make; left out, everybody may do everything.
        s3_of: returns the S3 client with which a container acts as its role (ARN); left out, one that may do everything.

    Attributes:
        faults: the faults in force.
        calls: every call in the order of its arrival.
        store: what exists.
        market: prices, quotas and free instances, which may be changed on the way.
        registry: the container images that there are.
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
        prices: Mapping[str, float | str] | None = None,
        time_scale: float = 1.0,
        authorize: Callable[[Call], None] = lambda call: None,
        s3_of: Callable[[str], Any] | None = None,
    ) -> None:
        self.faults, self.calls, self.store = Faults(), list[Call](), Store()
        self.market, self.registry = Market(prices, quotas), Registry()
        self._clock = clock
        self._s3 = boto3.client(
            "s3",
            endpoint_url=s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id="standin",
            aws_secret_access_key="standin",  # pragma: allowlist secret
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32, proxies={}),
        )
        if training is None:
            from .real.training import TrainingHost  # here, so that tests with fakes do not load it

            training = TrainingHost()
        if hosting is None:
            from .real.hosting import ModelHost

            hosting = ModelHost()
        self._training, self._hosting = training, hosting
        workdir.mkdir(parents=True, exist_ok=True)
        on_line = on_training_line or (lambda job, line: None)
        context = Context(workdir, s3_of or (lambda role: self._s3), gated_weights, clock, on_line, time_scale)
        self._training.attach(context)
        self._hosting.attach(context)
        self.control = Control(self.store, self._training, self._hosting, self.market, clock, self._has_objects)
        invoke = self.control.hosting.invoke
        self._player = Player(self._dispatch, invoke, self.faults, self.calls, clock, authorize)
        self._server: Server | None = None

    def start(self, server: Server | None = None) -> str:
        """Start the server, or take over one that another stand-in has handed over, and return its address."""
        service_model("sagemaker")  # a third of a second; better now than in the first call
        self._server = server or Server(self._player)
        self._server.player = self._player
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
            server.stop()

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the variables that make botocore find the running stand-in."""
        assert self._server is not None, "start the stand-in before asking for its addresses"
        services = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "PRICING", "SERVICE_QUOTAS", "ECR")
        return {f"AWS_ENDPOINT_URL_{service}": self._server.url for service in services}

    def leftovers(self) -> dict[str, list[str]]:
        """Return the names of what would still bill or linger."""
        return {
            "training jobs": sorted(job.name for job in self.control.training.look() if not job.is_over),
            "endpoints": sorted(endpoint.name for endpoint in self.control.hosting.look()),
            "endpoint configurations": sorted(self.store.configurations),
            "models": sorted(self.store.models),
        }

    def billed_seconds(self) -> dict[str, dict[str, int]]:
        """Return instance seconds billed until now: {"training": {job: seconds}, "endpoints": {name: …}}.

        A training job counts from the start of its instance, an endpoint from its creation. Endpoints of one name that
        followed each other are added up.
        """
        jobs, endpoints, now = self.control.training.look(), self.control.hosting.look(), self._clock()
        billed: dict[str, int] = {}
        for endpoint in (*self.store.past_endpoints, *endpoints):
            seconds = endpoint.billed_seconds(now) * endpoint.instance_count
            billed[endpoint.name] = billed.get(endpoint.name, 0) + seconds
        return {
            "training": {job.name: job.billed_seconds(now) * job.instance_count for job in jobs},
            "endpoints": billed,
        }

    def _dispatch(self, service: str, operation: str, request: Mapping[str, Any], region: str) -> Any:
        if service == "sagemaker":
            return self.control.call(operation, request, region)
        check_request(service, operation, request)
        return (
            self.registry.call(operation, request) if service == "ecr" else self.market.call(operation, request, region)
        )

    def _has_objects(self, uri: str) -> bool:
        if is_jumpstart(uri):
            return True
        bucket, prefix = split(uri)
        try:
            found = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except self._s3.exceptions.NoSuchBucket:
            return False
        return bool(found.get("KeyCount"))
