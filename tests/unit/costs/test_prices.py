"""The price of a second: listed by AWS, or pinned, and never guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PriceUnknown
from common.pricing import prices
from common.pricing.prices import Price
from preflight.money import find_price
from tests.doubles.lambda_fakes import Pricing, refusal

HOURLY = st.decimals("0.01", "99", places=4)
NO_NUMBERS: list[Any] = ["NaN", "sNaN", "abc", "", "Infinity", "-Infinity", "$1.515", None, {"a": 1}, ["x"]]
IMPOSSIBLE = ["-1", "0", "-0.0", "0.000001", "0.378", "1000.01", "1E+30"]
TRAINING = "USE1-Train:ml.g5.2xlarge"


def product(usagetype: str, usd: Any, unit: str = "Hrs", component: str | None = None) -> dict[str, Any]:
    """A product as the Price List describes it; without dollars it is sold in another currency."""
    attributes = {"usagetype": usagetype} | ({"component": component} if component else {})
    per_unit = {"CNY": "9"} if usd == "CNY" else {"USD": usd}
    terms = {"OnDemand": {"t": {"priceDimensions": {"d": {"unit": unit, "pricePerUnit": per_unit}}}}}
    return {"product": {"attributes": attributes}, "terms": terms}


def found(*products: dict[str, Any], use: str = "Training", instance_type: str = "ml.g5.2xlarge") -> Price:
    return find_price(Pricing(*products), "us-east-1", instance_type, use)


class TestListed:
    def test_training_and_hosting_have_separate_prices(self) -> None:
        both = product(TRAINING, "1.515"), product("USE1-Host:ml.g5.2xlarge", "1.6")

        assert found(*both) == Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "AWS Price List")
        assert found(*both, use="Hosting") == Price("ml.g5.2xlarge", "Hosting", Decimal("1.6"), "AWS Price List")

    @pytest.mark.parametrize(
        ("products", "usd"),
        [
            ([product("USE1-something", "2.5", component="Training")], "2.5"),
            ([product("Train:ml.g5.2xlarge", "1.1"), product(TRAINING, "1.9")], "1.9"),  # the dearest of several
            ([product(TRAINING, usd) for usd in ("NaN", "1.6", "Infinity")], "1.6"),
            *([([product(TRAINING, usd)], usd) for usd in ("0.37875", "0.9", "6.2", "7.7", "1000")]),
        ],
    )
    def test_the_list_goes_before_the_table(self, products: list[dict[str, Any]], usd: str) -> None:
        assert (found(*products).hourly_usd, found(*products).source) == (Decimal(usd), "AWS Price List")

    @pytest.mark.parametrize(
        "other",
        [
            product("USE1-Notebk:ml.g5.2xlarge", "1.6"),
            product("USE1-Train:ml.g5.24xlarge", "10.18"),
            product("USE1-SpotTrain:ml.g5.2xlarge", "0.5"),
            product(TRAINING, "CNY"),
            product(TRAINING, "9.9", unit="GB"),
            {"product": {}, "terms": {"Reserved": {}}},
            # What cannot be true: it would reserve next to nothing, or is no number.
            *(product(TRAINING, usd) for usd in (*NO_NUMBERS, *IMPOSSIBLE)),
        ],
    )
    def test_what_is_no_hourly_price_of_this_use_is_ignored(self, other: dict[str, Any]) -> None:
        assert prices.listed(Pricing(other), "us-east-1", "ml.g5.2xlarge", "Training") is None
        assert (found(other).hourly_usd, found(other).source[:12]) == (Decimal("1.515"), "pinned table")

    @pytest.mark.parametrize("usd", ["NaN", "abc", "Infinity", "-1", "0.000001", "0.1839", None])
    def test_an_unpinned_type_without_a_credible_price_is_refused(self, usd: str | None) -> None:
        with pytest.raises(PriceUnknown):
            found(*([product("Train:ml.p9.large", usd)] if usd else []), instance_type="ml.p9.large")

    def test_of_an_unpinned_type_a_quarter_of_the_cheapest_gpu_is_credible(self) -> None:
        assert found(product("Train:ml.p9.large", "0.184"), instance_type="ml.p9.large").hourly_usd == Decimal("0.184")

    def test_the_list_is_asked_for_type_and_region(self) -> None:
        pricing = Pricing(product("EUW1-Train:ml.g6.2xlarge", "1.7"))
        find_price(pricing, "eu-west-1", "ml.g6.2xlarge", "Training")

        (request,) = pricing.called("get_products")
        assert request["ServiceCode"] == "AmazonSageMaker"
        assert {(one["Type"], one["Field"], one["Value"]) for one in request["Filters"]} == {
            ("TERM_MATCH", "instanceName", "ml.g6.2xlarge"),
            ("TERM_MATCH", "regionCode", "eu-west-1"),
        }


class TestPinned:
    @pytest.mark.parametrize("use", ["Training", "Hosting"])
    @pytest.mark.parametrize("error", [None, ConnectTimeoutError(endpoint_url="x"), refusal("AccessDeniedException")])
    def test_the_table_replaces_a_list_out_of_reach(self, error: Exception | None, use: str) -> None:
        pricing = Pricing()
        pricing.troubles["get_products"] = [error]
        price = find_price(pricing, "us-east-1", "ml.g5.2xlarge", use)

        assert (price.hourly_usd, price.use) == (Decimal("1.515"), use)
        assert price.source.startswith("pinned table of 20")
        assert {"source", "date", "hourly_usd"} <= set(json.loads(prices._TABLE.read_text("utf-8")))

    @pytest.mark.parametrize(("region", "kind"), [("us-east-1", "ml.p5.48xlarge"), ("eu-north-9", "ml.g5.2xlarge")])
    def test_an_unknown_type_or_region_is_refused_because_unknown_is_not_free(self, region: str, kind: str) -> None:
        with pytest.raises(PriceUnknown, match=f"No price is known for {kind}.*{region}.*unknown is not free"):
            prices.pinned(region, kind, "Training")


class TestArithmetic:
    @pytest.mark.parametrize(("hourly", "seconds", "cents"), [("1.515", 3600, 152), ("36", 7, 7)])
    def test_a_cost_is_rounded_up_to_whole_cents(self, hourly: str, seconds: int, cents: int) -> None:
        assert Price("x", "Training", Decimal(hourly), "test").cents(seconds) == cents

    @given(HOURLY, st.integers(0, 200_000))
    def test_a_cost_is_never_short_and_never_a_cent_too_much(self, hourly: Decimal, seconds: int) -> None:
        exact = Fraction(hourly) * 100 * seconds / 3600

        assert 0 <= Price("x", "Training", hourly, "test").cents(seconds) - exact < 1

    @given(HOURLY, st.integers(0, 100_000))
    def test_cents_never_buy_seconds_that_cost_more(self, hourly: Decimal, cents: int) -> None:
        price = Price("x", "Training", hourly, "test")

        assert price.cents(price.seconds(cents)) <= cents < price.cents(price.seconds(cents) + 1) + 1
