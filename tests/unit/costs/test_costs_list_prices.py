"""Everything that is set aside beside the instances, item by item: what it is, how much of it, and what AWS lists for it.

Prices stand here as AWS states them (us-east-1, 2026): by the million where it counts by the million. Amounts stand as what the
project does, so that a slip in either changes a figure here.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from common.pricing import costs

MILLION = 1_000_000
# 744 hours are the longest month.
SWEEPS = 744 * 4

# US dollars, and how many of AWS's units they buy.
S3_GB_MONTH = (23, 1000)
# S3's dearest requests are $0.005 a thousand, DynamoDB's writes $0.000625: a fifth is added to the dearer one.
REQUEST = (6, MILLION)
# An Arm processor, rounded up.
LAMBDA_GB_SECOND = (Fraction("13.3334"), MILLION)
LAMBDA_REQUEST = (Fraction("0.20"), MILLION)
STATE_TRANSITION = (25, MILLION)
LOGS_GB = (1, 2)
X_RAY_TRACE = (5, MILLION)
DYNAMODB_READ = (Fraction("0.125"), MILLION)
# $0.25 for the table and $0.20 for its continuous backups.
DYNAMODB_GB_MONTH = (Fraction("0.25") + Fraction("0.20"), 1)

# What it is → how many of AWS's units are used, and their price.
A_RUN = {
    "S3 storage, GB-months of adapter, answers and reports": (1, S3_GB_MONTH),
    "S3 and DynamoDB requests, thousands": (2000, REQUEST),
    "Lambda, GB-seconds": (900, LAMBDA_GB_SECOND),
    "Step Functions, state transitions": (1000, STATE_TRANSITION),
    "CloudWatch Logs, GB": (Fraction(1, 10), LOGS_GB),
    "X-Ray traces, thousands": (1000, X_RAY_TRACE),
}
A_MONTH = {
    "S3 storage of earlier runs and their last checkpoints, GB-months": (10, S3_GB_MONTH),
    # A quarter of a gigabyte for ten seconds.
    "Lambda, GB-seconds of the sweeper": (SWEEPS * Fraction(256, 1024) * 10, LAMBDA_GB_SECOND),
    "Lambda requests of the sweeper, millions": (SWEEPS, LAMBDA_REQUEST),
    # A ledger of 300 KB, read 4 KB at a time.
    "DynamoDB, reads of the sweeper, millions of 4 KB": (SWEEPS * 300 // 4, DYNAMODB_READ),
    "DynamoDB, GB-months of the ledger and its backups": (Fraction(1, 10), DYNAMODB_GB_MONTH),
    "CloudWatch Logs, GB of the sweeper": (Fraction(1, 20), LOGS_GB),
    "X-Ray traces of the sweeper, thousands": (SWEEPS, X_RAY_TRACE),
}
A_REFUSED_EXECUTION = {
    # Preflight with 1,769 MB until its time-out of 180 seconds, and 30 for the rest.
    "Lambda, GB-seconds": (Fraction(1769, 1024) * 180 + 30, LAMBDA_GB_SECOND),
    "Step Functions, state transitions": (40, STATE_TRANSITION),
    "S3 and DynamoDB requests, thousands": (50, REQUEST),
    "CloudWatch Logs, GB": (Fraction(100, MILLION), LOGS_GB),
    "X-Ray traces, thousands": (10, X_RAY_TRACE),
}


@pytest.mark.parametrize(
    ("items", "specified"),
    [
        (costs.SMALL_ITEMS, A_RUN),
        (costs.STANDING_ITEMS, A_MONTH),
        (costs.LOOK_ITEMS, A_REFUSED_EXECUTION),
    ],
    ids=["a run", "a month", "a refused execution"],
)
def test_each_item_costs_what_aws_lists_for_what_is_used(
    items: costs.Items, specified: dict[str, tuple[Fraction | int, tuple[Fraction | int, int]]]
) -> None:
    reserved = {what: Fraction(amount) * Fraction(price) for what, amount, price in items}

    assert len(reserved) == len(items)
    assert reserved == {what: used * Fraction(usd) / units for what, (used, (usd, units)) in specified.items()}


def test_the_prices_that_several_items_share_are_those_of_one_unit() -> None:
    shared = (costs.S3_GB_MONTH, costs.LAMBDA_GB_SECOND, costs.STATE_TRANSITION, costs.LOGS_GB)

    assert [Fraction(price) for price in shared] == [
        Fraction(usd) / units for usd, units in (S3_GB_MONTH, LAMBDA_GB_SECOND, STATE_TRANSITION, LOGS_GB)
    ]


def test_two_cents_of_each_dollar_are_for_executions_that_are_refused() -> None:
    assert Decimal(2) / 100 == costs.LOOKS_SHARE


def test_both_models_asked_at_once_hold_one_gigabyte_and_the_small_items_hold_a_hundred_minutes_of_it() -> None:
    assert costs.ASK_GB * 1024 == 2 * 512
    assert costs.HELD_ENDPOINT_SECONDS == 60 * 100


def test_the_sweeper_looks_every_quarter_of_an_hour_of_the_longest_month() -> None:
    assert costs.SWEEPS == SWEEPS == 2976
