"""Checks a request as strictly as AWS does: against botocore's own model of the service, and by rules that the model does not state.

botocore checks required members, types and lower limits before it sends; patterns, enumerations and upper limits are left to
the service. Step Functions sends whatever the state machine says. So all of it is checked here.
"""

import operator
import re
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from rehearsal.calls import invalid

_GATED_BUCKET = re.compile(r"jumpstart-private-cache-prod-[a-z0-9-]+")
_lock = threading.Lock()
# Java's character classes, inside square brackets, in Python's words. Near enough: \w has the underscore too.
_JAVA_CLASSES = {
    r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": "\u0300-\u036f", r"\p{Alnum}": "A-Za-z0-9",
    r"\p{S}": r"$+<=>^`|~", r"\p{P}": r"!-/:-@\[-`{-~",
}  # fmt: skip


def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service, for example "sagemaker"; read once."""
    with _lock:
        return _service_model(service)


@lru_cache
def _service_model(service: str) -> ServiceModel:
    model: ServiceModel = botocore.session.get_session().get_service_model(service)
    return model


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        text = text.replace(java, python)
    try:
        return re.compile(text)
    except re.error:  # a handful of patterns use Java's surrogate ranges; none is in a request of ours
        return re.compile(".*", re.DOTALL)


class _Violations:
    """Collects what is wrong with a request: botocore reports its own findings here, in its own words."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def report(self, name: str, reason: str, **details: Any) -> None:
        """Add one, worded as SageMaker words it."""
        where = name.lstrip(".")
        if "min_allowed" in details:
            return  # botocore reports the length in place of the value; _AsTheService reports it too
        if reason == "unknown field":
            self.found.append(f"Unknown parameter '{details['unknown_param']}' at '{where}'")
            return
        if reason == "missing required field":
            where, reason = f"{where}.{details['required_name']}".lstrip("."), "Member must not be null"
        value = details.get("param")
        shown = "null" if value is None else f"'{value}'"
        self.found.append(f"Value {shown} at '{where}' failed to satisfy constraint: {reason}")


class _AsTheService(ParamValidator):
    """botocore's checks, and those that it leaves to the service."""

    def _shape_has_constraints(self, shape: Any) -> bool:
        return True  # so that botocore looks at each element of a list

    def _validate(self, params: Any, shape: Any, errors: Any, name: str) -> None:
        if isinstance(params, Mapping):  # a member that is null counts as left out
            params = {key: value for key, value in params.items() if value is not None}
        super()._validate(params, shape, errors, name)
        sized = isinstance(params, (str, list, dict))
        measured = len(params) if sized else params if isinstance(params, (int, float)) else None
        for bound, breaks, words in (("min", operator.lt, "at least"), ("max", operator.gt, "at most")):
            limit = shape.metadata.get(bound)
            if limit is not None and measured is not None and breaks(measured, limit):
                errors.report(name, f"Member must have {'length' if sized else 'value'} {words} {limit}", param=params)
        if shape.type_name == "string" and isinstance(params, str):
            allowed, pattern = getattr(shape, "enum", None), shape.metadata.get("pattern")
            if allowed and params not in allowed:
                errors.report(name, f"Member must satisfy enum value set: [{', '.join(allowed)}]", param=params)
            elif pattern and not _pattern(pattern).fullmatch(params):
                errors.report(name, f"Member must satisfy regular expression pattern: {pattern}", param=params)


def violations(shape: Shape, value: Any) -> list[str]:
    """Return one sentence for each way in which `value` breaks the shape; nothing when it fits."""
    errors = _Violations()
    _AsTheService()._validate(value, shape, errors, "")
    return errors.found


def check_request(service: str, operation: str, request: Any) -> None:
    """Check one request. Raises ServiceError, worded as AWS words it, with every violation."""
    shape = service_model(service).operation_model(operation).input_shape
    found = violations(shape, request) if shape is not None else []
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise invalid(f"{len(found)} validation {noun} detected: {'; '.join(found)}")


# rules that the service model does not state ---------------------------------------------------------------------------


