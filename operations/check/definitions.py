"""Whether Step Functions accepts the definitions, by its own validation."""

from __future__ import annotations

import json
from collections.abc import Iterator

from operations.check.clients import StepFunctions
from operations.check.findings import Finding, ok, problem, warning

_MOST_DIAGNOSTICS = 100  # the API's own limit of maxResults


def check(states: StepFunctions, name: str, text: str) -> Iterator[Finding]:
    """Hands over one definition with its substitutions; a warning of Step Functions is one here, an error a problem.

    Only `result` is promised to stay as it is (API reference of ValidateStateMachineDefinition), so it alone decides.
    """
    subject = f"definition of {name}"
    answer = states.validate_state_machine_definition(
        definition=text, type="STANDARD", severity="WARNING", maxResults=_MOST_DIAGNOSTICS
    )
    said = [f"{one.get('location') or 'the whole'}: {one['message']} ({one['code']})" for one in answer["diagnostics"]]
    shown = "; ".join(said) or "no reason was given"
    if answer["result"] != "OK":
        yield problem(subject, f"Step Functions refuses it: {shown}", f"mend the state in stacks/{_file(name)}")
    elif said:
        yield warning(subject, f"accepted, with doubts: {shown}", f"look at the state in stacks/{_file(name)}")
    else:
        yield ok(subject, f"accepted, {len(json.loads(text)['States'])} states, {len(text) / 1024:.0f} KiB")


def _file(name: str) -> str:
    return f"{name.removeprefix('captune-').replace('-', '_')}.asl.yaml"
