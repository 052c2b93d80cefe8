"""Runs of the deployed project that do not go the usual way. What fails in a state is told by the table of failures."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from common.contracts import run_folder
from common.names import run_name
from preflight.texts import text_file
from rehearsal.sagemaker.fake import FakeTraining, TrainingPlan
from tests.doubles.rehearsal.deployed import DeployedProject
from verification.experiments.large_corpus import articles

# Ask saves after every hundredth answer.
PROMPTS, PATIENCE_SECONDS = 300, 240


def test_a_smoke_run_trains_one_step(project: DeployedProject) -> None:
    execution = project.run(smoke=True)

    assert execution.status == "SUCCEEDED", execution.cause
    (job,) = project.requests("CreateTrainingJob")
    assert job["HyperParameters"]["max_steps"] == "1"
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] == 1800
    assert project.nothing_left()


@pytest.mark.thorough
def test_a_large_corpus_is_staged_as_it_was_checked(project: DeployedProject) -> None:
    """Larger than any other file may be; StageInput reads the same version of it a second time."""
    content = "".join(islice(articles(titled=True), 1400)).encode()
    assert len(content) > text_file.MOST_BYTES
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


@pytest.mark.thorough
def test_each_prompt_has_one_answer_though_functions_are_killed(project: DeployedProject) -> None:
    cloud, functions = project.cloud, project.deployment.functions
    ids = [f"p{number}" for number in range(PROMPTS)]
    facts = [{"name": "it", "pattern": "gene"}]
    lines = [{"id": one, "kind": "question", "prompt": f"What is number {one}?", "facts": facts} for one in ids]
    prompts = f"{run_folder.CORPORA}many.jsonl"
    project.put(prompts, "".join(json.dumps(line) + "\n" for line in lines).encode())
    killed: list[int] = []
    # The first two times that the base model's answers are saved, every process of Ask is killed; what it saves is there.
    cloud.faults.add(
        operation="PutObject",
        times=2,
        by=project.role_of("ask"),
        when=lambda request: run_folder.BASE_ANSWERS in str(request["path"]),
        before=lambda call: killed.append(cloud.functions.kill(functions["ask"])),
    )
    # The report on so many prompts would take longer than asking them.
    reporting = cloud.faults.add(
        operation="Invoke", when=lambda request: functions["report"] in str(request["path"]), hang=True
    )

    execution = project.start(prompts=prompts)
    assert reporting.reached.wait(PATIENCE_SECONDS)
    cloud.stop(execution)
    reporting.release()
    cloud.settle(execution)

    for path in (run_folder.BASE_ANSWERS, run_folder.TUNED_ANSWERS):
        content = project.read(run_folder.key(run_name(execution.name), path))
        assert [json.loads(line)["id"] for line in content.splitlines()] == ids
    failed = [name for name, failed in cloud.functions.outcomes if failed and name == functions["ask"]]
    assert len(killed) == 2 and all(killed)
    assert len(failed) == sum(killed)
