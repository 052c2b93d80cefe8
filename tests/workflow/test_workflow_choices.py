"""The ways through the machine that not every run takes: no capacity, a job that was cut, an adapter of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, HostingPlan, TrainingPlan
from rehearsal.step_functions.executions import Execution

Rehearse = Callable[..., Execution]


def calls(cloud: Cloud, operation: str) -> list[dict[str, Any]]:
    """The requests of an operation, in their order."""
    return [dict(call.request) for call in cloud.calls if call.operation == operation]


def summary(cloud: Cloud, execution: Execution) -> dict[str, Any]:
    """The run's summary.json."""
    assert cloud.deployment is not None
    key = f"runs/{run_name(execution.name)}/report/summary.json"
    body = cloud.client("s3").get_object(Bucket=cloud.deployment.bucket, Key=key)["Body"].read()
    return dict(json.loads(body))


def nothing_left(cloud: Cloud) -> bool:
    return not any(cloud.leftovers().values())


class TestATrainingJobThatWasCut:
    def test_one_that_wrote_its_adapter_goes_on_and_the_report_is_told(self, cloud: Cloud, rehearse: Rehearse) -> None:
        cloud.reset(training=FakeTraining(TrainingPlan(outcome="cut")))

        execution = rehearse()

        assert execution.status == "SUCCEEDED", execution.cause
        (written,) = [request for request in map(_payload, calls(cloud, "Invoke")) if "reservation" in request]
        assert written["trainingCut"] is True
        assert nothing_left(cloud)

    def test_one_that_wrote_nothing_fails_by_name_and_no_endpoint_is_paid(
        self, cloud: Cloud, rehearse: Rehearse
    ) -> None:
        cloud.reset(training=FakeTraining(TrainingPlan(outcome="cut", leave_out=("metrics.json",))))

        execution = rehearse()

        assert (execution.status, execution.error) == ("FAILED", "TrainingOutOfTime")
        assert "Raise max_training_seconds" in str(execution.cause)
        assert calls(cloud, "CreateEndpoint") == []
        assert nothing_left(cloud)

    def test_a_usual_run_is_not_told_to_be_cut(self, cloud: Cloud, rehearse: Rehearse) -> None:
        rehearse()

        (written,) = [request for request in map(_payload, calls(cloud, "Invoke")) if "reservation" in request]
        assert written["trainingCut"] is False


def _payload(request: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key != "path"}


class TestNoCapacity:
    @pytest.mark.parametrize("outcome", ["capacity", "waits"])
    def test_a_job_without_an_instance_is_tried_again_and_has_cost_nothing(
        self, cloud: Cloud, rehearse: Rehearse, outcome: Any
    ) -> None:
        cloud.reset(training=FakeTraining(TrainingPlan(outcome=outcome), TrainingPlan()))

        execution = rehearse()

        assert execution.status == "SUCCEEDED", execution.cause
        names = [request["TrainingJobName"] for request in calls(cloud, "CreateTrainingJob")]
        assert names == [run_name(execution.name), f"{run_name(execution.name)}-try2"]
        assert nothing_left(cloud)

    def test_three_attempts_in_vain_end_the_run_by_name(self, cloud: Cloud, rehearse: Rehearse) -> None:
        cloud.reset(training=FakeTraining(TrainingPlan(outcome="waits")))

        execution = rehearse()

        assert (execution.status, execution.error) == ("FAILED", "NoCapacity")
        assert "no free ml.g5.2xlarge for training in 3 attempts" in str(execution.cause)
        assert len(calls(cloud, "CreateTrainingJob")) == 3
        assert nothing_left(cloud)

    def test_three_endpoints_in_vain_name_the_adapter_that_is_not_lost(self, cloud: Cloud, rehearse: Rehearse) -> None:
        cloud.reset(training=FakeTraining(), hosting=FakeHosting(HostingPlan(outcome="capacity", deleting_looks=0)))

        execution = rehearse()

        assert (execution.status, execution.error) == ("FAILED", "NoCapacity")
        assert f'"adapterUri": "s3://{_bucket(cloud)}/runs/{run_name(execution.name)}/training/' in str(execution.cause)
        assert nothing_left(cloud)

    def test_a_job_that_a_person_stopped_while_it_ran_is_not_tried_again(
        self, cloud: Cloud, rehearse: Rehearse
    ) -> None:
        def stop(call: Any) -> None:
            name = call.request["TrainingJobName"]
            cloud.client("sagemaker").stop_training_job(TrainingJobName=name)

        cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs", stop_looks=0)))
        cloud.clock.advance(seconds=1)
        cloud.sagemaker.faults.add(
            operation="DescribeTrainingJob", by=cloud.machine_role, before=_once(lambda call: _later(cloud, stop, call))
        )

        execution = rehearse()

        assert (execution.status, execution.error) == ("FAILED", "TrainingFailed")
        assert len(calls(cloud, "CreateTrainingJob")) == 1


def _later(cloud: Cloud, stop: Callable[[Any], None], call: Any) -> None:
    cloud.clock.advance(seconds=30)  # it has billed something by then
    stop(call)


def _once(act: Callable[[Any], None]) -> Callable[[Any], None]:
    done: list[bool] = []

    def first(call: Any) -> None:
        if not done:
            done.append(True)
            act(call)

    return first


def _bucket(cloud: Cloud) -> str:
    assert cloud.deployment is not None
    return cloud.deployment.bucket


class TestAnEarlierAdapter:
    def test_it_is_served_without_a_training_job(self, cloud: Cloud, rehearse: Rehearse) -> None:
        first = rehearse(name="first")
        uri = calls(cloud, "CreateModel")[-1]["PrimaryContainer"]["AdditionalModelDataSources"][0]["S3DataSource"][
            "S3Uri"
        ]
        jobs = len(calls(cloud, "CreateTrainingJob"))

        second = rehearse(name="second", adapterUri=uri)

        assert (first.status, second.status) == ("SUCCEEDED", "SUCCEEDED"), second.cause
        assert len(calls(cloud, "CreateTrainingJob")) == jobs == 1
        served = calls(cloud, "CreateModel")[-1]["PrimaryContainer"]["AdditionalModelDataSources"][0]["S3DataSource"]
        assert served["S3Uri"] == uri
        old, new = summary(cloud, first), summary(cloud, second)
        assert new["heldout"]["tuned_loss"] == old["heldout"]["tuned_loss"]
        assert new["cost"]["training_cents"] == 0 < old["cost"]["training_cents"]
        assert nothing_left(cloud)


class TestWhatPreflightRefuses:
    def test_an_image_that_does_not_exist_ends_the_run_and_nothing_is_created(
        self, cloud: Cloud, rehearse: Rehearse
    ) -> None:
        cloud.sagemaker.registry.missing = {"vllm:server-sagemaker-cuda-v2.4"}

        execution = rehearse()

        assert (execution.status, execution.error) == ("FAILED", "ImageNotFound")
        created = [call.operation for call in cloud.sagemaker.calls if call.operation.startswith("Create")]
        assert created == []

    def test_a_smoke_run_goes_all_the_way(self, cloud: Cloud, rehearse: Rehearse) -> None:
        execution = rehearse(smoke=True)

        assert execution.status == "SUCCEEDED", execution.cause
        (job,) = calls(cloud, "CreateTrainingJob")
        assert job["HyperParameters"]["max_steps"] == "1"
        assert job["StoppingCondition"]["MaxRuntimeInSeconds"] == 1800
        assert nothing_left(cloud)
