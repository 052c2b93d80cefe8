"""Runs of the deployed project that do not go the usual way, and what is nevertheless true at their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from common.contracts import run_folder
from common.names import run_name
from preflight.texts import text_file
from rehearsal.sagemaker.fake import FakeTraining, TrainingPlan
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import DeployedProject
from verification.experiments.large_corpus import articles

SUMMARY = f"{run_folder.REPORT}{run_folder.SUMMARY}"


def test_a_smoke_run_trains_one_step(project: DeployedProject) -> None:
    execution = project.run(smoke=True)

    assert execution.status == "SUCCEEDED", execution.cause
    (job,) = project.requests("CreateTrainingJob")
    assert job["HyperParameters"]["max_steps"] == "1"
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] == 1800
    assert project.nothing_left()


@pytest.mark.thorough
def test_a_large_corpus_is_staged_as_it_was_checked(project: DeployedProject) -> None:
    """Larger than Preflight holds: it is read in ranges, and StageInput reads it a second time."""
    content = "".join(islice(articles(titled=True), 1400)).encode()
    assert len(content) > text_file.MAXIMUM_BYTES
    project.put(f"{run_folder.CORPORA}large.txt", content)

    execution = project.run(corpus=f"{run_folder.CORPORA}large.txt")

    assert execution.status == "SUCCEEDED", execution.cause
    staged = project.read(run_folder.key(run_name(execution.name), run_folder.CORPUS))
    assert 0.85 < len(staged) / len(content) < 0.95, "a tenth is held out, and all else is trained on"


def test_a_cut_job_without_an_adapter_pays_no_endpoint(project: DeployedProject) -> None:
    project.cloud.reset(training=FakeTraining(TrainingPlan(outcome="cut", leave_out=("metrics.json",))))

    execution = project.run()

    assert (execution.status, execution.error) == ("FAILED", "TrainingOutOfTime")
    assert "max_training_seconds" in str(execution.cause)
    assert project.requests("CreateEndpoint") == []
    assert project.nothing_left()


# a corpus or a deployment that changes while a run is under way -------------------------------------------------------


def staged(project: DeployedProject, execution: Execution) -> list[str]:
    """What was copied for a run."""
    folder = run_folder.key(run_name(execution.name), "")
    s3 = project.cloud.client("s3")
    found = s3.list_objects_v2(Bucket=project.deployment.bucket, Prefix=folder).get("Contents", [])
    keys = [item["Key"].removeprefix(folder) for item in found]
    parts = (run_folder.PLAN, run_folder.INPUT, run_folder.CODE, run_folder.TRAINING)
    return [key for key in keys if key.startswith(parts)]


def test_a_corpus_that_changes_after_its_check_is_refused(project: DeployedProject) -> None:
    key = f"{run_folder.CORPORA}rehearsal-corpus.txt"
    met = project.cloud.faults.add(
        operation="CreateSchedule", before=lambda call: project.put(key, project.read(key) + b" One more sentence.")
    )

    execution = project.run()

    assert met.hits == 1
    assert (execution.status, execution.error) == ("FAILED", "DatasetChanged")
    assert key in str(execution.cause)
    assert staged(project, execution) == []
    assert project.nothing_left()


@contextmanager
def redeployed(project: DeployedProject, *functions: str) -> Iterator[Callable[[], None]]:
    """Yields what gives functions the variables of another deployment, which they lose at the end."""
    client = project.cloud.client("lambda")
    names = [project.deployment.functions[function] for function in functions]
    kept = {name: client.get_function_configuration(FunctionName=name)["Environment"]["Variables"] for name in names}

    def update(**changed: str) -> None:
        for name, before in kept.items():
            client.update_function_configuration(FunctionName=name, Environment={"Variables": {**before, **changed}})

    try:
        yield lambda: update(DEFINITION_VERSION="of another deployment")
    finally:
        update()


@pytest.mark.parametrize("function", ["preflight", "reserve"])
def test_a_deployment_before_the_reservation_refuses_the_run(project: DeployedProject, function: str) -> None:
    with redeployed(project, function) as deploy:
        deploy()
        execution = project.run()

    assert (execution.status, execution.error) == ("FAILED", "DeployInProgress")
    assert "start a new execution" in str(execution.cause)
    assert not [call for call in project.cloud.calls if call.operation.startswith("Create")]
    assert staged(project, execution) == []
    assert project.nothing_left()


def test_a_deployment_after_the_reservation_changes_nothing(project: DeployedProject) -> None:
    with redeployed(project, "preflight", "reserve") as deploy:
        met = project.cloud.faults.add(operation="CreateTrainingJob", before=lambda call: deploy())
        execution = project.run()

    assert met.hits == 1
    assert execution.status == "SUCCEEDED", execution.cause
    assert project.nothing_left()


# the report cannot hold up the money ----------------------------------------------------------------------------------


def _refused_writing(project: DeployedProject) -> None:
    project.cloud.faults.add(
        operation="PutObject", error="AccessDenied", status=403, times=None, by=project.role_of("finish")
    )


def _killed(project: DeployedProject) -> None:
    """What Lambda does to a function that needs more memory than it has."""
    function = project.deployment.functions["finish"]
    project.cloud.faults.add(
        operation="PutObject",
        times=None,
        by=project.role_of("finish"),
        before=lambda call: project.cloud.functions.kill(function),
    )


def _damaged(project: DeployedProject) -> None:
    """The summary is cut off before the last report is made of it."""

    def damage(call: Any) -> None:
        (execution,) = project.cloud.executions.of(project.deployment.fine_tuning)
        project.put(run_folder.key(run_name(execution.name), SUMMARY), b'{"verdict": "impro')

    project.cloud.faults.add(operation="GetObject", before=damage, by=project.role_of("finish"))


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (_refused_writing, ["ServiceUnreachable", "The cost above is final."]),
        (_killed, ["Runtime.ExitError", "The cost above is final."]),
        (_damaged, ["ReportDamaged: summary.json is damaged"]),
    ],
    ids=["refused", "killed", "damaged"],
)
def test_a_report_that_fails_cannot_stop_settlement(
    project: DeployedProject, trouble: Callable[[DeployedProject], None], told: list[str]
) -> None:
    trouble(project)

    execution = project.run()

    (tear_down,) = project.tear_downs()
    assert (execution.status, tear_down.status) == ("SUCCEEDED", "SUCCEEDED")
    assert project.ledger_item(execution)["state"] == "settled"
    ((_, text),) = project.emails()
    assert all(words in text for words in told)
    assert tear_down.output["verdict"] == "improved"
    assert project.nothing_left()


# a run that nobody heard the end of -----------------------------------------------------------------------------------


def test_an_aborted_run_is_swept_within_the_deployed_rights(project: DeployedProject) -> None:
    cloud = project.cloud
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs")))
    held = cloud.faults.add(operation="DescribeTrainingJob", by=project.deployment.fine_tuning_role, hang=True)
    execution = project.start()
    assert held.reached.wait(60)
    cloud.events.drop_next()  # so that something is left to sweep
    cloud.stop(execution)
    held.release()
    cloud.settle()
    assert not project.nothing_left()

    cloud.clock.advance(minutes=16)  # beyond the sweeper's grace: before, it would have nothing to do
    cloud.events.fire_timed_rules()
    cloud.settle(timeout=120)

    (swept,) = project.tear_downs()
    assert (swept.input["reason"], swept.status) == ("sweeper", "SUCCEEDED"), swept.cause
    assert project.nothing_left()
