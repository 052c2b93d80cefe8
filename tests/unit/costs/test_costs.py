"""What a second, a run and a month cost, to the cent: prices are listed by AWS or pinned, and never guessed."""

import json
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from common.errors import PriceUnknown
from common.pricing import costs, prices
from common.pricing.prices import Price
from preflight.money import find_price
from tests.doubles.lambda_fakes import Pricing, refusal

ROOT = Path(__file__).parents[3]
PRICE = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
THIRD = Fraction(1, 3)
NO_PRICES: list[Any] = ["NaN", "sNaN", "abc", "", "Infinity", "-Infinity", "$1.515", None, {"a": 1}, ["x"], "-1", "0"]
TRAINING = "USE1-Train:ml.g5.2xlarge"


class TestWhatIsReserved:
    def test_the_amounts_are_those_of_the_deployed_functions(self) -> None:
        # Here, because the stacks take seconds to import.
        from stacks.watching.alarms import SWEEP_MINUTES
        from verification.simulation.definitions import functions

        assert costs.SWEEPS * SWEEP_MINUTES == 31 * 24 * 60
        assert functions()["sweeper"][0] == 256
        assert functions()["preflight"] == (1769, 180)


class TestTheWorstCase:
    # Every fraction of a cent is rounded up, in two months twice; everything beside the instances is then there twice.
    @pytest.mark.parametrize(
        ("training", "endpoint", "months", "kept", "cents"),
        [
            (7620, 2400, 1, 0, (321, 101, 23)),
            (1, 1, 1, 0, (1, 1, 23)),
            (7620, 2400, 2, 0, (322, 102, 46)),
            (7620, 2400, 2, 14, (322, 102, 2 * (23 + 14))),
            # As long as an endpoint may serve, so long Ask may ask it.
            (7620, 2401, 1, 0, (321, 102, 23 + 1)),
            (7620, 16800, 2, 0, (322, 708, 2 * (23 + 20))),
        ],
    )
    def test_it_is_training_endpoint_and_everything_beside_them(
        self, training: int, endpoint: int, months: int, kept: int, cents: tuple[int, int, int]
    ) -> None:
        worst = costs.worst_case(PRICE, PRICE, training, endpoint, months, kept)

        assert (worst.training_cents, worst.endpoint_cents, worst.other_cents) == cents
        assert worst.cents == sum(cents)
        assert (worst.training_seconds, worst.endpoint_seconds) == (training, endpoint)
        assert months != 1 or costs.worst_case(PRICE, PRICE, training, endpoint) == worst

    @pytest.mark.parametrize(("seconds", "cents"), [(0, 0), (2400, 0), (2401, 1), (3149, 1), (3150, 2), (16800, 20)])
    def test_asking_costs_what_both_functions_take_until_the_removal(self, seconds: int, cents: int) -> None:
        assert costs.asking_cents(seconds) == cents

    @pytest.mark.parametrize(
        ("prompts", "samples", "cents"),
        [
            (0, 2, 0), (1, 0, 1), (230, 2, 1),
            # 180,000 answers of 5.5 kB at 1.6 cents a GB, and 12 times 270 MB of them as old versions at 2.3: 1.584 and 7.452 cents.
            (10_000, 8, 10),
            # A starter is sampled once at least.
            (20_000, 1, 8), (20_000, 0, 8),
        ],
    )  # fmt: skip
    def test_answers_cost_their_way_and_their_old_versions(self, prompts: int, samples: int, cents: int) -> None:
        assert costs.answers_cents(prompts, samples) == cents

    @pytest.mark.parametrize(
        ("seconds", "rank", "minutes", "cents"),
        [
            # 15 intervals and two at the end, both names, 496 MB each, 10 of 28 days at 2.3 cents a gigabyte: 13.85 cents.
            (8520, 16, 10, 14),
            # It grows with the rank and with every interval that is begun.
            (8520, 64, 10, 56), (8400, 64, 10, 53), (8401, 64, 10, 56), (1, 64, 10, 10), (600, 64, 10, 10),
            (601, 64, 10, 14), (1, 1, 10, 1), (7620, 16, 10, 13),
            # And with what the settings say; without any the last ones stay.
            (8520, 16, 1, 121), (8520, 16, 60, 5), (8520, 16, 0, 2),
            # Requests count beyond those that the small items hold.
            (8520, 1, 1, 11), (8520, 1, 2, 6), (8520, 1, 5, 2), (1180, 1, 1, 2),
            (0, 64, 10, 0),
        ],
    )  # fmt: skip
    def test_checkpoints_cost_storage_and_requests(self, seconds: int, rank: int, minutes: int, cents: int) -> None:
        assert costs.checkpoint_cents(seconds, rank, minutes) == cents


