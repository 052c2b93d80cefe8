"""What decides in FineTuning's requests: licence, spot, lists of types, and the metrics that SageMaker reads from the log.

AWS's models check the fields of each request in every run, and the table of failures calls every state.
"""

from __future__ import annotations

import re

from tests.doubles.machines.fine_tuning_run import HOSTING, TRAINING, plan, run


def test_the_licence_is_accepted_only_where_the_plan_accepts_it() -> None:
    for accepted in (True, False):
        execution = run(Preflight=plan(acceptEula=accepted))
        requests = [execution.asked(state) for state in ("TryModel", "StartTraining", "CreateModel")]
        assert [f"'AcceptEula': {accepted}" in str(request) for request in requests] == [True, True, True]


def test_a_spot_job_differs_only_in_spot_and_how_long_it_may_wait() -> None:
    execution = run(Preflight=plan(training_spot=True))
    spot = {"MaxRuntimeInSeconds": 4711, "MaxWaitTimeInSeconds": 10_800}
    (job,) = run().asked("StartTraining")
    assert execution.asked("StartSpotTraining") == [
        job | {"EnableManagedSpotTraining": True, "StoppingCondition": spot}
    ]
    assert execution.asked("StartTraining") == []


def test_lists_of_types_reach_sagemaker_as_they_are_planned() -> None:
    pools = {
        "InstancePools": [{"InstanceType": HOSTING, "Priority": 1}],
        "VariantInstanceProvisionTimeoutInSeconds": 300,
    }
    resources = {"InstancePreferences": [{"InstanceType": TRAINING}], "InstanceCount": 3, "VolumeSizeInGB": 100}
    execution = run(Preflight=plan(training_resources=resources, hosting_instances=pools))
    assert execution.asked("StartTraining")[0]["ResourceConfig"] == resources
    for state in ("TryEndpointConfig", "CreateEndpointConfig"):
        ((variant,),) = (asked["ProductionVariants"] for asked in execution.asked(state))
        assert (pools.items() <= variant.items(), "InstanceType" in variant) == (True, False)


def test_losses_are_read_from_the_lines_that_training_prints() -> None:
    metrics = run().asked("StartTraining")[0]["AlgorithmSpecification"]["MetricDefinitions"]
    lines = [
        "progress step=1 loss=2.5 tokens_per_second=31.0",
        *(f"{text} model={model} loss=3.25" for text in ("heldout", "outside") for model in ("base", "tuned")),
    ]
    read = {m["Name"]: [found[1] for line in lines if (found := re.search(m["Regex"], line))] for m in metrics}
    assert read.pop("train:loss") == ["2.5"] and read.pop("train:tokens_per_second") == ["31.0"]
    assert read == {f"{text}:{model}_loss": ["3.25"] for text in ("heldout", "outside") for model in ("base", "tuned")}
