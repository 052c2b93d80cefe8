"""Every call that a run makes is one that its role may make, on that very resource. moto asks nobody for rights; AWS does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, HostingPlan, TrainingPlan
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.rights import Rights, missing

Rehearse = Callable[..., Execution]


def test_a_run_needs_no_right_that_it_does_not_have(cloud: Cloud, rehearse: Rehearse) -> None:
    execution = rehearse()

    assert execution.status == "SUCCEEDED", execution.cause
    assert missing(cloud) == []


def test_a_run_that_finds_no_capacity_at_first_needs_none_either(cloud: Cloud, rehearse: Rehearse) -> None:
    cloud.reset(
        training=FakeTraining(TrainingPlan(outcome="capacity"), TrainingPlan()),
        hosting=FakeHosting(HostingPlan(outcome="capacity", deleting_looks=0), HostingPlan()),
    )

    execution = rehearse()

    assert execution.status == "SUCCEEDED", execution.cause
    assert missing(cloud) == []


def test_a_run_whose_training_was_cut_needs_none_either(cloud: Cloud, rehearse: Rehearse) -> None:
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="cut")))

    assert rehearse().status == "SUCCEEDED"
    assert missing(cloud) == []


def test_a_run_with_an_earlier_adapter_needs_none_either(cloud: Cloud, rehearse: Rehearse) -> None:
    rehearse(name="first")
    made = [call.request for call in cloud.calls if call.operation == "CreateModel"][-1]
    uri = made["PrimaryContainer"]["AdditionalModelDataSources"][0]["S3DataSource"]["S3Uri"]

    assert rehearse(name="second", adapterUri=uri).status == "SUCCEEDED"
    assert missing(cloud) == []


@pytest.mark.parametrize("plan", [TrainingPlan(outcome="failed"), TrainingPlan(outcome="killed")])
def test_a_run_that_fails_in_training_needs_none_either(cloud: Cloud, rehearse: Rehearse, plan: TrainingPlan) -> None:
    cloud.reset(training=FakeTraining(plan))

    assert rehearse().error == "TrainingFailed"
    assert missing(cloud) == []


def test_an_aborted_run_and_its_sweeper_need_none_either(cloud: Cloud) -> None:
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs")))
    held = cloud.sagemaker.faults.add(operation="DescribeTrainingJob", hang=True)
    execution = cloud.start({})
    assert held.reached.wait(60)
    cloud.events.drop_next()  # so that something is left to sweep
    cloud.stop(execution)
    held.release()
    cloud.settle()

    cloud.events.fire_timed_rules()
    cloud.settle(timeout=120)
    cloud.clock.advance(hours=30)
    cloud.settle(timeout=120)

    assert not any(cloud.leftovers().values())
    assert missing(cloud) == []


def test_the_check_itself_sees_a_right_that_is_missing(cloud: Cloud, rehearse: Rehearse) -> None:
    rehearse(name="other")
    assert cloud.deployment is not None
    role = next(call.access_key for call in cloud.calls if call.operation == "CreateEndpoint")

    rights = Rights(cloud)

    good = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/captune-x"
    assert rights.allow(role, ("sagemaker:CreateEndpoint", good))
    assert not rights.allow(role, ("sagemaker:CreateEndpoint", good.replace("captune-x", "x")))
    assert not rights.allow(role, ("sagemaker:DeleteModel", good))