class TestWhatAMonthCostsBesideItsRuns:
    # 41.47 cents for the sweeper and storage, and 2.31 hundredths of the cap for refused executions and the readings of the ledger.
    @pytest.mark.parametrize(
        ("cap", "standing", "for_runs"),
        [(2500, 100, 2400), (2533, 100, 2433), (2534, 101, 2433), (43, 43, 0), (42, 43, 0), (0, 42, 0)],
    )
    def test_it_is_set_aside_before_any_run(self, cap: int, standing: int, for_runs: int) -> None:
        assert (costs.standing_cents(cap), costs.for_runs(cap)) == (standing, for_runs)

    @pytest.mark.parametrize("cap", [100, 2500, 100_000])
    def test_rejected_starts_are_bounded_by_their_share(self, cap: int) -> None:
        look = sum((amount * unit * 100 for _, amount, unit in costs.LOOK_ITEMS), Decimal(0))

        assert costs.looks_bound(cap) * look <= cap * costs.LOOKS_SHARE < (costs.looks_bound(cap) + 1) * look

    # Also what a cap leaves to the cent, and a cent more.
    @pytest.mark.parametrize("cents", [1, *(costs.for_runs(cap) + more for cap in (400, 2500) for more in (0, 1))])
    def test_the_cap_to_set_is_the_smallest_that_suffices(self, cents: int) -> None:
        dollars = costs.cap_for(cents)

        assert costs.for_runs(dollars * 100) >= cents > costs.for_runs(dollars * 100 - 100)


class TestMonthShares:
    @pytest.mark.parametrize(
        ("start", "end", "shares"),
        [
            ("2026-11-30T23:00Z", "2026-12-01T00:00Z", {"2026-11": 1}),
            ("2026-12-01T00:00Z", "2026-12-01T00:00Z", {"2026-12": 1}),
            ("2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00.000002Z", {"2026-12": THIRD, "2027-01": 2 * THIRD}),
        ],
    )
    def test_an_interval_is_split_at_midnight(self, start: str, end: str, shares: dict[str, Any]) -> None:
        assert costs.month_shares(datetime.fromisoformat(start), datetime.fromisoformat(end)) == shares


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
            ([product("Train:ml.g5.2xlarge", "1.6"), product(TRAINING, "1.9")], "1.9"),  # the dearest of several
            ([product(TRAINING, usd) for usd in ("NaN", "1.6", "Infinity")], "1.6"),
            *([([product(TRAINING, usd)], usd) for usd in ("1.515", "6.2", "7.7", "1000")]),
        ],
    )
    def test_a_higher_list_goes_before_the_table(self, products: list[dict[str, Any]], usd: str) -> None:
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
            *(product(TRAINING, usd) for usd in NO_PRICES),
        ],
    )
    def test_what_is_no_hourly_price_of_this_use_is_ignored(self, other: dict[str, Any]) -> None:
        assert prices.listed(Pricing(other), "us-east-1", "ml.g5.2xlarge", "Training") is None
        assert (found(other).hourly_usd, found(other).source[:12]) == (Decimal("1.515"), "pinned table")

    @pytest.mark.parametrize("usd", ["0.184", "0.7575", "1.514"])
    def test_a_list_that_says_less_than_the_table_is_not_believed(self, usd: str) -> None:
        price = found(product(TRAINING, usd))
        assert (price.hourly_usd, price.source[:12]) == (Decimal("1.515"), "pinned table")
        # Also where another of its prices is right, or dearer.
        assert found(product(TRAINING, usd), product(TRAINING, "1.6")).hourly_usd == Decimal("1.6")

    @pytest.mark.parametrize("usd", ["0.000001", "0.1839", "1000.01", "1E+9"])
    def test_a_price_that_cannot_be_is_rejected_by_name(self, usd: str) -> None:
        with pytest.raises(
            PriceUnknown,
            match=r"ml.g5.2xlarge \(Training\) in us-east-1 is .* an hour in the AWS Price List, outside \$0.184 to \$1000",
        ):
            found(product(TRAINING, usd))

    def test_an_unpinned_type_costs_what_the_list_says_or_is_rejected(self) -> None:
        with pytest.raises(PriceUnknown):
            found(instance_type="ml.p9.large")
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

    @pytest.mark.parametrize("usd", ["0", "-1.5", "0.1839", "1000.01", "NaN", "dear", None])
    def test_a_table_with_a_price_that_cannot_be_is_rejected(self, tmp_path: Path, usd: str | None) -> None:
        file = tmp_path / "prices.json"
        file.write_text(json.dumps({"hourly_usd": {"a": {"w": "0.184", "x": "1000", "y": usd}}}))
        with pytest.raises(PriceUnknown, match=rf"y in a is \${usd} an hour in .*prices.json.* run captune dev prices"):
            prices.table(file)

    @pytest.mark.parametrize(("region", "kind"), [("us-east-1", "ml.p5.48xlarge"), ("eu-north-9", "ml.g5.2xlarge")])
    def test_an_unknown_type_or_region_is_rejected_because_unknown_is_not_free(self, region: str, kind: str) -> None:
        with pytest.raises(PriceUnknown, match=f"Captune has no price for {kind}.*{region}"):
            prices.pinned(region, kind, "Training")
