"""Service quotas: what a new account usually lacks."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from preflight.account import quotas
from preflight.account.quotas import ENDPOINT, TRAINING, Need, Quota
from tests.doubles.lambda_fakes import refusal
from tests.doubles.service_quotas import ServiceQuotas

KNOWN, OTHER = "ml.g5.2xlarge", "ml.g6.2xlarge"
APPLIED, DEFAULT = "list_service_quotas", "list_aws_default_service_quotas"


class Slow:
    """A clock that each look moves on."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = -seconds, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def one(service: ServiceQuotas, kind: str = KNOWN, use: str = ENDPOINT, **more: Any) -> Quota:
    """The only quota that is asked for."""
    (quota,) = quotas.read(service, [Need([kind], use, 1)], **more)[use]
    return quota


def test_the_applied_value_counts() -> None:
    quota = one(ServiceQuotas({"L-2D6DEB3C": 2.0}, {"L-2D6DEB3C": 0.0}), use=TRAINING)
    assert (quota.value, quota.shortage(1), quota.shortage(2)) == (2, "", "")


def test_a_quota_that_was_never_raised_has_the_default_value() -> None:
    assert one(ServiceQuotas({}, {"L-9614C779": 0.0})).value == 0


def test_training_and_endpoint_have_quotas_of_their_own() -> None:
    asked = ServiceQuotas({"L-2D6DEB3C": 1.0, "L-9614C779": 0.0})
    read = quotas.read(asked, [Need([KNOWN], TRAINING, 1), Need([KNOWN], ENDPOINT, 1)])
    assert {use: [quota.value for quota in of] for use, of in read.items()} == {TRAINING: [1], ENDPOINT: [0]}


def test_a_shortage_names_the_quota_its_code_and_how_much_is_needed() -> None:
    quota = one(ServiceQuotas({"L-9614C779": 0.0}))
    assert quota.shortage(1) == 'the quota "ml.g5.2xlarge for endpoint usage" (code L-9614C779) is 0 and 1 is needed'
    assert quota.shortage(2).endswith("is 0 and 2 are needed")


def test_what_has_a_code_of_old_is_asked_for_without_a_listing() -> None:
    asked = ServiceQuotas({"L-9614C779": 1.0})
    one(asked)
    assert [operation for operation, _ in asked.calls] == ["get_service_quota"]


@pytest.mark.parametrize("trouble", [[refusal("AccessDeniedException")], []], ids=["refused", "no such code"])
def test_what_is_not_told_by_its_code_is_sought_by_its_name(trouble: list[Exception]) -> None:
    asked = ServiceQuotas({"L-NEW": 3.0})
    asked.names = {"L-NEW": f"{KNOWN} for {ENDPOINT}"}
    asked.troubles["get_service_quota"] = trouble
    quota = one(asked)
    assert (quota.value, quota.code) == (3, "L-NEW")


