"""`captune serve`, `extend` and `stop`: what they start, move and end, and what they refuse. The simulation tells what it costs."""

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from captune import serving
from captune.account import Refused
from captune.serving import Deployment, extend, serve, stop
from common.errors import ExtensionRefused
from common.names import REHEARSED_ACCOUNT
from tests.doubles.aws_account import Answers, deployed, said
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, StepFunctions, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.run_bucket import BUCKET, RUN, RunBucket, files_of_run

ADAPTER = f"s3://{BUCKET}/runs/{RUN}/training/{RUN}/output/model/"
SERVED = "captune-serve-one-1"
LATER = "2026-11-24T12:30:00+00:00"
SCHEDULE = {
    "Arn": "arn", "Name": SERVED, "ScheduleExpression": "at(2026-11-24T12:30:00)", "ScheduleExpressionTimezone": "UTC",
    "FlexibleTimeWindow": {"Mode": "OFF"}, "ActionAfterCompletion": "NONE", "Description": "Ends it.", "State": "ENABLED",
    "Target": {"Arn": TEAR_DOWN, "RoleArn": "arn:aws:iam::123457289012:role/scheduler", "Input": "{}"}, "GroupName": "default",
}  # fmt: skip


class FakeProject:
    """A deployed project with a run that has left an adapter."""

    def __init__(self) -> None:
        self.ledger, self.machines = FakeLedger(), StepFunctions()
        self.s3 = RunBucket({RUN: files_of_run()})
        self.scheduler = Answers("scheduler", get_schedule=SCHEDULE, update_schedule={"ScheduleArn": "arn"})
        self.services: dict[str, Any] = {
            "stepfunctions": self.machines, "s3": self.s3, "dynamodb": self.ledger.table, "scheduler": self.scheduler,
        }  # fmt: skip
        self.deployment = Deployment(self.services.__getitem__, BUCKET, "ledger", MACHINE, TEAR_DOWN, 2500)

    def keep(self) -> None:
        """A run whose endpoint is kept until half past."""
        seconds: Any = {"keep_endpoint_seconds": 3600, "max_endpoint_seconds": 7200}
        self.ledger.with_run("serve-one-1", **seconds, keep_until=LATER)

    def started(self) -> tuple[str, str, dict[str, Any]]:
        (one,) = self.machines.started
        return one["machine"], one["name"], json.loads(one["input"])


@pytest.fixture
def site() -> FakeProject:
    return FakeProject()


class TestServing:
    def test_an_execution_that_only_serves_is_started(self, site: FakeProject) -> None:
        wanted = {"adapterUri": ADAPTER, "serveOnly": True, "keepEndpointMinutes": 45}
        assert serve(site.deployment, RUN, 45) == {"run": SERVED, "executionArn": arn("serve-one-1"), **wanted}
        assert site.started() == (MACHINE, "serve-one-1", wanted)

    def test_a_run_that_served_leads_to_the_one_that_trained(self, site: FakeProject) -> None:
        of_served = files_of_run(SERVED, adapterUri=ADAPTER)["plan.json"]
        site.s3.objects[BUCKET, f"runs/{SERVED}/plan.json"] = of_served
        assert serve(site.deployment, SERVED, 45)["adapterUri"] == ADAPTER
        assert site.started()[1] == "serve-one-1"

    def test_a_name_is_used_once(self, site: FakeProject) -> None:
        site.ledger.with_run("serve-one-1").settled(SERVED)
        site.machines.executions[arn("serve-one-2")] = {"status": "FAILED"}  # refused before it reserved anything
        assert serve(site.deployment, RUN, 45)["run"] == "captune-serve-one-3"

    def test_a_long_name_is_cut_and_stays_its_own(self, site: FakeProject) -> None:
        names = set()
        for run in (f"captune-{'a' * 50}", f"captune-{'a' * 49}b"):
            site.s3.objects |= {(BUCKET, f"runs/{run}/{path}"): one for path, one in files_of_run(run).items()}
            names.add(serve(site.deployment, run, 45)["run"])
        assert len(names) == 2 and all(len(name) <= 58 and name.endswith("-1") for name in names)

    def test_a_second_endpoint_for_one_adapter_is_rejected(self, site: FakeProject) -> None:
        serve(site.deployment, RUN, 45)
        with pytest.raises(Refused, match=f"captune stop {SERVED}"):
            serve(site.deployment, RUN, 45)
        site.machines.executions.clear()  # long ended, and its endpoint is kept
        site.ledger.with_run("serve-one-1")
        with pytest.raises(Refused, match="serves this adapter already"):
            serve(site.deployment, RUN, 45)
        assert len(site.machines.started) == 1

    def test_the_second_of_two_simultaneous_requests_is_rejected(self, site: FakeProject) -> None:
        site.machines.troubles["start_execution"] = [refusal("ExecutionAlreadyExists")]
        with pytest.raises(Refused, match="serves this adapter already"):
            serve(site.deployment, RUN, 45)

    def test_what_is_not_there_is_not_served(self, site: FakeProject) -> None:
        with pytest.raises(Refused, match="no run captune-nobody"):
            serve(site.deployment, "captune-nobody", 45)
        del site.s3.objects[BUCKET, ADAPTER.removeprefix(f"s3://{BUCKET}/") + "metrics.json"]
        with pytest.raises(Refused, match="no whole adapter"):
            serve(site.deployment, RUN, 45)
        assert site.machines.started == []


