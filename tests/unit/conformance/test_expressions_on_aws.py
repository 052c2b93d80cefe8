"""Each recorded context becomes one call of TestState, and another value than the recorded one a sentence."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from verification.conformance.expressions import on_aws
from verification.conformance.expressions.evaluations import Evaluation

CONTEXT = {"Execution": {"Name": "one"}}
AFTER_A_CALL = Evaluation(
    "$plan.cents + $states.result.Payload.more",
    {"plan": {"cents": 5}, "states": {"input": {"a": 1}, "result": {"Payload": {"more": 2}}, "context": CONTEXT}},
    0,
    {"value": 7},
)
AFTER_AN_ERROR = Evaluation(
    "$states.errorOutput.Error",
    {"states": {"input": {}, "errorOutput": {"Error": "E", "Cause": "because"}, "context": CONTEXT}},
    0,
    {"value": "E"},
)


def differences(one: Evaluation, answer: dict[str, Any]) -> list[str]:
    """The stubbed client checks request and answer by the service's model."""
    client = boto3.client("stepfunctions", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_response("test_state", answer, on_aws.request(one))
        found = on_aws.differences(client, [one])
        stubber.assert_no_pending_responses()
    return found


def test_a_recorded_context_is_given_as_variables_input_and_mock() -> None:
    asked = on_aws.request(AFTER_A_CALL)
    state = json.loads(asked["definition"])
    assert (state["Output"], json.loads(asked["variables"])) == (f"{{% {AFTER_A_CALL.text} %}}", {"plan": {"cents": 5}})
    assert (json.loads(asked["input"]), json.loads(asked["context"])) == ({"a": 1}, CONTEXT)
    assert asked["mock"] == {"result": '{"Payload": {"more": 2}}', "fieldValidationMode": "NONE"}
    caught = on_aws.request(AFTER_AN_ERROR)
    assert caught["mock"] == {"errorOutput": {"error": "E", "cause": "because"}}
    assert json.loads(caught["definition"])["Catch"][0]["Output"] == "{% $states.errorOutput.Error %}"


@pytest.mark.parametrize(
    ("one", "answer", "words"),
    [
        (AFTER_A_CALL, {"status": "SUCCEEDED", "output": "7.0"}, ""),
        (AFTER_AN_ERROR, {"status": "CAUGHT_ERROR", "output": '"E"'}, ""),
        (AFTER_A_CALL, {"status": "SUCCEEDED", "output": "8"}, "gives 8, not 7"),
        (AFTER_A_CALL, {"status": "FAILED", "error": "States.Query", "cause": "c"}, "gives States.Query: c, not 7"),
    ],
)
def test_another_value_is_told(one: Evaluation, answer: dict[str, Any], words: str) -> None:
    found = differences(one, answer)
    assert (len(found), words in "".join(found)) == (bool(words), True)


def test_what_it_costs_is_told_as_unconfirmed() -> None:
    assert "called 400 times: at most $0.010 if AWS counts each" in on_aws.price([AFTER_A_CALL] * 400)