class TestAnotherInstanceType:
    def test_is_looked_up_by_its_name_on_every_page_and_its_code_is_told(self) -> None:
        quota = one(ServiceQuotas({"L-2": 0.0}), OTHER)
        assert (quota.value, quota.code) == (0, "L-2")
        assert '"ml.g6.2xlarge for endpoint usage" (code L-2) is 0' in quota.shortage(1)

    def test_shares_one_listing_with_all_others_in_the_largest_pages(self) -> None:
        asked = ServiceQuotas({"L-1": 1.0, "L-2": 2.0, "L-3": 3.0, "L-4": 4.0, "L-2D6DEB3C": 5.0})
        asked.names |= {"L-3": f"{OTHER} for {TRAINING}", "L-4": f"ml.g6.xlarge for {TRAINING}"}
        read = quotas.read(
            asked, [Need([KNOWN, OTHER, "ml.g6.xlarge"], TRAINING, 1), Need([OTHER, "ml.g6.xlarge"], ENDPOINT, 1)]
        )
        assert [quota.value for quota in read[TRAINING]] == [5, 3, 4]
        assert [quota.value for quota in read[ENDPOINT]] == [2, 1]
        assert [request.get("NextToken") for request in asked.called(APPLIED)] == [None, "100", "200"]
        assert {request["MaxResults"] for request in asked.called(APPLIED)} == {100}
        assert asked.called(DEFAULT) == []

    def test_is_no_longer_looked_for_when_all_are_found(self) -> None:
        asked = ServiceQuotas({"L-2": 3.0})
        asked.names = {"L-2": f"{OTHER} for {ENDPOINT}"} | {f"L-M{n}": f"ml.p{n} for {ENDPOINT}" for n in range(200)}
        asked.applied |= dict.fromkeys(asked.names, 3.0)
        assert one(asked, OTHER).value == 3
        assert len(asked.called(APPLIED)) == 3, "of five pages"

    @pytest.mark.parametrize("default", [0.0, 4.0])
    def test_that_the_applied_listing_lacks_has_its_default(self, default: float) -> None:
        asked = ServiceQuotas({"L-1": 1.0}, {"L-1": 0.0, "L-2": default})
        read = quotas.read(asked, [Need([OTHER, "ml.g6.xlarge"], ENDPOINT, 1)])[ENDPOINT]
        assert [(quota.value, quota.code) for quota in read] == [(default, "L-2"), (1, "L-1")]
        assert bool(read[0].shortage(1)) == (default == 0)
        assert [len(asked.called(operation)) for operation in (APPLIED, DEFAULT)] == [3, 3]

    def test_without_a_quota_is_not_known(self) -> None:
        quota = one(ServiceQuotas({}), "ml.unheard.of")
        assert (quota.value, quota.shortage(1), quota.why_unknown) == (None, "", "AWS lists no such quota")

    def test_that_the_listing_did_not_come_to_is_not_taken_for_one_that_was_never_raised(self) -> None:
        asked = ServiceQuotas({"L-2": 1.0}, {"L-2": 0.0})
        asked.troubles[APPLIED] = [refusal("TooManyRequestsException")]
        quota = one(asked, OTHER)
        assert (quota.value, quota.why_unknown) == (None, "AWS answered TooManyRequestsException")
        assert asked.called(DEFAULT) == []

    def test_that_was_found_before_the_defaults_were_refused_is_known(self) -> None:
        asked = ServiceQuotas({"L-1": 1.0}, {"L-2": 0.0})
        asked.troubles[DEFAULT] = [refusal("AccessDeniedException")]
        read = quotas.read(asked, [Need(["ml.g6.xlarge", OTHER], ENDPOINT, 1)])[ENDPOINT]
        assert [(quota.value, quota.why_unknown) for quota in read] == [
            (1, ""),
            (None, "AWS answered AccessDeniedException"),
        ]

    def test_that_aws_lists_without_a_value_is_not_known(self) -> None:
        class Empty(ServiceQuotas):
            def on_list_service_quotas(self, ServiceCode: str, MaxResults: int, NextToken: str = "0") -> dict[str, Any]:
                return {"Quotas": [{"QuotaName": f"{OTHER} for {ENDPOINT}", "QuotaCode": "L-2"}]}

        quota = one(Empty({}, {"L-2": 0.0}), OTHER)
        assert (quota.value, quota.code, quota.why_unknown) == (None, "L-2", "AWS told no value")


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (refusal("AccessDeniedException"), "AWS answered AccessDeniedException"),
        (refusal("TooManyRequestsException"), "AWS answered TooManyRequestsException"),
        (ConnectTimeoutError(endpoint_url="quotas"), "AWS did not answer (ConnectTimeoutError)"),
    ],
)
def test_quotas_that_cannot_be_asked_are_not_known_and_refuse_nothing(trouble: Exception, why: str) -> None:
    asked = ServiceQuotas({"L-2D6DEB3C": 1.0})
    asked.troubles["get_service_quota"] = [trouble]
    quota = one(asked, use=TRAINING)
    assert (quota.value, quota.shortage(1), quota.why_unknown) == (None, "", why)


def test_no_question_is_begun_when_the_time_is_over() -> None:
    asked = ServiceQuotas({"L-9614C779": 1.0, "L-2": 1.0}, {"L-2": 0.0})
    read = quotas.read(asked, [Need([KNOWN, OTHER], ENDPOINT, 1)], Slow(seconds=7.0))[ENDPOINT]
    assert [(quota.value, quota.why_unknown) for quota in read] == [
        (1, ""),
        (None, "AWS did not tell it within 20 seconds"),
    ]
    assert [operation for operation, _ in asked.calls] == ["get_service_quota", APPLIED]


def test_an_answer_without_a_value_is_not_known() -> None:
    class Empty(ServiceQuotas):
        def on_get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
            return {"Quota": {"QuotaCode": QuotaCode}}

    quota = one(Empty({}), use=TRAINING)
    assert (quota.value, quota.why_unknown) == (None, "AWS told no value")