def model_sources(container: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (name, S3 data source) of a container: "" for the model itself, else the channel's name."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source is not None:
        yield "", source
    for extra in container.get("AdditionalModelDataSources") or []:
        yield extra["ChannelName"], extra["S3DataSource"]


def _check_licence(source: Mapping[str, Any]) -> None:
    """Models whose licence must be accepted lie in one bucket of JumpStart's."""
    uri = str(source.get("S3Uri", ""))
    gated = _GATED_BUCKET.fullmatch(urlsplit(uri).netloc)
    if gated and not (source.get("ModelAccessConfig") or {}).get("AcceptEula"):
        raise invalid(
            "The AcceptEula value must be explicitly defined as True in order to accept the end-user license "
            f'agreement (EULA) that this "{uri}" model requires.'
        )


def _check_members(holder: Mapping[str, Any], path: str, *names: str) -> None:
    for name in names:
        if holder.get(name) is None:
            raise invalid(
                f"1 validation error detected: Value null at '{path}{name}' failed to satisfy constraint: "
                "Member must not be null"
            )


def _check_types(given: Mapping[str, Any], member: str) -> None:
    """One type, or a list in which each is named once (botocore, ResourceConfig and ProductionVariant)."""
    listed = [row["InstanceType"] for row in given.get(member) or []]
    if bool(listed) == bool(given.get("InstanceType")):
        raise invalid(f"Name either an InstanceType or {member}, and not both.")
    if len(listed) != len(set(listed)):
        raise invalid(f"An instance type can appear only once in {member}.")


def check_training_job(request: Mapping[str, Any]) -> None:
    """Check CreateTrainingJob. Raises ServiceError with AWS's reason, or ours where the stand-in plays a part only."""
    _check_members(request, "", "AlgorithmSpecification", "ResourceConfig", "StoppingCondition")
    stopping = request["StoppingCondition"]
    _check_members(stopping, "StoppingCondition.", "MaxRuntimeInSeconds")
    _check_members(request["ResourceConfig"], "ResourceConfig.", "InstanceCount", "VolumeSizeInGB")
    _check_types(request["ResourceConfig"], "InstancePreferences")
    algorithm = request["AlgorithmSpecification"]
    _check_members(algorithm, "AlgorithmSpecification.", "TrainingImage")
    if request["OutputDataConfig"].get("CompressionType") != "NONE":
        raise invalid("The rehearsal plays OutputDataConfig.CompressionType NONE only.")
    for number, channel in enumerate(request.get("InputDataConfig") or []):
        _check_members(channel["DataSource"], f"InputDataConfig[{number}].DataSource.", "S3DataSource")
        _check_licence(channel["DataSource"]["S3DataSource"])
    longest_wait = stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if longest_wait is None or longest_wait < stopping["MaxRuntimeInSeconds"]:
            raise invalid("MaxWaitTimeInSeconds must be equal to or greater than MaxRuntimeInSeconds.")
        if request["ResourceConfig"].get("InstancePreferences"):
            raise invalid("InstancePreferences is mutually exclusive with EnableManagedSpotTraining.")
    elif longest_wait is not None:
        raise invalid("MaxWaitTimeInSeconds is only allowed when EnableManagedSpotTraining is true.")


def check_model(request: Mapping[str, Any]) -> None:
    """Check CreateModel. Raises ServiceError with AWS's reason."""
    _check_members(request, "", "PrimaryContainer", "ExecutionRoleArn")
    _check_members(request["PrimaryContainer"], "PrimaryContainer.", "Image")
    for _, source in model_sources(request["PrimaryContainer"]):
        if source["S3DataType"] == "S3Prefix" and not source["S3Uri"].endswith("/"):
            raise invalid(f'S3Uri "{source["S3Uri"]}" must end with a forward slash ("/") when S3DataType is S3Prefix.')
        _check_licence(source)


def check_endpoint_configuration(request: Mapping[str, Any]) -> None:
    """Check CreateEndpointConfig. Raises ServiceError with AWS's reason."""
    for number, variant in enumerate(request["ProductionVariants"]):
        _check_members(variant, f"ProductionVariants[{number}].", "ModelName", "InitialInstanceCount")
        _check_types(variant, "InstancePools")
