"""Runs on records, from Preflight to the report: prompts with completions, a table, and conversations with a chat model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import deployed, emptied
from tests.doubles.texts.made_up_records import conversations, lines, pairs, table

COLUMNS = {"prompt": "question", "completion": "answer", "group": "patient"}
FORMS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "pairs.jsonl": (lines(pairs(40)), {}),
    "table.csv": (table(pairs(40, groups=20), **COLUMNS), {"columns": COLUMNS}),
    "talks.jsonl": (lines(conversations(40)), {}),
}


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Iterator[Cloud]:
    """An account in which the stacks are deployed with a chat model."""
    settings = {"base_model": "llama-2-7b-chat", "accept_eula": "true"}
    with deployed(tmp_path_factory.mktemp("chat"), settings, fork_server) as cloud:
        yield cloud


@pytest.fixture
def cloud(chat: Cloud) -> Iterator[Cloud]:
    """The account without any trace of an earlier test."""
    yield from emptied(chat)


def rehearse(cloud: Cloud, name: str, content: bytes, **more: Any) -> Execution:
    assert cloud.deployment is not None
    cloud.client("s3").put_object(Bucket=cloud.deployment.bucket, Key=f"corpora/{name}", Body=content)
    execution = cloud.start({"corpus": f"corpora/{name}", "samplesPerPrompt": 0, **more}, name="records")
    cloud.settle(execution, timeout=120)
    return execution


def found(cloud: Cloud, key: str) -> bytes:
    assert cloud.deployment is not None
    body = cloud.client("s3").get_object(Bucket=cloud.deployment.bucket, Key=f"runs/captune-records/{key}")["Body"]
    return bytes(body.read())


@pytest.mark.parametrize("name", FORMS)
def test_records_of_every_form_go_from_preflight_to_a_report(cloud: Cloud, name: str) -> None:
    content, more = FORMS[name]
    execution = rehearse(cloud, name, content, **more)

    assert execution.status == "SUCCEEDED", execution.cause
    trained = [json.loads(line) for line in found(cloud, "input/corpus/corpus.jsonl").splitlines()]
    held_out = [json.loads(line) for line in found(cloud, "input/evaluation/heldout.jsonl").splitlines()]
    assert not {one["group"] for one in trained} & {one["group"] for one in held_out}
    (request,) = (call.request for call in cloud.calls if call.operation == "CreateTrainingJob")
    assert request["HyperParameters"]["long_records"] == "split"
    summary = json.loads(found(cloud, "report/summary.json"))
    assert summary["heldout"]["documents_count"] == 10
    assert {row["id"] for row in summary["heldout"]["documents"]} == {one["group"] for one in held_out}
    assert len(summary["prompts"]) == len(held_out) == (20 if name == "table.csv" else 10)
    assert all(row["reference"] and row["base"]["greedy"] != row["tuned"]["greedy"] for row in summary["prompts"])
    asked = {call.request["CustomAttributes"] for call in cloud.calls if call.operation == "InvokeEndpoint"}
    assert asked == {"route=/v1/chat/completions" if name == "talks.jsonl" else "route=/v1/completions"}
    assert not any(cloud.leftovers().values())


def test_records_with_faults_end_the_run_before_anything_is_paid(cloud: Cloud) -> None:
    talks = conversations(40)
    del talks[7]["messages"][0]["role"]
    execution = rehearse(cloud, "talks.jsonl", lines(talks))

    assert (execution.status, execution.error) == ("FAILED", "DatasetRejected")
    assert "line 8 has a message without a role (message 1)" in str(execution.cause)
    assert "CreateTrainingJob" not in {call.operation for call in cloud.calls}
