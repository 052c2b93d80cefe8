"""`captune check --test-states`: the expressions of both state machines, evaluated by Step Functions itself.

Their contexts are those of the simulated runs by which `captune conformance expressions` compares with npm jsonata.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captune.account import PROJECT
from captune.check.findings import Findings, ok, problem
from common.pricing.costs import STATE_TRANSITION
from rehearsal.account.assembly import synthesize
from verification.conformance.expressions import runs
from verification.conformance.expressions.evaluations import Evaluation, Recorder

# A mocked task: nothing is called, and it needs no role.
_TASK = {
    "Type": "Task", "QueryLanguage": "JSONata", "Resource": "arn:aws:states:::lambda:invoke",
    "Arguments": {"FunctionName": "captune-check"}, "End": True,
}  # fmt: skip
_OF_THE_CLOCK = ("$millis(", "$now(")


def recorded(given: dict[str, str], account_id: str) -> list[Evaluation]:
    """One context of each expression that these settings deploy, in which it has a value. What reads the clock is left out."""
    with tempfile.TemporaryDirectory(prefix="captune-check-") as folder:
        synthesize(PROJECT, Path(folder), given, account_id)
        with runs.opened(Path(folder)) as (_, scenarios), Recorder() as recorder:
            for play in scenarios.values():
                play()
    found = {one.text: one for one in reversed(recorder.evaluations) if "value" in one.result}
    return [one for text, one in found.items() if not any(name in text for name in _OF_THE_CLOCK)]


def price(evaluations: Sequence[Evaluation]) -> str:
    """What asking costs at most, for a person."""
    dollars = STATE_TRANSITION * len(evaluations)
    return f"TestState is called {len(evaluations)} times: at most ${dollars:.3f} if AWS counts each as a state transition, which it does not say."


def check(step_functions: Any, evaluations: Sequence[Evaluation]) -> Findings:
    """Whether each expression has the value for Step Functions that it had in the simulated run."""
    differing = 0
    for one in evaluations:
        answer = step_functions.test_state(**request(one))
        found = answer.get("output") if answer["status"] in ("SUCCEEDED", "CAUGHT_ERROR") else None
        if found is None or _as_doubles(found) != _as_doubles(json.dumps(one.result["value"])):
            differing += 1
            said = found if found is not None else f"{answer.get('error')}: {answer.get('cause')}"
            text = f"{one.text[:80]} gives {str(said)[:120]}, not {json.dumps(one.result['value'])[:120]}"
            yield problem("expressions", text, "mend it in stacks/*.asl.yaml, then captune conformance expressions")
    if not differing:
        yield ok("expressions", f"{len(evaluations)} have for Step Functions the value that they have here")


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