class TestExtending:
    def test_the_schedule_is_moved_as_it_is(self, site: FakeProject) -> None:
        site.keep()
        told = {"keepUntil": "2026-11-24T13:00:00+00:00", "moreCents": 76 + 2, "reservedCents": 678}
        assert extend(site.deployment, SERVED, 30, NOW) == {"run": SERVED, **told}
        (moved,) = site.scheduler.called("update_schedule")
        kept = {key: value for key, value in SCHEDULE.items() if key not in ("Arn", "GroupName")}
        assert moved == kept | {"ScheduleExpression": "at(2026-11-24T13:00:00)"}

    def test_money_is_set_aside_before_anything_is_moved(self, site: FakeProject) -> None:
        site.keep()
        site.scheduler.troubles["update_schedule"] = [refusal("AccessDeniedException")]
        with pytest.raises(Refused, match="ends when it was to end before"):
            extend(site.deployment, SERVED, 30, NOW)
        assert site.ledger.committed_cents("2026-11") == 678

    def test_what_is_no_run_is_not_extended(self, site: FakeProject) -> None:
        with pytest.raises(Refused, match="There is no run"):
            extend(site.deployment, SERVED, 30, NOW)


def denied(operation: str) -> str:
    raise refusal("AccessDeniedException")


class TestStopping:
    def test_tear_down_is_told_run_and_execution(self, site: FakeProject) -> None:
        site.keep()
        found = stop(site.deployment, SERVED, NOW)
        told = {"runName": SERVED, "executionArn": arn("serve-one-1"), "reason": "person"}
        assert site.started() == (TEAR_DOWN, found["tearDown"], told)

    @pytest.mark.parametrize(
        "trouble",
        [
            lambda ledger: ledger.damage(f"RUN#{SERVED}"),
            lambda ledger: ledger.fall_silent(),
            lambda ledger: setattr(ledger.table, "trouble", denied),
        ],
        ids=["a damaged item", "no answer", "access denied"],
    )
    def test_a_ledger_that_cannot_be_read_does_not_keep_it_running(self, site: FakeProject, trouble: Any) -> None:
        site.keep()
        trouble(site.ledger)
        stop(site.deployment, SERVED, NOW)
        assert site.started()[2] == {"runName": SERVED, "reason": "person"}

    def test_what_is_stopped_cannot_be_kept_longer(self, site: FakeProject) -> None:
        site.keep()
        stop(site.deployment, SERVED, NOW)
        with pytest.raises(ExtensionRefused, match="it is over"):
            extend(site.deployment, SERVED, 30, NOW + timedelta(seconds=1))
        assert site.scheduler.calls == []

    def test_what_is_over_or_never_was_is_told(self, site: FakeProject) -> None:
        with pytest.raises(Refused, match="There is no run"):
            stop(site.deployment, SERVED, NOW)
        site.keep()
        site.ledger.settled(SERVED, NOW + timedelta(hours=1))
        with pytest.raises(Refused, match=r"Its cost, recorded at .*, is \$0.32"):
            stop(site.deployment, SERVED, NOW)


def test_the_commands_say_what_they_did(site: FakeProject, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    account = deployed()
    account.services |= site.services
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    monkeypatch.setattr(serving, "now", lambda: NOW)
    monkeypatch.setattr(serving, "RESULTS", tmp_path)

    assert f"captune use {SERVED}" in said("serve", "one")[1]
    site.keep()
    assert "$0.78 more is reserved, $6.78 in all" in said("extend", SERVED)[1]
    assert json.loads(said("extend", SERVED, "--minutes", 1, "--json")[1])["reservedCents"] == 681
    assert f"stop-{SERVED}" in said("stop", SERVED)[1]
    (tmp_path / RUN).mkdir()
    plan = files_of_run(executionArn=f"x:{REHEARSED_ACCOUNT}:y")["plan.json"]
    (tmp_path / RUN / "plan.json").write_bytes(plan)
    assert f"captune use {tmp_path / RUN} serves it here" in said("serve", RUN)[1]
