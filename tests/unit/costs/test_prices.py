"""The price of a second: listed by AWS, or pinned, and never guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PriceUnknown
from common.pricing import prices
from common.pricing.prices import Price
from preflight.money import find_price
from tests.doubles.price_list import PriceList, product

HOURLY = st.decimals("0.01", "99", places=4)


def listed(*products: dict[str, Any], use: str = "Training") -> Price | None:
    return prices.listed(PriceList(*products), "us-east-1", "ml.g5.2xlarge", use)


class TestListed:
    def test_training_and_hosting_have_prices_of_their_own(self) -> None:
        both = product("USE1-Train:ml.g5.2xlarge", "1.515"), product("USE1-Host:ml.g5.2xlarge", "1.6")

        assert listed(*both) == Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "AWS Price List")
        assert listed(*both, use="Hosting") == Price("ml.g5.2xlarge", "Hosting", Decimal("1.6"), "AWS Price List")

    def test_a_product_is_also_known_by_its_component(self) -> None:
        found = listed(product("USE1-something", "2.5", component="Training"))

        assert found is not None and found.hourly_usd == Decimal("2.5")

    def test_the_dearest_of_several_is_taken(self) -> None:
        found = listed(product("Train:ml.g5.2xlarge", "1.1"), product("USE1-Train:ml.g5.2xlarge", "1.9"))

        assert found is not None and found.hourly_usd == Decimal("1.9")

    @pytest.mark.parametrize(
        "other",
        [
            product("USE1-Notebk:ml.g5.2xlarge", "1.515"),
            product("USE1-Train:ml.g5.24xlarge", "10.18"),
            product("USE1-SpotTrain:ml.g5.2xlarge", "0.5"),
            product("USE1-Train:ml.g5.2xlarge", "0.0"),
            product("USE1-Train:ml.g5.2xlarge", None),
            product("USE1-Train:ml.g5.2xlarge", "9.9", unit="GB"),
            {"product": {}, "terms": {"Reserved": {}}},
        ],
        ids=["another use", "another type", "spot", "free", "another currency", "another unit", "without a price"],
    )
    def test_what_is_not_the_hourly_price_of_this_use_is_left_alone(self, other: dict[str, Any]) -> None:
        assert listed(other) is None

    def test_the_list_is_asked_for_the_type_and_the_region(self) -> None:
        pricing = PriceList()
        prices.listed(pricing, "eu-west-1", "ml.g6.2xlarge", "Hosting")

        assert pricing.asked["ServiceCode"] == "AmazonSageMaker"
        assert {f["Field"]: f["Value"] for f in pricing.asked["Filters"]} == {
            "instanceName": "ml.g6.2xlarge",
            "regionCode": "eu-west-1",
        }


class TestWhatCannotBeTrue:
    """A price that would reserve next to nothing, or that is no number, is as good as none."""

    @pytest.mark.parametrize("usd", ["NaN", "sNaN", "abc", "", "Infinity", "-Infinity", "-1", "0", "-0.0", "0.000001", "$1.515",
                                     "0.378", "1000.01", "1E+30"])  # fmt: skip
    def test_a_listed_price_of_nan_and_the_like_is_ignored_in_favour_of_the_pinned_one(self, usd: str) -> None:
        pricing = PriceList(product("USE1-Train:ml.g5.2xlarge", usd))

        assert prices.listed(pricing, "us-east-1", "ml.g5.2xlarge", "Training") is None
        price = find_price(pricing, "us-east-1", "ml.g5.2xlarge", "Training")
        assert (price.hourly_usd, price.source[:12]) == (Decimal("1.515"), "pinned table")

    @pytest.mark.parametrize("usd", ["0.37875", "0.9", "6.2", "1000"])
    def test_one_that_can_be_true_is_believed(self, usd: str) -> None:
        found = listed(product("USE1-Train:ml.g5.2xlarge", usd))

        assert found is not None and found.hourly_usd == Decimal(usd)

    @pytest.mark.parametrize("usd", ["NaN", "abc", "Infinity", "-1", "0.000001", "0.1839"])
    def test_where_nothing_is_pinned_it_leaves_the_price_unknown(self, usd: str) -> None:
        with pytest.raises(PriceUnknown):
            find_price(PriceList(product("Train:ml.p9.large", usd)), "us-east-1", "ml.p9.large", "Training")

    def test_where_nothing_is_pinned_a_quarter_of_the_cheapest_gpu_is_believed(self) -> None:
        pricing = PriceList(product("Train:ml.p9.large", "0.184"))

        assert find_price(pricing, "us-east-1", "ml.p9.large", "Training").hourly_usd == Decimal("0.184")

    def test_what_cannot_be_true_hides_no_price_beside_it(self) -> None:
        found = listed(*(product("USE1-Train:ml.g5.2xlarge", usd) for usd in ("NaN", "1.6", "Infinity")))

        assert found is not None and found.hourly_usd == Decimal("1.6")

    @pytest.mark.parametrize("usd", [None, {"a": 1}, ["x"]])
    def test_what_is_not_even_a_text_is_no_price(self, usd: Any) -> None:
        odd = product("USE1-Train:ml.g5.2xlarge", "1")
        odd["terms"]["OnDemand"]["t"]["priceDimensions"]["d"]["pricePerUnit"] = {"USD": usd}

        assert listed(odd) is None


class TestPinned:
    def test_the_default_instance_is_in_the_table_with_its_date(self) -> None:
        price = prices.pinned("us-east-1", "ml.g5.2xlarge", "Training")

        assert price.hourly_usd == Decimal("1.515")
        assert price.source.startswith("pinned table of 20")

    def test_the_table_names_its_source(self) -> None:
        table = json.loads(prices._TABLE.read_text("utf-8"))

        assert {"source", "date", "hourly_usd"} <= set(table)

    @pytest.mark.parametrize(("region", "kind"), [("us-east-1", "ml.p5.48xlarge"), ("eu-north-9", "ml.g5.2xlarge")])
    def test_a_type_or_region_without_a_price_is_refused_because_unknown_is_not_free(
        self, region: str, kind: str
    ) -> None:
        with pytest.raises(PriceUnknown, match=f"No price is known for {kind}.*{region}.*unknown is not free"):
            prices.pinned(region, kind, "Training")


class TestFound:
    def test_the_list_goes_before_the_table(self) -> None:
        pricing = PriceList(product("USE1-Train:ml.g5.2xlarge", "7.7"))

        assert find_price(pricing, "us-east-1", "ml.g5.2xlarge", "Training").hourly_usd == Decimal("7.7")

    @pytest.mark.parametrize(
        "error",
        [
            ConnectTimeoutError(endpoint_url="x"),
            ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetProducts"),
        ],
    )
    def test_a_list_out_of_reach_is_replaced_by_the_table(self, error: Exception) -> None:
        price = find_price(PriceList(error=error), "us-east-1", "ml.g5.2xlarge", "Training")

        assert price.source.startswith("pinned table")

    def test_a_type_that_neither_knows_is_refused(self) -> None:
        with pytest.raises(PriceUnknown):
            find_price(PriceList(), "us-east-1", "ml.unheard.of", "Training")


class TestArithmetic:
    def test_an_hour_costs_the_hourly_price_rounded_up_to_a_cent(self) -> None:
        assert prices.pinned("us-east-1", "ml.g5.2xlarge", "Training").cents(3600) == 152

    def test_a_whole_number_of_cents_is_not_rounded_up(self) -> None:
        assert Price("x", "Training", Decimal("36"), "test").cents(7) == 7

    @given(HOURLY, st.integers(0, 200_000))
    def test_a_cost_is_never_short_and_never_a_cent_too_much(self, hourly: Decimal, seconds: int) -> None:
        exact = Fraction(hourly) * 100 * seconds / 3600

        assert 0 <= Price("x", "Training", hourly, "test").cents(seconds) - exact < 1

    @given(HOURLY, st.integers(0, 100_000))
    def test_the_seconds_that_cents_buy_never_cost_more_than_these_cents(self, hourly: Decimal, cents: int) -> None:
        price = Price("x", "Training", hourly, "test")

        assert price.cents(price.seconds(cents)) <= cents < price.cents(price.seconds(cents) + 1) + 1
