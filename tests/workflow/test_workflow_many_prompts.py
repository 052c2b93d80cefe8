"""Many prompts, asked by the deployed Ask over several Lambdas, of which some are killed.

ASKED_PROMPTS=10000 python -m pytest -s tests/workflow/test_workflow_many_prompts.py    # as many as Preflight takes; prints what it took
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contracts import run_folder
from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.conductor.materials import upload
from rehearsal.conductor.options import Options
from rehearsal.step_functions.executions import Execution

PROJECT = Path(__file__).parents[2]
PROMPTS_KEY = f"{run_folder.CORPORA}many.jsonl"
PROMPTS = int(os.environ.get("ASKED_PROMPTS", "1200"))
# A Lambda stops asking 90 seconds before its own time is over: so it asks for two, or for ten where there is much to ask.
ASK_SECONDS = 92 if PROMPTS < 5000 else 100
KILLED_AFTER_ANSWERS = (PROMPTS * 15 // 100, PROMPTS * 40 // 100)

pytestmark = pytest.mark.slow


def ids(cloud: Cloud, key: str) -> list[str]:
    assert cloud.deployment is not None
    try:
        body = cloud.client("s3").get_object(Bucket=cloud.deployment.bucket, Key=key)["Body"].read()
    except ClientError:  # nothing is there yet, or it is being written
        return []
    return [json.loads(line)["id"] for line in body.splitlines()]


def goings_on(execution: Execution) -> Counter[str]:
    """How often each branch came to Ask: once, and again each time that a Lambda's time was over; killed ones are tried again there."""
    return Counter(name for name in execution.states() if name.startswith("Ask") and name != "AskBothModels")


class Killer:
    """Kills every Ask that is at work when the base model's answers have reached a number, and remembers the largest that it saw."""

    def __init__(self, cloud: Cloud, key: str) -> None:
        self._cloud, self._key = cloud, key
        self.killed = self.peak_mib = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        waiting = list(KILLED_AFTER_ANSWERS)
        while not self._over.wait(0.2):
            self.peak_mib = max([self.peak_mib, *map(_peak_mib, self._cloud.functions.at_work_on("Ask"))])
            if waiting and len(ids(self._cloud, self._key)) >= waiting[0]:
                self.killed += self._cloud.functions.kill("Ask")
                waiting.pop(0)


def _peak_mib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended, or this system has no /proc
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def test_each_of_many_prompts_has_one_answer_of_each_model_whatever_happens_to_the_lambdas(
    cloud: Cloud,
) -> None:
    assert cloud.deployment is not None
    prompts = [
        {
            "id": f"p{n}",
            "kind": "question",
            "prompt": f"What is number {n}?",
            "facts": [{"name": "it", "pattern": "gene"}],
        }
        for n in range(PROMPTS)
    ]
    content = "".join(json.dumps(prompt) + "\n" for prompt in prompts).encode()
    cloud.client("s3").put_object(Bucket=cloud.deployment.bucket, Key=PROMPTS_KEY, Body=content)
    cloud.functions.timeouts["ask.handler"] = ASK_SECONDS
    given: dict[str, Any] = upload(cloud, Options(project=PROJECT, quick=True), "medical")

    began = time.monotonic()
    execution = cloud.start({**given, "prompts": PROMPTS_KEY, "samplesPerPrompt": 0})
    run = run_name(execution.name)
    keys = [run_folder.key(run, path) for path in (run_folder.BASE_ANSWERS, run_folder.TUNED_ANSWERS)]
    with Killer(cloud, keys[0]) as killer:
        while not execution.is_over and "WriteReport" not in execution.states():
            assert time.monotonic() - began < 600, "the prompts are not asked to the end"
            time.sleep(0.5)
    seconds = time.monotonic() - began
    invocations = Counter(failed for name, failed in cloud.functions.outcomes if "Ask" in name)
    turns = goings_on(execution)
    cloud.stop(execution)
    cloud.settle(execution, timeout=120)

    wanted = [prompt["id"] for prompt in prompts]
    assert [ids(cloud, key) == wanted for key in keys] == [True, True], (
        "each once, none lost, in the order of the prompts"
    )
    requests = sum(call.operation == "InvokeEndpoint" for call in cloud.calls)
    print(
        f"\n{PROMPTS:,} prompts to each of two models in {seconds:.0f} s: {invocations.total()} invocations of Ask, of which {killer.killed} were killed; "
        f"{requests - 2 * PROMPTS} prompts asked again after that; at most {killer.peak_mib} MiB"
    )
    assert invocations[True] == killer.killed >= 2, "killed in the middle"
    if PROMPTS >= 5000:  # fewer are asked in one Lambda where the machine is fast
        assert min(turns.values()) >= 3, "each model over several Lambdas"
