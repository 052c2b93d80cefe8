"""Rules that SageMaker applies and its service model does not state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .errors import invalid

_GATED_BUCKET = re.compile(r"jumpstart-private-cache-prod-[a-z0-9-]+")
_JUMPSTART_BUCKET = re.compile(r"jumpstart-(private-)?cache-prod-[a-z0-9-]+")


def is_jumpstart(uri: str) -> bool:
    """Whether an S3 URI lies in one of JumpStart's buckets, whose weights the rehearsal's own model plays."""
    return _JUMPSTART_BUCKET.fullmatch(urlsplit(uri).netloc) is not None


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


def _check_unique(member: str, names: list[str]) -> None:
    if len(names) != len(set(names)):
        raise invalid(f"Duplicate channel names in {member}: {', '.join(names)}.")


def training_job(request: Mapping[str, Any]) -> None:
    """Check CreateTrainingJob.

    Raises:
        ServiceError: ValidationException with AWS's reason, or ours where the stand-in plays a part only.
    """
    _check_members(request, "", "AlgorithmSpecification", "ResourceConfig", "StoppingCondition")
    stopping = request["StoppingCondition"]
    _check_members(stopping, "StoppingCondition.", "MaxRuntimeInSeconds")
    _check_members(request["ResourceConfig"], "ResourceConfig.", "InstanceType", "InstanceCount", "VolumeSizeInGB")
    algorithm = request["AlgorithmSpecification"]
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise invalid("You must specify either an algorithm name or a training image, and not both.")
    if request["OutputDataConfig"].get("CompressionType") != "NONE":
        raise invalid("The rehearsal plays OutputDataConfig.CompressionType NONE only.")
    channels = request.get("InputDataConfig") or []
    _check_unique("InputDataConfig", [channel["ChannelName"] for channel in channels])
    for channel in channels:
        source = (channel.get("DataSource") or {}).get("S3DataSource")
        if source is None:
            raise invalid(f"The rehearsal plays S3 data sources only; channel {channel['ChannelName']} has another.")
        _check_licence(source)
    longest_wait = stopping.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if longest_wait is None or longest_wait < stopping["MaxRuntimeInSeconds"]:
            raise invalid("MaxWaitTimeInSeconds must be equal to or greater than MaxRuntimeInSeconds.")
    elif longest_wait is not None:
        raise invalid("MaxWaitTimeInSeconds is only allowed when EnableManagedSpotTraining is true.")


def model(request: Mapping[str, Any]) -> None:
    """Check CreateModel.

    Raises:
        ServiceError: ValidationException with AWS's reason.
    """
    containers = [request["PrimaryContainer"]] if request.get("PrimaryContainer") else request.get("Containers") or []
    if len(containers) != 1:
        raise invalid("You must provide exactly one container: PrimaryContainer, or one item in Containers.")
    _check_members(request, "", "ExecutionRoleArn")
    container = containers[0]
    if not container.get("Image"):
        raise invalid("The container needs an Image.")
    _check_unique("AdditionalModelDataSources", [name for name, _ in model_sources(container)])
    for _, source in model_sources(container):
        if source["S3DataType"] == "S3Prefix" and not source["S3Uri"].endswith("/"):
            raise invalid(f'S3Uri "{source["S3Uri"]}" must end with a forward slash ("/") when S3DataType is S3Prefix.')
        _check_licence(source)


def endpoint_configuration(request: Mapping[str, Any]) -> None:
    """Check CreateEndpointConfig.

    Raises:
        ServiceError: ValidationException with AWS's reason.
    """
    for number, variant in enumerate(request["ProductionVariants"]):
        names = ("ModelName", "InstanceType", "InitialInstanceCount")
        _check_members(variant, f"ProductionVariants[{number}].", *names)
