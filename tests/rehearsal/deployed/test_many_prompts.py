"""Many prompts, which the deployed Ask answers over several Lambda functions, some of which are killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from common.contracts import run_folder
from common.names import run_name
from tests.doubles.rehearsal.deployed import DeployedProject

PROMPTS = 500
# Ask saves after every hundredth answer. It is killed after the first and the second time.
KILLED_AFTER_ANSWERS = (100, 200)
# Ask stops 90 seconds before its own time is over: so each function asks for two seconds.
ASK_SECONDS = 92
PATIENCE_SECONDS = 300


def answered(project: DeployedProject, key: str) -> list[str]:
    """The ids of the prompts that are answered, in the order of the file."""
    try:
        return [json.loads(line)["id"] for line in project.read(key).splitlines()]
    except ClientError:  # nothing is saved yet
        return []


@contextmanager
def killing(project: DeployedProject, key: str) -> Iterator[list[int]]:
    """Kills every Ask at work when the answers reach a number. Yields how many were killed each time."""
    over, killed = threading.Event(), list[int]()

    def watch() -> None:
        while len(killed) < len(KILLED_AFTER_ANSWERS) and not over.wait(0.1):
            if len(answered(project, key)) >= KILLED_AFTER_ANSWERS[len(killed)]:
                killed.append(project.cloud.functions.kill("Ask"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_each_prompt_has_one_answer_though_functions_are_killed(project: DeployedProject) -> None:
    ids = [f"p{number}" for number in range(PROMPTS)]
    facts = [{"name": "it", "pattern": "gene"}]
    lines = [{"id": one, "kind": "question", "prompt": f"What is number {one}?", "facts": facts} for one in ids]
    prompts = f"{run_folder.CORPORA}many.jsonl"
    project.put(prompts, "".join(json.dumps(line) + "\n" for line in lines).encode())
    project.cloud.functions.timeouts["ask.handler"] = ASK_SECONDS

    execution = project.start(prompts=prompts)
    base, tuned = (
        run_folder.key(run_name(execution.name), path) for path in (run_folder.BASE_ANSWERS, run_folder.TUNED_ANSWERS)
    )
    with killing(project, base) as killed:
        project.cloud.settle(execution, timeout=PATIENCE_SECONDS)

    assert execution.status == "SUCCEEDED", execution.cause
    assert answered(project, base) == ids
    assert answered(project, tuned) == ids
    failed = [name for name, failed in project.cloud.functions.outcomes if failed and "Ask" in name]
    assert len(failed) == sum(killed) >= len(killed) == 2
