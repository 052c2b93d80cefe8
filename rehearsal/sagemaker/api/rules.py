"""Rules that SageMaker applies and its service model does not state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .errors import ServiceError, invalid

GATED_BUCKET = re.compile(r"jumpstart-private-cache-prod-[a-z0-9-]+")
_JUMPSTART_BUCKET = re.compile(r"jumpstart-(private-)?cache-prod-[a-z0-9-]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


def is_gated(uri: str) -> bool:
    """Whether an S3 URI lies in JumpStart's bucket of models whose licence must be accepted."""
    return GATED_BUCKET.fullmatch(urlsplit(uri).netloc) is not None


def is_jumpstart(uri: str) -> bool:
    """Whether an S3 URI lies in one of JumpStart's buckets, whose weights the rehearsal's own model plays."""
    return _JUMPSTART_BUCKET.fullmatch(urlsplit(uri).netloc) is not None


def _eula(source: Mapping[str, Any]) -> None:
    uri = str(source.get("S3Uri", ""))
    if is_gated(uri) and not (source.get("ModelAccessConfig") or {}).get("AcceptEula"):
        raise invalid(
            "The AcceptEula value must be explicitly defined as True in order to accept the end-user license "
            f'agreement (EULA) that this "{uri}" model requires. Read the licence terms and make '
            "sure that they suit your use before you use the model."
        )


def _role(arn: object) -> None:
    if not isinstance(arn, str) or not _ROLE.fullmatch(arn):
        raise invalid(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )


def _needs(holder: Mapping[str, Any], path: str, *names: str) -> None:
    for name in names:
        if holder.get(name) is None:
            member = f"{path}{name[:1].lower()}{name[1:]}"
            raise invalid(
                f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
                "Member must not be null"
            )


def training_job(request: Mapping[str, Any]) -> None:
    """Check CreateTrainingJob.

    Raises:
        ServiceError: ValidationException with AWS's reason, or ours where the stand-in plays a part only.
    """
    _needs(request, "", "AlgorithmSpecification", "ResourceConfig", "StoppingCondition")
    _needs(request["StoppingCondition"], "stoppingCondition.", "MaxRuntimeInSeconds")
    _needs(request["ResourceConfig"], "resourceConfig.", "InstanceType", "InstanceCount", "VolumeSizeInGB")
    _role(request["RoleArn"])
    algorithm = request["AlgorithmSpecification"]
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise invalid("You must specify either an algorithm name or a training image, and not both.")
    if request["OutputDataConfig"].get("CompressionType") != "NONE":
        raise invalid("The rehearsal plays OutputDataConfig.CompressionType NONE only.")
    channels = request.get("InputDataConfig") or []
    names = [channel["ChannelName"] for channel in channels]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"Duplicate channel name {name} in InputDataConfig.")
    for channel in channels:
        source = (channel.get("DataSource") or {}).get("S3DataSource")
        if source is None:
            raise invalid(f"The rehearsal plays S3 data sources only; channel {channel['ChannelName']} has another.")
        _eula(source)
    waits = request["StoppingCondition"].get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining"):
        if waits is None or waits < request["StoppingCondition"]["MaxRuntimeInSeconds"]:
            raise invalid("MaxWaitTimeInSeconds must be equal to or greater than MaxRuntimeInSeconds.")
    elif waits is not None:
        raise invalid("MaxWaitTimeInSeconds is only allowed when EnableManagedSpotTraining is true.")


def model_sources(container: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (name, S3 data source) of a container: "" for the model itself, else the channel's name."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source is not None:
        yield "", source
    for extra in container.get("AdditionalModelDataSources") or []:
        yield extra["ChannelName"], extra["S3DataSource"]


def model(request: Mapping[str, Any]) -> None:
    """Check CreateModel.

    Raises:
        ServiceError: ValidationException with AWS's reason.
    """
    containers = [request["PrimaryContainer"]] if request.get("PrimaryContainer") else []
    containers += request.get("Containers") or []
    if len(containers) != 1 or (request.get("PrimaryContainer") and request.get("Containers")):
        raise invalid("You must provide exactly one container: PrimaryContainer, or one item in Containers.")
    _role(request.get("ExecutionRoleArn"))
    container = containers[0]
    if not container.get("Image") and not container.get("ModelPackageName"):
        raise invalid("The container needs an Image or a ModelPackageName.")
    if container.get("ModelDataUrl") and container.get("ModelDataSource"):
        raise invalid("ModelDataUrl and ModelDataSource exclude each other.")
    names = [name for name, _ in model_sources(container)]
    if len(names) != len(set(names)):
        raise invalid("The channel names of AdditionalModelDataSources must differ.")
    for _, source in model_sources(container):
        if source["S3DataType"] == "S3Prefix" and not source["S3Uri"].endswith("/"):
            raise invalid(f'S3Uri "{source["S3Uri"]}" must end with a forward slash ("/") when S3DataType is S3Prefix.')
        _eula(source)


def endpoint_configuration(request: Mapping[str, Any]) -> None:
    """Check CreateEndpointConfig.

    Raises:
        ServiceError: ValidationException with AWS's reason.
    """
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(names) != len(set(names)):
        raise invalid("Production variant names must be unique within an endpoint configuration.")
    for number, variant in enumerate(variants, start=1):
        path = f"productionVariants.{number}.member."
        _needs(variant, path, "ModelName")
        if not variant.get("ServerlessConfig"):
            _needs(variant, path, "InstanceType", "InitialInstanceCount")


def over_limit(instance_type: str, usage: str, limit: int, used: int, delta: int) -> ServiceError:
    """Return the ResourceLimitExceeded of a service quota; usage is "training job" or "endpoint"."""
    return ServiceError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{instance_type} for {usage} usage' is {limit} Instances, with "
        f"current utilization of {used} Instances and a request delta of {delta} Instances. Please use AWS "
        "Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact "
        "AWS support to request an increase for this quota.",
    )
