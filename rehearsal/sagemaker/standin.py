"""One object that plays SageMaker, its runtime, the price list, the service quotas and the image registry."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from rehearsal.calls import Call, ServiceError, json_answer

from .control_plane import ControlPlane
from .engines import Context, HostingEngine, TrainingEngine
from .market import OPERATIONS, Market
from .s3_folders import is_jumpstart, split
from .store import Clock
from .validation import check_request, service_model

PLAYED = ("sagemaker", "sagemaker-runtime", "pricing", "service-quotas", "ecr")


class StandIn:
    """A local AWS for what moto cannot play. It answers calls that a `Gateway` passes on.

    The engines are the real ones when left out, which run the containers' commands here; `gated_weights` is needed by them only, and plays the
    gated bucket. `on_training_line` is called with (job name, line) for each line a training container prints, `time_scale` is that of `Context`, and
    `quotas` and `prices` those of `Market`.
    """

    def __init__(
        self,
        workdir: Path,
        s3_of: Callable[[str], Any],
        clock: Clock,
        *,
        gated_weights: Path | None = None,
        training: TrainingEngine | None = None,
        hosting: HostingEngine | None = None,
        on_training_line: Callable[[str, str], None] | None = None,
        quotas: Mapping[str, float] | None = None,
        prices: Mapping[str, float | str] | None = None,
        time_scale: float = 1.0,
    ) -> None:
        self.market = Market(prices, quotas)
        self._s3_of = s3_of
        if training is None:
            from .real.training import TrainingHost  # here, so that tests with fakes do not load it

            training = TrainingHost()
        if hosting is None:
            from .real.hosting import ModelHost

            hosting = ModelHost()
        self._engines = (training, hosting)
        workdir.mkdir(parents=True, exist_ok=True)
        on_line = on_training_line or (lambda job, line: None)
        context = Context(workdir, s3_of, gated_weights, clock, on_line, time_scale)
        training.context = hosting.context = context
        self.control_plane = ControlPlane(training, hosting, self.market, clock, self._has_objects)
        self.answered = 0  # requests to endpoints
        service_model("sagemaker")  # a third of a second; better now than in the first call

    def close(self) -> None:
        """End every container."""
        for engine in self._engines:
            engine.close()

    def answer(self, call: Call, region: str, body: bytes) -> Response:
        """Answer a call to one of the services in `PLAYED`. Raises ServiceError, as the service would answer."""
        if call.service == "sagemaker-runtime":
            members = call.request
            asked = (str(members["EndpointName"]), body, str(members["ContentType"]))
            said = self.control_plane.hosting.invoke(*asked, str(members.get("CustomAttributes", "")))
            self.answered += 1
            variant = {"x-Amzn-Invoked-Production-Variant": "primary"}
            return Response(said.body, 200, variant, content_type=said.content_type)
        return json_answer(self.perform(call.service, call.operation, call.request, region))

    def perform(self, service: str, operation: str, request: Mapping[str, Any], region: str) -> Any:
        """Check a request and return its answer, None for an empty one. Raises ServiceError, as the service would answer."""
        own: Container[str] = self.control_plane.operations if service == "sagemaker" else OPERATIONS
        if operation not in own:
            raise ServiceError("UnknownOperationException", f"The rehearsal does not play {operation}.")
        check_request(service, operation, request)
        if service == "sagemaker":
            return self.control_plane.operations[operation](request, region)
        return self.market.call(operation, request, region)

    def _has_objects(self, uri: str) -> bool:
        if is_jumpstart(uri):
            return True
        s3, (bucket, prefix) = self._s3_of("standin"), split(uri)
        try:
            found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except s3.exceptions.NoSuchBucket:
            return False
        return bool(found.get("KeyCount"))
