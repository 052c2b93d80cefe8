"""Service quotas: what a new account usually lacks."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from preflight.account import quotas
from preflight.account.quotas import ENDPOINT, TRAINING
from tests.doubles.lambda_fakes import refusal
from tests.doubles.service_quotas import ServiceQuotas


def test_the_applied_value_counts() -> None:
    asked = ServiceQuotas({"L-2D6DEB3C": 2.0}, {"L-2D6DEB3C": 0.0})
    quota = quotas.read(asked, "ml.g5.2xlarge", TRAINING)
    assert (quota.value, quota.shortage(1), quota.shortage(2)) == (2, "", "")


def test_a_quota_that_was_never_raised_has_the_default_value() -> None:
    assert quotas.read(ServiceQuotas({}, {"L-9614C779": 0.0}), "ml.g5.2xlarge", ENDPOINT).value == 0


def test_training_and_endpoint_have_quotas_of_their_own() -> None:
    asked = ServiceQuotas({"L-2D6DEB3C": 1.0, "L-9614C779": 0.0})
    assert [quotas.read(asked, "ml.g5.2xlarge", use).value for use in (TRAINING, ENDPOINT)] == [1, 0]


def test_a_shortage_names_the_quota_its_code_and_how_much_is_needed() -> None:
    quota = quotas.read(ServiceQuotas({"L-9614C779": 0.0}), "ml.g5.2xlarge", ENDPOINT)
    assert quota.shortage(1) == 'the quota "ml.g5.2xlarge for endpoint usage" (code L-9614C779) is 0 and 1 is needed'
    assert quota.shortage(2).endswith("is 0 and 2 are needed")


def test_the_code_of_another_instance_type_is_looked_up_by_name_on_every_page() -> None:
    asked = ServiceQuotas({"L-2": 3.0})
    assert quotas.read(asked, "ml.g6.2xlarge", ENDPOINT).value == 3


def test_an_instance_type_without_a_quota_is_not_known() -> None:
    quota = quotas.read(ServiceQuotas({}), "ml.unheard.of", ENDPOINT)
    assert (quota.value, quota.shortage(1)) == (None, "")


@pytest.mark.parametrize(
    "trouble",
    [refusal("AccessDeniedException"), refusal("TooManyRequestsException"), ConnectTimeoutError(endpoint_url="quotas")],
)
def test_quotas_that_cannot_be_asked_are_not_known_and_refuse_nothing(trouble: Exception) -> None:
    asked = ServiceQuotas({"L-2D6DEB3C": 1.0})
    asked.troubles["get_service_quota"] = [trouble]
    assert quotas.read(asked, "ml.g5.2xlarge", TRAINING).value is None


def test_an_answer_without_a_value_is_not_known() -> None:
    class Empty(ServiceQuotas):
        def on_get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
            return {"Quota": {"QuotaCode": QuotaCode}}

    assert quotas.read(Empty({}), "ml.g5.2xlarge", TRAINING).value is None
