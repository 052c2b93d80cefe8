"""Spot instances of the stand-in: they are taken away and come back, and bill less than they train."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, TrainingPlan
from rehearsal.sagemaker.real import training as real
from rehearsal.sagemaker.real.training import TrainingHost
from tests.doubles.rehearsal.sagemaker_account import BUCKET, Account, Clock, account, channel, eventually

ON_SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
}


def statuses(answer: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in answer["SecondaryStatusTransitions"]]


class TestAFakeJob:
    def test_that_is_interrupted_goes_on_and_bills_neither_its_waiting_nor_the_price_on_demand(
        self, aws: Account, clock: Clock, training: FakeTraining
    ) -> None:
        training.plans = [TrainingPlan(interruptions=1, looks=0)]
        aws.train("job", **ON_SPOT)

        assert aws.job("job")["SecondaryStatus"] == "Completed"  # without a look nothing is taken

        training.plans = [TrainingPlan(interruptions=1)]
        aws.train("second", **ON_SPOT)
        clock.advance(seconds=100)
        taken = aws.job("second")
        clock.advance(seconds=1000)
        back = aws.job("second")
        clock.advance(seconds=50)
        aws.job("second")
        done = aws.job("second")

        assert [one["SecondaryStatus"] for one in (taken, back, done)] == ["Interrupted", "Training", "Completed"]
        assert {one["TrainingJobStatus"] for one in (taken, back)} == {"InProgress"}
        assert (done["TrainingTimeInSeconds"], done["BillableTimeInSeconds"]) == (150, 60)
        assert aws.standin.billed_seconds()["training"]["second"] == 60
        again = ["Interrupted", "Starting", "Downloading", "Training"]
        assert statuses(done) == [
            "Pending", "Starting", "Downloading", "Training", *again, "Uploading", "Completed",
        ]  # fmt: skip

    def test_that_never_comes_back_ends_when_its_clock_is_over(
        self, aws: Account, clock: Clock, training: FakeTraining
    ) -> None:
        training.plans = [TrainingPlan("taken", looks=100)]
        aws.train("job", **ON_SPOT)
        clock.advance(seconds=100)
        assert aws.job("job")["SecondaryStatus"] == "Interrupted"
        clock.advance(hours=3)
        done = aws.job("job")

        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
        assert (done["TrainingTimeInSeconds"], done["BillableTimeInSeconds"]) == (100, 40)

    def test_that_got_no_instance_has_waited_and_billed_nothing(
        self, aws: Account, clock: Clock, training: FakeTraining
    ) -> None:
        training.plans = [TrainingPlan("waits", looks=0)]
        aws.train("job", **ON_SPOT)
        done = aws.job("job")

        assert (done["SecondaryStatus"], done["BillableTimeInSeconds"]) == ("MaxWaitTimeExceeded", 0)

    def test_has_its_longest_time_for_all_of_its_starts_together(
        self, aws: Account, clock: Clock, training: FakeTraining
    ) -> None:
        training.plans = [TrainingPlan("hangs", interruptions=1)]
        aws.train("job", **ON_SPOT)
        clock.advance(seconds=2000)
        assert aws.job("job")["SecondaryStatus"] == "Interrupted"
        clock.advance(seconds=1000)
        assert aws.job("job")["SecondaryStatus"] == "Training"
        clock.advance(seconds=1600)
        done = aws.job("job")

        assert (done["SecondaryStatus"], done["TrainingTimeInSeconds"]) == ("MaxRuntimeExceeded", 3600)

    def test_that_waits_can_be_stopped(self, aws: Account, clock: Clock, training: FakeTraining) -> None:
        training.plans = [TrainingPlan("taken", looks=100, stop_looks=1)]
        aws.train("job", **ON_SPOT)
        aws.job("job")
        aws.sagemaker.stop_training_job(TrainingJobName="job")
        aws.job("job")

        assert aws.job("job")["TrainingJobStatus"] == "Stopped"


@pytest.mark.slow
class TestARealJob:
    SCRIPT = """
        import pathlib, sys, time
        root = pathlib.Path(sys.argv[2])
        found = sorted(int(path.name) for path in (root / "checkpoints").iterdir() if path.name.isdigit())  # no marks
        for step in range((found or [0])[-1] + 1, 7):
            if step % 2 == 0:
                (root / "checkpoints" / str(step)).write_text("")
            print(f"progress step={step} steps=6", flush=True)
            time.sleep(0.3)
        (root / "model" / "found.txt").write_text(str(found))
        """

    @pytest.fixture
    def host(self, monkeypatch: pytest.MonkeyPatch) -> TrainingHost:
        monkeypatch.setattr(real, "SPOT_SECONDS", 0.2)
        return TrainingHost(interruptions=[3])

    @pytest.fixture
    def real_account(self, tmp_path: Path, host: TrainingHost) -> Iterator[Account]:
        with account(tmp_path, training=host, hosting=FakeHosting()) as made:
            yield made

    def run(self, aws: Account, **changes: Any) -> dict[str, Any]:
        aws.put("code/train.py", textwrap.dedent(self.SCRIPT))
        code, kept = channel("code", f"s3://{BUCKET}/code/"), {"S3Uri": f"s3://{BUCKET}/runs/job/checkpoints/"}
        aws.train("job", InputDataConfig=[code], CheckpointConfig=kept, **changes)

        def over() -> dict[str, Any] | None:
            answer = aws.job("job")
            return answer if answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        answer: dict[str, Any] = eventually(over)
        return answer

    def test_is_killed_at_the_step_and_goes_on_with_its_checkpoints(self, real_account: Account) -> None:
        done = self.run(real_account, **ON_SPOT)

        assert done["TrainingJobStatus"] == "Completed", done
        assert statuses(done).count("Interrupted") == 1
        assert done["BillableTimeInSeconds"] < done["TrainingTimeInSeconds"]
        body = real_account.s3.get_object(Bucket=BUCKET, Key="runs/job/training/job/output/model/found.txt")["Body"]
        assert body.read() == b"[2]"

    def test_has_its_longest_time_for_all_of_its_starts_together(
        self, tmp_path: Path, host: TrainingHost, clock: Clock
    ) -> None:
        def first_line(job: str, line: str) -> None:
            if line.startswith("progress step=1 "):
                clock.advance(seconds=3600)

        with account(
            tmp_path, training=host, hosting=FakeHosting(), clock=clock, on_training_line=first_line, time_scale=1.0
        ) as aws:
            done = self.run(aws, **ON_SPOT)

        assert statuses(done).count("Interrupted") == 1
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")

    def test_on_demand_keeps_its_instance(self, real_account: Account) -> None:
        assert "Interrupted" not in statuses(self.run(real_account))
