"""`captune test-states`: Step Functions itself evaluates the expressions of both state machines, in contexts recorded in simulated runs."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captune import account
from captune.account import PROJECT
from captune.flags import Region, Settings
from common.pricing.costs import STATE_TRANSITION
from stacks.assembly import synthesize
from verification.conformance.expressions.evaluations import Evaluation, Recorder, opened

# A mocked task: nothing is called, and it needs no role.
_TASK = {
    "Type": "Task", "QueryLanguage": "JSONata", "Resource": "arn:aws:states:::lambda:invoke",
    "Arguments": {"FunctionName": "captune-check"}, "End": True,
}  # fmt: skip
_OF_THE_CLOCK = ("$millis(", "$now(")


def command(given: Settings = None, region: Region = None) -> int:
    """Asks with the credentials of the environment; returns the exit code.

    It first prints the cost. The exit code is 1 if an expression has another value in Step Functions than it has here.
    """
    session = account.session(region)
    number = session.client("sts").get_caller_identity()["Account"]
    with tempfile.TemporaryDirectory(prefix="captune-test-states-") as folder:
        synthesize(PROJECT, Path(folder), account.given_settings(given, region), number)
        evaluations = recorded(Path(folder))
    print(price(evaluations))
    differing = differences(session.client("stepfunctions"), evaluations)
    for text in differing:
        print(f"{text}. Fix it in stacks/*.asl.yaml, then run captune dev conformance expressions.")
    if not differing:
        print(f"{len(evaluations)} expressions have for Step Functions the value that they have here.")
    return 1 if differing else 0


def recorded(assembly: Path) -> list[Evaluation]:
    """One context of each expression that an assembly deploys, in which it has a value. What reads the clock is left out."""
    with opened(assembly) as (_, scenarios), Recorder() as recorder:
        for play in scenarios.values():
            play()
    found = {one.text: one for one in reversed(recorder.evaluations) if "value" in one.result}
    return [one for text, one in found.items() if not any(name in text for name in _OF_THE_CLOCK)]


def price(evaluations: Sequence[Evaluation]) -> str:
    """What asking costs at most, for a person."""
    dollars = STATE_TRANSITION * len(evaluations)
    return f"TestState is called {len(evaluations)} times: at most ${dollars:.3f} if AWS counts each as a state transition, which it does not say."


def differences(step_functions: Any, evaluations: Sequence[Evaluation]) -> list[str]:
    """A sentence for each expression that has another value for Step Functions than it had in the simulated run."""
    found = []
    for one in evaluations:
        answer = step_functions.test_state(**request(one))
        value = answer.get("output") if answer["status"] in ("SUCCEEDED", "CAUGHT_ERROR") else None
        here = json.dumps(one.result["value"])
        if value is None or _as_doubles(value) != _as_doubles(here):
            said = f"{answer.get('error')}: {answer.get('cause')}" if value is None else value
            found.append(f"{one.text[:80]} gives {said[:120]}, not {here[:120]}")
    return found


def request(one: Evaluation) -> dict[str, Any]:
    """The call of TestState whose state has the expression as its output, in the recorded context."""
    states: Mapping[str, Any] = one.variables.get("states", {})
    output, error = {"Output": f"{{% {one.text} %}}"}, states.get("errorOutput")
    mock: dict[str, Any] = {"result": json.dumps(states.get("result", {})), "fieldValidationMode": "NONE"}
    state: dict[str, Any] = {**_TASK, **output}
    if error is not None:
        state = {**_TASK, "Catch": [{"ErrorEquals": ["States.ALL"], **output, "Next": "Caught"}]}
        mock = {"errorOutput": {"error": error["Error"], "cause": str(error.get("Cause", ""))}}
    return {
        "definition": json.dumps(state),
        "input": json.dumps(states.get("input", {})),
        "variables": json.dumps({name: value for name, value in one.variables.items() if name != "states"}),
        "context": json.dumps(states.get("context", {})),
        "mock": mock,
    }


def _as_doubles(text: str) -> Any:
    return json.loads(text, parse_int=float)
