"""Service quotas: what a new account usually lacks, and what AWS does not say."""

from __future__ import annotations

import pytest
from botocore.exceptions import ConnectTimeoutError

from preflight.account import quotas
from preflight.account.quotas import ENDPOINT, TRAINING, Need, Quota
from tests.doubles.lambda_fakes import refusal
from tests.doubles.service_quotas import ServiceQuotas

KNOWN, OTHER = "ml.g5.2xlarge", "ml.g6.2xlarge"
APPLIED, DEFAULT = "list_service_quotas", "list_aws_default_service_quotas"
ONE = "get_service_quota"


def troubled(service: ServiceQuotas, operation: str, *troubles: Exception) -> ServiceQuotas:
    service.troubles[operation] = list(troubles)
    return service


def one(service: ServiceQuotas, kind: str = KNOWN, use: str = ENDPOINT) -> Quota:
    """The only quota that is read."""
    (quota,) = quotas.read(service, [Need([kind], use, 1)])[use]
    return quota


@pytest.mark.parametrize(
    ("service", "kind", "use", "value"),
    [
        (ServiceQuotas({"L-2D6DEB3C": 2.0}, {"L-2D6DEB3C": 0.0}), KNOWN, TRAINING, 2),
        (ServiceQuotas({}, {"L-9614C779": 0.0}), KNOWN, ENDPOINT, 0),
        (ServiceQuotas({"L-2": 0.0}), OTHER, ENDPOINT, 0),
        (ServiceQuotas({"L-1": 1.0}, {"L-1": 0.0, "L-2": 4.0}), OTHER, ENDPOINT, 4),
        (ServiceQuotas({"L-1": 1.0}, {"L-1": 0.0, "L-2": 0.0}), OTHER, ENDPOINT, 0),
    ],
    ids=["applied", "default", "applied, by name", "default, by name", "default 0, by name"],
)
def test_applied_value_counts_and_else_the_default(service: ServiceQuotas, kind: str, use: str, value: int) -> None:
    quota = one(service, kind, use)
    assert (quota.value, bool(quota.shortage(1))) == (value, value == 0)


def test_shortage_names_the_quota_its_code_and_the_need() -> None:
    quota = one(ServiceQuotas({"L-9614C779": 0.0}))
    assert quota.shortage(1) == 'the quota "ml.g5.2xlarge for endpoint usage" (code L-9614C779) is 0 and 1 is needed'
    assert quota.shortage(2).endswith("is 0 and 2 are needed")


@pytest.mark.parametrize("trouble", [[refusal("AccessDeniedException")], []], ids=["refused", "no such code"])
def test_quota_without_an_answer_by_code_is_found_by_name(trouble: list[Exception]) -> None:
    service = troubled(ServiceQuotas({"L-NEW": 3.0}), ONE, *trouble)
    service.names = {"L-NEW": f"{KNOWN} for {ENDPOINT}"}
    quota = one(service)
    assert (quota.value, quota.code) == (3, "L-NEW")


@pytest.mark.parametrize(
    ("service", "kind", "why"),
    [
        (troubled(ServiceQuotas({}), ONE, refusal("AccessDeniedException")), KNOWN, "AccessDeniedException"),
        (troubled(ServiceQuotas({}), ONE, ConnectTimeoutError(endpoint_url="q")), KNOWN, "(ConnectTimeoutError)"),
        (troubled(ServiceQuotas({"L-2": 1.0}), APPLIED, refusal("TooManyRequests")), OTHER, "TooManyRequests"),
        (troubled(ServiceQuotas({"L-1": 1.0}), DEFAULT, refusal("AccessDenied")), OTHER, "AccessDenied"),
        (ServiceQuotas({}), "ml.unheard.of", "AWS lists no such quota"),
    ],
)
def test_unreadable_quota_is_unknown_and_refuses_nothing(service: ServiceQuotas, kind: str, why: str) -> None:
    quota = one(service, kind)
    assert (quota.value, quota.shortage(1)) == (None, "")
    assert why in quota.why_unknown


def test_no_call_begins_after_the_time_is_over() -> None:
    ticks = iter(range(0, 1000, 7))
    service = ServiceQuotas({"L-9614C779": 1.0, "L-2": 1.0}, {"L-2": 0.0})
    read = quotas.read(service, [Need([KNOWN, OTHER], ENDPOINT, 1)], lambda: float(next(ticks)))[ENDPOINT]
    assert [quota.value for quota in read] == [1, None]
    assert "within 20 seconds" in read[1].why_unknown
    assert [operation for operation, _ in service.calls] == [ONE, APPLIED]
