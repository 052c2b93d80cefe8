"""What really ran is billed by type, number and seconds, each month by itself; what was not reserved is reported."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.pricing import prices
from settle.billing import Tariff, Use, bill, endpoint_uses
from tests.doubles.lambda_fakes import NOW, SageMaker, arn, logged, refusal
from tests.doubles.run_end import START, job, visit
from tests.doubles.run_end import SettledSite as Site

CHEAP, DEAR, OTHER, UNPRICED = "ml.g6.2xlarge", "ml.g5.2xlarge", "ml.g5.12xlarge", "ml.p4d.24xlarge"
PRICES = f"{CHEAP}=3.6 {DEAR}=36"  # a tenth of a cent and a cent a second
HOUR, MIDNIGHT = timedelta(hours=1), datetime(2026, 12, 1, tzinfo=UTC)
SPOT = {"EnableManagedSpotTraining": True, "TrainingTimeInSeconds": 4000, "BillableTimeInSeconds": 1500}


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def life(created: int, gone: int | None = None, **more: Any) -> dict[str, Any]:
    """An endpoint as RemoveResources hands it on."""
    ended = {} if gone is None else {"goneAt": at(gone).isoformat()}
    return {"name": "captune-abc", "createdAt": at(created).isoformat(), **ended, **more}


def seen(*lives: Any, none: int | None = None) -> dict[str, Any]:
    """What looks saw: endpoints, and when none was listed first."""
    none_at = {} if none is None else {"noneAt": at(none).isoformat()}
    return {**({"lives": list(lives)} if lives else {}), **none_at}


def note(site: Site, *lives: Any) -> None:
    """Endpoints as an earlier tear-down noted them in the ledger."""
    if lives:
        site.ledger.noting("captune-abc", endpoint_seen=json.dumps(seen(*lives)))


def ran_on(instance_type: str, count: int = 1, seconds: int = 3600) -> dict[str, Any]:
    return {**job(seconds=seconds), "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": count}}


def endpoint_cost(site: Site, **event: Any) -> tuple[int, int]:
    """Endpoint seconds and cents."""
    cost = site.settle(**event)["record"]["cost"]
    return cost["endpoint_seconds"], cost["endpoint_cents"]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


@pytest.fixture
def priced(site: Site) -> Site:
    """A run without training that reserved a cheap and a dear type."""
    site.sagemaker.jobs = {}
    site.reserve(training_prices=PRICES, hosting_prices=PRICES)
    return site


class TestEndpoints:
    # What the ledger noted, what this tear-down saw, and the seconds and cents that come of it: at the dearest where no type is known.
    @pytest.mark.parametrize(
        ("noted", "saw", "cost"),
        [
            ([], [], (0, 0)),
            ([life(0, 99)], [], (100, 100)),
            ([], [life(0, 99)], (100, 100)),
            # The earlier end of one life: whoever saw first that it had gone is right.
            ([life(0, 59)], [life(0, 99)], (60, 60)),
            ([life(0, 99)], [life(0, 59)], (60, 60)),
            ([life(0)], [life(0, 59)], (60, 60)),
            # By clocks that differ it can seem to have gone before it was there.
            ([], [life(100, 50)], (0, 0)),
            # Each life by itself, whoever saw it.
            ([life(0, 99)], [life(1000, 1049)], (150, 150)),
            ([], [life(0, 99), life(1000, 1049, instanceType=CHEAP)], (150, 105)),
            # Until it is settled where nobody saw its end.
            ([], [life(0)], (3600, 3600)),
            # The type that really served, and the most instances that anyone saw; of two types the dearest.
            ([], [life(0, 99, instanceType=CHEAP, instanceCount=1)], (100, 10)),
            ([life(0, 99, instanceType=CHEAP, instanceCount=3)], [life(0, 99)], (300, 30)),
            ([life(0, 99, instanceCount=2)], [life(0, 99, instanceType=CHEAP, instanceCount=4)], (400, 40)),
            ([life(0, 99, instanceCount=4)], [life(0, 99, instanceType=CHEAP, instanceCount=2)], (400, 40)),
            ([life(0, 99, instanceType=DEAR)], [life(0, 99, instanceType=CHEAP)], (100, 100)),
        ],
    )
    def test_each_life_is_billed_by_all_that_saw_it(self, priced: Site, noted: Any, saw: Any, cost: Any) -> None:
        note(priced, *noted)
        assert endpoint_cost(priced, seen=seen(*saw) or None) == cost
        assert ("endpoint_seen" in priced.item) is bool(noted or saw)

    @pytest.mark.parametrize(
        ("noted", "first", "later_life", "later"),
        [
            ([life(0)], (3600, 3600), [], (3600, 3600)),
            ([life(0)], (3600, 3600), [life(0, 3599)], (3600, 3600)),
            ([life(0, 99)], (100, 100), [life(0, 199)], (100, 100)),
            ([], (0, 0), [life(4000)], (3200, 3200)),
            ([life(0, 99)], (100, 100), [life(4000, 4099)], (200, 200)),
            # Of the very second of the settlement: it ended with it.
            ([], (0, 0), [life(3600)], (0, 0)),
        ],
    )
    def test_a_second_recording_records_only_what_came_later(
        self, priced: Site, noted: list[Any], first: tuple[int, int], later_life: list[Any], later: tuple[int, int]
    ) -> None:
        note(priced, *noted)
        assert endpoint_cost(priced) == first
        priced.now += HOUR
        assert endpoint_cost(priced, seen=seen(*later_life)) == later
        priced.now += HOUR
        assert endpoint_cost(priced) == later
        assert priced.ledger.committed_cents("2026-11") == later[1] + 6

    @pytest.mark.parametrize(
        ("requests", "none", "now", "seconds"),
        [
            ([600], None, 3600, 3000), ([600, 1600], None, 3600, 3000), ([600], None, 9601, 9001), ([], None, 3600, 0),
            # The first look that found none bounds it, however long a service was away after that.
            ([600], 700, 90_000, 101), ([600], 600, 3600, 1), ([600], 599, 3600, 3000), ([], 700, 3600, 0),
        ],
    )  # fmt: skip
    def test_an_unseen_endpoint_counts_from_its_first_request_until_none_was_listed(
        self, priced: Site, requests: list[int], none: int | None, now: int, seconds: int
    ) -> None:
        for second in requests:
            priced.step_functions.histories[arn("abc")] += visit("CreateEndpoint", second, second + 1)
        priced.now = at(now)
        assert endpoint_cost(priced, seen=seen(none=none)) == (seconds, seconds)
        # A second tear-down finds none either, hours later, and comes to the same.
        priced.now += HOUR
        assert endpoint_cost(priced, seen=seen(none=now + 3600)) == (seconds, seconds)

    # Nobody saw the endpoint requested after 600 s where all that was seen came after a look that listed none, or after one was ready.
    @pytest.mark.parametrize(
        ("none", "ready", "lives", "seconds"),
        [
            (700, 9000, [life(1000, 1049)], 101 + 50), (700, 9000, [life(700, 749)], 100 + 50),
            (700, 9000, [life(699, 748)], 50), (700, 9000, [life(699, 748), life(2000, 2049)], 50 + 50),
            (599, 9000, [life(1000, 1049)], 50), (None, 9000, [life(1000, 1049)], 50),
            # It had gone when the next one took its name.
            (1050, 999, [life(1000, 1049)], 400 + 50), (1050, 1000, [life(1000, 1049)], 50),
        ],
    )  # fmt: skip
    def test_an_unseen_endpoint_counts_beside_one_that_came_after_it(
        self, priced: Site, none: int | None, ready: int, lives: list[Any], seconds: int
    ) -> None:
        history = priced.step_functions.histories[arn("abc")]
        history += [*visit("CreateEndpoint", 600, 601), *visit("AskBothModels", ready, ready + 1)]
        for _ in range(2):  # a second settlement adds nothing to it
            assert endpoint_cost(priced, seen=seen(*lives, none=none)) == (seconds, seconds)
            priced.now += HOUR

    # What was booked first, from the first noted look, and what somebody knows later: the cents and seconds that hold then.
    @pytest.mark.parametrize(
        ("first", "knows_better", "cost"),
        [
            (seen(none=90_000), seen(life(700, 799), none=850), (100, 100)),
            (seen(life(700), none=90_000), seen(life(700, 799)), (100, 100)),
            (seen(none=90_000), seen(none=650), (51, 51)),
            # One tear-down saw it hours later, the other had found none and never seen it.
            (seen(life(700, 80_000)), seen(none=799), (100, 100)),
            (seen(life(700, 749)), seen(none=760), (50, 50)),
            (seen(life(700, 899)), seen(none=761), (62, 62)),
            (seen(life(700, 899)), seen(none=760), (200, 200)),  # by clocks that differ it may have come after that
            (seen(life(700, 799)), seen(none=90_000), (100, 100)),
        ],
    )
    def test_what_an_outage_recorded_goes_back_once_someone_knows_better(
        self, priced: Site, capsys: pytest.CaptureFixture[str], first: Any, knows_better: Any, cost: tuple[int, int]
    ) -> None:
        priced.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 600, 601)
        priced.now = at(90_000)
        booked = endpoint_cost(priced, seen=first)[1]
        priced.now += HOUR
        outcome = priced.settle(seen=knows_better)
        money = outcome["record"]["cost"]
        assert (money["endpoint_seconds"], money["endpoint_cents"]) == cost
        assert priced.ledger.committed_cents("2026-11") == priced.item["actual_cents"] == money["actual_cents"]
        assert f"endpoint ${cost[1] / 100:.2f}" in outcome["message"]
        published = [one["ActualCents"] for one in logged(capsys, "metric")]
        assert sum(published) == money["actual_cents"]
        assert len(published) == (1 if booked == cost[1] else 2)

    def test_two_recordings_at_once_go_by_what_both_know(self, priced: Site) -> None:
        priced.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 600, 601)
        priced.ledger.before_a_write(lambda: note(priced, life(700, 799)))
        assert endpoint_cost(priced, seen=seen(none=3000)) == (100, 100)

    def test_a_forgotten_execution_takes_nothing_back(self, priced: Site) -> None:
        priced.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 600, 601)
        first = endpoint_cost(priced, seen=seen(none=700))
        priced.step_functions.executions.clear()
        assert endpoint_cost(priced) == first == (101, 101)

    def test_one_that_no_one_saw_stays_recorded_beside_one_that_came_after_the_recording(self, priced: Site) -> None:
        priced.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 600, 601)
        assert endpoint_cost(priced) == (3000, 3000)
        priced.now += HOUR
        assert endpoint_cost(priced, seen=seen(life(4000, 4049))) == (3050, 3050)

    # 6,000 seconds are reserved, and Ask's of them.
    @pytest.mark.parametrize(("seconds", "cents"), [(5999, 6), (6149, 6), (6150, 7), (36_000, 46)])
    def test_answers_of_an_endpoint_that_stayed_on_are_recorded(self, priced: Site, seconds: int, cents: int) -> None:
        for _ in range(2):  # a second settlement adds nothing to it
            priced.now += HOUR
            assert priced.settle(seen=seen(life(0, seconds - 1)))["record"]["cost"]["other_cents"] == cents
            assert priced.ledger.committed_cents("2026-11") == seconds + cents

    def test_one_requested_after_the_recording_counts_until_now(self) -> None:
        assert endpoint_uses({}, NOW + HOUR, NOW, NOW + 2 * HOUR) == [Use(NOW + HOUR, NOW + 2 * HOUR, "", 1)]


class TestTrainingSeconds:
    @pytest.mark.parametrize(
        ("removed", "changed", "seconds", "cents"),
        [
            ((), {"BillableTimeInSeconds": 700, "TrainingTimeInSeconds": 650}, 700, 30),
            (("BillableTimeInSeconds",), {"TrainingTimeInSeconds": 500}, 500, 22),
            (("BillableTimeInSeconds",), {}, 600, 26),
            (("BillableTimeInSeconds", "TrainingEndTime"), {}, 3600, 152),  # until it is settled
            (("BillableTimeInSeconds",), {"TrainingEndTime": START - timedelta(minutes=1)}, 0, 0),
            (("BillableTimeInSeconds", "TrainingStartTime", "TrainingEndTime"), {}, 0, 0),
            ((), {"ResourceConfig": {"InstanceType": DEAR}}, 600, 26),
            ((), {"ResourceConfig": {"InstanceCount": 1}}, 600, 26),
            # Spot: what was billed, 1,500 seconds, not what it took.
            ((), SPOT, 1500, 64),
        ],
    )
    def test_the_seconds_are_those_that_sagemaker_billed(
        self, site: Site, removed: tuple[str, ...], changed: dict[str, Any], seconds: int, cents: int
    ) -> None:
        kept = {key: value for key, value in job().items() if key not in removed}
        site.sagemaker.jobs["captune-abc"] = {**kept, **changed}
        record = site.settle()["record"]
        assert (record["cost"]["training_seconds"], record["cost"]["training_cents"]) == (seconds, cents)
        assert record["unreserved"] == []

    # Whether the run waited for training, what another job billed, and the seconds that are booked of 8,100 reserved.
    @pytest.mark.parametrize(
        ("waited", "others", "seconds"),
        [(True, {}, 8100), (False, {}, 0), (True, {"captune-abc-try1": job(seconds=620)}, 620)],
    )
    @pytest.mark.parametrize("listed_still", [True, False])
    def test_a_deleted_job_counts_as_it_was_reserved(
        self, site: Site, waited: bool, others: dict[str, Any], seconds: int, listed_still: bool
    ) -> None:
        if waited:
            waits = visit("WaitForTraining", 10, 20) + visit("WaitForTraining", 21, 22)
            site.step_functions.histories[arn("abc")] += waits
        site.sagemaker.jobs = others
        if listed_still:
            # It is deleted between the list and the question.
            site.sagemaker.jobs = {"captune-abc": job(seconds=77), **others}
            gone = refusal("ValidationException", "Requested resource not found.")
            site.sagemaker.troubles["describe_training_job"] = [gone]
        record = site.settle()["record"]
        cost = record["cost"]
        assert (cost["training_seconds"], cost["training_cents"]) == (seconds, -(-seconds * 1515 // 36000))
        assert record["unreserved"] == []

    def test_a_job_that_is_deleted_after_its_recording_stays_recorded_as_it_was(self, site: Site) -> None:
        site.step_functions.histories[arn("abc")] += visit("WaitForTraining", 10, 20)
        first = site.settle()["result"]
        site.sagemaker.jobs.clear()
        assert site.settle()["result"] == first
        # And beside what came later.
        site.now += HOUR
        cost = site.settle(seen=seen(life(4000, 4099)))["record"]["cost"]
        assert (cost["training_seconds"], cost["training_cents"], cost["actual_cents"]) == (600, 26, 32 + 5)

    def test_a_deleted_job_stays_recorded_beside_one_that_came_later(self, site: Site) -> None:
        site.step_functions.histories[arn("abc")] += visit("WaitForTraining", 10, 20)
        site.sagemaker.jobs.clear()
        first = site.settle()["result"]["actualCents"]
        site.sagemaker.jobs["captune-abc-try2"] = job()
        assert site.settle()["result"]["actualCents"] == first
        assert site.item["training_jobs"] == "captune-abc captune-abc-try2"

    def test_a_deleted_job_is_recorded_in_the_months_from_its_wait_on(self, site: Site) -> None:
        item: Any = {**site.item, "months": "2026-11,2026-12", "other_cents": 0, "training_instances": 2}
        made = bill(SageMaker(), "captune-abc", item, {"WaitForTraining": MIDNIGHT - HOUR}, MIDNIGHT + 2 * HOUR)
        # Of 8,100 seconds on each of two instances, 3,600 before midnight.
        assert (made.by_month, made.unreserved) == ({"2026-11": 303, "2026-12": 379}, ())

    def test_further_jobs_count_and_those_of_other_runs_do_not(self, site: Site) -> None:
        site.sagemaker.jobs = {"captune-abc-d": job(seconds=7200)}
        site.sagemaker.jobs |= {f"captune-abc{end}": job(seconds=360) for end in ("", "-try2", "-try3")}
        assert site.settle()["record"]["cost"]["training_seconds"] == 3 * 360
        booked = site.item["training_jobs"]
        assert booked == "captune-abc captune-abc-try2 captune-abc-try3"
        # It stays known when SageMaker lists one no longer.
        del site.sagemaker.jobs["captune-abc-try2"]
        site.settle()
        assert site.item["training_jobs"] == booked


class TestTypes:
    @pytest.mark.parametrize(
        ("reserved", "instance_type", "count", "cents", "reported"),
        [
            ({}, DEAR, 1, 152, None),
            ({"training_prices": PRICES}, CHEAP, 1, 360, None),
            ({"training_prices": PRICES}, DEAR, 1, 3600, None),
            ({"training_prices": PRICES}, UNPRICED, 1, 3600, f"one of {CHEAP} or {DEAR}: $36.00 at $36 an hour"),
            # The pinned table's price, where the type was not reserved; of a type that nobody knows the dearest of all.
            ({}, OTHER, 1, 709, "Training job captune-abc ran on 1 x ml.g5.12xlarge; reserved was one of ml.g5.2xlarge: $7.09 at $7.09 "
                                "an hour (pinned table of 2026-08-15)."),
            ({}, UNPRICED, 1, 709, "dearest in the pinned table"),
            ({"training_prices": "ml.g5.48xlarge=20"}, UNPRICED, 1, 2000, "reserved was one of ml.g5.48xlarge"),
            ({}, DEAR, 4, 606, f"ran on 4 x {DEAR}; reserved was one of"),
            ({}, "", 2, 303, f"ran on 2 x {DEAR}; reserved was one of"),
            ({"training_instances": 4}, DEAR, 4, 606, None),
            ({"training_instances": 4}, DEAR, 5, 758, f"ran on 5 x {DEAR}; reserved was 4 of {DEAR}: "),
            ({"training_prices": f"{DEAR}=1.515 {CHEAP}=1.222"}, CHEAP, 2, 245,
             f"ran on 2 x {CHEAP}; reserved was one of {DEAR} or {CHEAP}: $2.45 at $1.222 an hour (AWS Price List)."),
        ],
    )  # fmt: skip
    def test_training_is_billed_by_the_type_and_number_that_ran(
        self, site: Site, reserved: Any, instance_type: str, count: int, cents: int, reported: str | None
    ) -> None:
        site.reserve(**reserved)
        site.sagemaker.jobs["captune-abc"] = ran_on(instance_type, count)
        outcome = site.settle()
        cost, found = outcome["record"]["cost"], outcome["record"]["unreserved"]
        assert (cost["training_cents"], cost["training_seconds"]) == (cents, count * 3600)
        assert len(found) == (reported is not None)
        for one in found:
            assert str(reported) in one and one in outcome["message"]

    # Of a list, the type that was selected; the dearest where SageMaker does not tell.
    @pytest.mark.parametrize(
        ("selected", "cents"),
        [
            ({"SelectedInstanceType": CHEAP, "SelectedInstanceCount": 1}, 360),
            ({"SelectedInstanceType": CHEAP, "SelectedInstanceCount": 2}, 720),
            ({"SelectedInstanceType": DEAR}, 3600),
            ({"SelectedInstanceType": DEAR, "SelectedInstanceCount": 0, "InstanceCount": 0}, 3600),
            ({}, 3600),
        ],
    )
    def test_of_a_list_the_selected_type_is_billed(self, site: Site, selected: dict[str, Any], cents: int) -> None:
        site.reserve(training_prices=PRICES, training_instances=2)
        listed = {"InstancePreferences": [{"InstanceType": DEAR}, {"InstanceType": CHEAP}], "InstanceCount": 1}
        site.sagemaker.jobs["captune-abc"] = {**job(seconds=3600), "ResourceConfig": {**listed, **selected}}
        record = site.settle()["record"]
        assert (record["cost"]["training_cents"], record["unreserved"]) == (cents, [])

    def test_what_billed_nothing_is_not_reported(self, site: Site) -> None:
        site.sagemaker.jobs["captune-abc"] = ran_on(OTHER, seconds=0)
        assert site.settle()["record"]["unreserved"] == []

    @pytest.mark.parametrize(
        ("reserved", "described", "cents", "reported"),
        [
            ({}, {}, 152, None),
            ({}, {"instanceType": OTHER, "instanceCount": 1}, 709, "at $7.09 an hour (pinned table of 2026-08-15)."),
            # How many instances train says nothing of the endpoint.
            ({"training_instances": 4}, {"instanceType": DEAR, "instanceCount": 2}, 303, "The endpoint ran on 2 x"),
        ],
    )  # fmt: skip
    def test_endpoints_are_billed_by_the_type_that_served(
        self, site: Site, reserved: Any, described: Any, cents: int, reported: str | None
    ) -> None:
        site.reserve(**reserved)
        record = site.settle(seen=seen(life(0, 3599, **described)))["record"]
        assert record["cost"]["endpoint_cents"] == cents
        assert len(record["unreserved"]) == (reported is not None)
        assert all(str(reported) in one for one in record["unreserved"])

    def test_the_number_of_unreserved_uses_is_a_metric(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        site.sagemaker.jobs["captune-abc"] = ran_on(OTHER)
        site.settle(seen=seen(life(0, 99, instanceType=DEAR, instanceCount=2)))
        (metric,) = logged(capsys, "metric")
        assert metric["UnreservedInstances"] == 2


class TestTariffs:
    def test_every_price_has_its_use_and_its_region(self) -> None:
        item: Any = {"price_source": "p", "hosting_prices": f"{DEAR}=1", "execution_arn": arn("abc")}
        found = Tariff.from_item(item, "Hosting")
        assert {found.of_type(one).use for one in (DEAR, OTHER, UNPRICED)} == {"Hosting"}
        # The table has a price of this type in us-east-1 alone.
        item["execution_arn"] = arn("abc").replace("us-east-1", "us-west-2")
        assert Tariff.from_item(item, "Hosting").of_type(CHEAP).source.startswith("dearest in the pinned table")

    def test_the_dearest_pinned_price_is_compared_as_a_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = {"date": "d", "hourly_usd": {"a": {"x": "9.5", "y": "10"}, "b": {"z": "8"}}}
        monkeypatch.setattr(prices, "table", lambda: table)
        found = prices.dearest_pinned("Hosting")
        assert (found.instance_type, str(found.hourly_usd), found.use) == ("y", "10", "Hosting")


class TestMonths:
    """Storage, requests and logs have no date: the months that a run lived in share what was reserved for them."""

    @pytest.mark.parametrize(
        ("reserved", "by_month"),
        [
            ("2026-11", {"2026-11": 12}),
            ("2026-11,2026-12", {"2026-11": 6}),
            ("2026-10", {"2026-10": 12}),  # it lived in none of its months: the first
            ("2026-09,2026-10", {"2026-09": 6}),
        ],
    )
    def test_small_items_are_recorded_in_the_months_lived_in(self, site: Site, reserved: str, by_month: Any) -> None:
        item: Any = {**site.item, "months": reserved, "other_cents": 12}
        made = bill(SageMaker(), "captune-abc", item, {}, NOW)
        assert (made.by_month, made.other_cents, made.cents) == (by_month, *[sum(by_month.values())] * 2)

    def test_the_ledger_keeps_the_small_items_that_were_recorded(self, site: Site) -> None:
        site.ledger.noting("captune-abc", months="2026-11,2026-12", reserved_cents=602)
        site.settle()
        assert (site.item["booked_other_cents"], site.item["other_cents"]) == (3, 6)

    # An hour costs 151.5 cents, rounded up in each month. A spot job counts as billed at its end.
    @pytest.mark.parametrize(
        ("starts", "ends", "billed", "spot", "by_month"),
        [
            (-0.5, 0.5, 3600, False, {"2026-11": 76 + 6, "2026-12": 76 + 6}),
            (-2, 2, 7200, True, {"2026-11": 6, "2026-12": 303 + 6}),
            (-2, 1, 7200, True, {"2026-11": 152 + 6, "2026-12": 152 + 6}),
            (-0.5, 0.5, 7200, True, {"2026-11": 152 + 6, "2026-12": 152 + 6}),  # but not from before its start
        ],
    )
    def test_a_job_over_midnight_is_recorded_in_both_months(
        self, site: Site, starts: float, ends: float, billed: int, spot: bool, by_month: dict[str, int]
    ) -> None:
        start, end = MIDNIGHT + starts * HOUR, MIDNIGHT + ends * HOUR
        times = {"TrainingStartTime": start, "TrainingEndTime": end, "BillableTimeInSeconds": billed}
        item: Any = {**site.item, "months": "2026-11,2026-12", "other_cents": 12}
        job_over = {**job(), **times, "EnableManagedSpotTraining": spot}
        made = bill(SageMaker(jobs={"captune-abc": job_over}), "captune-abc", item, {}, end)
        assert made.by_month == by_month
        assert (made.other_cents, made.cents) == (12, sum(by_month.values()))
