"""Service Quotas: the four operations that Preflight asks, over as many quotas as SageMaker has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rehearsal.sagemaker.records import ACCOUNT

from .errors import ServiceError
from .listing import sliced


@dataclass(frozen=True)
class Quota:
    """A service quota; `value` None is one that has no applied value, only the default."""

    name: str
    value: float | None
    default: float = 0.0


DEFAULT_QUOTAS: Mapping[str, Quota] = {
    "L-2D6DEB3C": Quota("ml.g5.2xlarge for training job usage", 1.0),
    "L-CAEE7DB7": Quota("ml.g5.2xlarge for spot training job usage", 1.0),
    "L-9614C779": Quota("ml.g5.2xlarge for endpoint usage", 1.0),
}
_PAGE = 100
# Types that no run of this project takes, so that a run's own are scattered over as many pages as on AWS: some 1,600 quotas.
_FAMILIES = ("c5", "c5d", "c5n", "c6g", "c6i", "c7i", "m5", "m5d", "m6g", "m6i", "m7i", "r5", "r5d", "r6g", "r7i")
_SIZES = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "9xlarge", "12xlarge", "16xlarge", "18xlarge", "24xlarge")
_USES = (
    "training job usage", "spot training job usage", "endpoint usage", "processing job usage", "transform job usage",
    "notebook instance usage", "cluster usage", "training warm pool usage", "Studio KernelGateway Apps usage",
    "Studio JupyterLab Apps usage", "reserved capacity across training plans per Region",
)  # fmt: skip


def code_of(name: str) -> str:
    """Return a code of AWS's form for the quota of a name; always the same one."""
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


@cache
def others() -> Mapping[str, Quota]:
    """Return the quotas that every account has besides, by code. Every third was never raised, and has no applied value."""
    names = [f"ml.{family}.{size} for {use}" for family in _FAMILIES for size in _SIZES for use in _USES]
    return {code_of(name): Quota(name, None if number % 3 == 0 else 0.0) for number, name in enumerate(names)}


def answer(own: Mapping[str, Quota], operation: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
    """Answer GetServiceQuota, ListServiceQuotas or one of both for AWS's defaults, of these quotas and all others.

    Raises:
        ServiceError: the service, the quota or the page does not exist.
    """
    if request["ServiceCode"] != "sagemaker":
        raise ServiceError(
            "NoSuchResourceException", "The request failed because the specified service does not exist."
        )
    default = operation in ("GetAWSDefaultServiceQuota", "ListAWSDefaultServiceQuotas")
    # A quota without an applied value is not retrieved, alone or in a listing.
    told = {code: quota for code, quota in {**others(), **own}.items() if default or quota.value is not None}
    code = request.get("QuotaCode")
    if operation.startswith("List"):
        codes = sorted(told) if code is None else [one for one in told if one == code]
        rows, more = sliced(codes, request, _PAGE, "InvalidPaginationTokenException")
        return {"Quotas": [_row(one, told[one], region, default=default) for one in rows]} | more
    if code not in told:
        raise ServiceError("NoSuchResourceException", "The request failed because the specified quota does not exist.")
    return {"Quota": _row(code, told[code], region, default=default)}


def _row(code: str, quota: Quota, region: str, *, default: bool) -> dict[str, Any]:
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaCode": code,
        "QuotaName": quota.name,
        "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:sagemaker/{code}",
        "Unit": "None",
        "Value": float(quota.default if default or quota.value is None else quota.value),
        "Adjustable": True,
        "GlobalQuota": False,
    }
