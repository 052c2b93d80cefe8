"""Many prompts, which the deployed Ask answers although its processes are killed on the way."""

from __future__ import annotations

import json

import pytest

from common.contracts import run_folder
from common.names import run_name
from tests.doubles.rehearsal.deployed import DeployedProject

pytestmark = pytest.mark.thorough

# Ask saves after every hundredth answer.
PROMPTS, PATIENCE_SECONDS = 300, 240


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
