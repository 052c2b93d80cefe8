"""What a run can cost at most, to the cent, item by item; and how a cost is split between two months."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.pricing import costs
from common.pricing.prices import Price
from stacks.configuration.settings import Settings

ROOT = Path(__file__).parents[3]
PRICE = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))

# US dollars for each item of a run, of a month, and of an execution that is refused, as AWS lists it in us-east-1.
A_RUN = {
    "S3 storage, GB-months of adapter, answers and reports": "0.023",
    # S3's dearest requests are $0.005 a thousand, DynamoDB's writes $0.000625: a fifth is added to the dearer one.
    "S3 and DynamoDB requests, thousands": "0.012",
    # 900 on an Arm processor at $13.3334 a million, rounded up.
    "Lambda, GB-seconds": "0.01200006",
    "Step Functions, state transitions": "0.025",
    "CloudWatch Logs, GB": "0.05",
    "X-Ray traces, thousands": "0.005",
}
A_MONTH = {
    "S3 storage of earlier runs and their last checkpoints, GB-months": "0.23",
    # 2,976 sweeps of ten seconds with a quarter of a gigabyte, each of which reads a ledger of 300 KB, 4 KB at a time.
    "Lambda, GB-seconds of the sweeper": "0.099200496",
    "Lambda requests of the sweeper, millions": "0.0005952",
    "DynamoDB, reads of the sweeper, millions of 4 KB": "0.0279",
    # A tenth at $0.25 for the table and $0.20 for its continuous backups.
    "DynamoDB, GB-months of the ledger and its backups": "0.045",
    "CloudWatch Logs, GB of the sweeper": "0.025",
    "X-Ray traces of the sweeper, thousands": "0.01488",
}
A_REFUSED_EXECUTION = {
    # Preflight with 1,769 MB until its time-out of 180 seconds, and 30 GB-seconds for the rest.
    "Lambda, GB-seconds": "0.00454611648046875",
    "Step Functions, state transitions": "0.001",
    "S3 and DynamoDB requests, thousands": "0.0003",
    "CloudWatch Logs, GB": "0.00005",
    "X-Ray traces, thousands": "0.00005",
}


class TestWhatIsReserved:
    @pytest.mark.parametrize(
        ("items", "dollars"),
        [(costs.SMALL_ITEMS, A_RUN), (costs.STANDING_ITEMS, A_MONTH), (costs.LOOK_ITEMS, A_REFUSED_EXECUTION)],
        ids=["a run", "a month", "a refused execution"],
    )
    def test_each_item_costs_what_aws_lists_for_what_is_used(self, items: costs.Items, dollars: dict[str, str]) -> None:
        assert [(what, amount * price) for what, amount, price in items] == [
            (what, Decimal(usd)) for what, usd in dollars.items()
        ]

    def test_the_amounts_are_those_of_the_deployed_functions(self) -> None:
        # Here, because the stacks take seconds to import.
        from stacks.watching.alarms import SWEEP_MINUTES
        from verification.simulation.definitions import functions

        assert costs.SWEEPS * SWEEP_MINUTES == 31 * 24 * 60
        assert functions()["sweeper"][0] == 256
        memory, seconds = functions()["preflight"]
        assert (memory, seconds) == (1769, 180)

    def test_the_constants_of_checkpoints_and_answers(self) -> None:
        assert (costs.CHECKPOINT_MINUTES, costs.LAST_CHECKPOINTS, costs.CHECKPOINT_COPIES) == (10, 2, 2)
        assert (costs.CHECKPOINT_REQUESTS, costs.HELD_REQUESTS) == (46, 1000)
        assert (costs.CHECKPOINT_DAYS, costs.CHECKPOINT_BYTES_PER_RANK) == (10, 31_000_000)
        # Both models at once in 512 MB each; the small items hold a hundred minutes of it.
        assert (int(costs.ASK_GB * 1024), costs.HELD_ENDPOINT_SECONDS) == (2 * 512, 60 * 100)
        assert Decimal(2) / 100 == costs.LOOKS_SHARE

    def test_a_checkpoint_is_an_adapter_with_both_moments_of_adam(self) -> None:
        # Llama 2 7B: 32 layers of four 4,096 x 4,096 matrices, and three between 4,096 and 11,008.
        weights = 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))

        assert 12 * weights == 29_982_720
        assert 12 * weights <= costs.CHECKPOINT_BYTES_PER_RANK <= 1.05 * 12 * weights

    def test_training_writes_checkpoints_as_often_as_is_reserved(self) -> None:
        source = (ROOT / "training" / "arguments.py").read_text("utf-8")

        assert f"checkpoint_minutes: float = {costs.CHECKPOINT_MINUTES:.1f}  #" in source
        assert Settings().checkpoint_minutes == costs.CHECKPOINT_MINUTES

    def test_no_setting_exceeds_the_highest_rank(self) -> None:
        assert Settings.from_context({"lora_rank": costs.HIGHEST_LORA_RANK}).lora_rank == 64
        with pytest.raises(ValueError, match="to 64"):
            Settings.from_context({"lora_rank": costs.HIGHEST_LORA_RANK + 1})


class TestTheWorstCase:
    # Every fraction of a cent is rounded up, in two months twice; everything beside the instances is then there twice.
    @pytest.mark.parametrize(
        ("training", "endpoint", "months", "checkpoints", "cents"),
        [
            (7620, 6000, 1, 0, (321, 253, 13)),
            (1, 1, 1, 0, (1, 1, 13)),
            (7620, 6000, 2, 0, (322, 254, 26)),
            (7620, 6000, 2, 14, (322, 254, 2 * (13 + 14))),
            # An endpoint that may serve for hours may keep Ask busy for hours.
            (7620, 6001, 1, 0, (321, 253, 13 + 1)),
            (7620, 16800, 2, 0, (322, 708, 2 * (13 + 15))),
        ],
    )
    def test_it_is_training_endpoint_and_everything_beside_them(
        self, training: int, endpoint: int, months: int, checkpoints: int, cents: tuple[int, int, int]
    ) -> None:
        worst = costs.worst_case(PRICE, PRICE, training, endpoint, months, checkpoints)

        assert (worst.training_cents, worst.endpoint_cents, worst.other_cents) == cents
        assert worst.cents == sum(cents)
        assert (worst.training_seconds, worst.endpoint_seconds) == (training, endpoint)
        assert months != 1 or costs.worst_case(PRICE, PRICE, training, endpoint) == worst

    @pytest.mark.parametrize(("seconds", "cents"), [(0, 0), (6000, 0), (6001, 1), (6749, 1), (6750, 2), (16800, 15)])
    def test_slow_answers_cost_what_the_small_items_do_not_hold(self, seconds: int, cents: int) -> None:
        assert costs.slow_answers_cents(seconds) == cents

    @pytest.mark.parametrize(
        ("items", "cents"),
        [
            ([("1", "0.02")], 2),
            ([("1", "0.0200001")], 3),
            ([("1", "0.0299999")], 3),
            ([("3", "0.01"), ("2", "0.005")], 4),
        ],
    )
    def test_small_items_are_added_up_and_rounded_up_once(
        self, items: list[tuple[str, str]], cents: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = tuple((f"item {n}", Decimal(amount), Decimal(usd)) for n, (amount, usd) in enumerate(items))
        monkeypatch.setattr(costs, "SMALL_ITEMS", table)

        assert costs.small_items_cents() == cents

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
    def test_checkpoints_cost_their_storage_and_requests(
        self, seconds: int, rank: int, minutes: int, cents: int
    ) -> None:
        assert costs.checkpoint_cents(seconds, rank, minutes) == cents
        assert minutes != 10 or costs.checkpoint_cents(seconds, rank) == cents


class TestWhatAMonthCostsBesideItsRuns:
    # 44.26 cents for the sweeper and storage, and two hundredths of the cap for refused executions.
    @pytest.mark.parametrize(
        ("cap", "standing", "for_runs"),
        [(2500, 95, 2405), (2537, 95, 2442), (2538, 96, 2442), (46, 46, 0), (45, 46, 0), (0, 45, 0)],
    )
    def test_it_is_set_aside_before_any_run(self, cap: int, standing: int, for_runs: int) -> None:
        assert (costs.standing_cents(cap), costs.for_runs(cap)) == (standing, for_runs)

    @pytest.mark.parametrize("cap", [100, 2500, 100_000])
    def test_refused_starts_are_bounded_by_their_share(self, cap: int) -> None:
        look = sum((amount * unit * 100 for _, amount, unit in costs.LOOK_ITEMS), Decimal(0))

        assert costs.looks_bound(cap) * look <= cap * costs.LOOKS_SHARE < (costs.looks_bound(cap) + 1) * look
        assert cap != 2500 or costs.looks_bound(cap) == 84

    @pytest.mark.parametrize("cents", [1, 354, 355, 356, 2405, 2406])
    def test_the_cap_to_set_is_the_smallest_that_suffices(self, cents: int) -> None:
        dollars = costs.cap_for(cents)

        assert costs.for_runs(dollars * 100) >= cents > costs.for_runs(dollars * 100 - 100)


class TestMonthShares:
    @pytest.mark.parametrize(
        ("start", "end", "shares"),
        [
            (datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC), {"2026-11": 1}),
            (datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), {"2026-11": 1}),
            (datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), {"2026-12": 1}),
            (
                datetime(2026, 12, 31, 23, tzinfo=UTC),
                datetime(2027, 1, 1, 2, tzinfo=UTC),
                {"2026-12": Fraction(1, 3), "2027-01": Fraction(2, 3)},
            ),
        ],
    )
    def test_an_interval_is_split_at_midnight(
        self, start: datetime, end: datetime, shares: dict[str, Fraction | int]
    ) -> None:
        assert costs.month_shares(start, end) == shares

    @given(MOMENTS, MOMENTS)
    def test_the_shares_are_one_in_all(self, one: datetime, other: datetime) -> None:
        shares = costs.month_shares(min(one, other), max(one, other))

        assert sum(shares.values()) == 1
        assert all(share > 0 for share in shares.values())
