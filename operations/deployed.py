"""What the deployed stacks say of themselves."""

from __future__ import annotations

from typing import Any


def output(session: Any, name: str) -> str:
    """The value of a stack output of this project. Raises LookupError when no deployed stack has it."""
    pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (stack for page in pages for stack in page["Stacks"]):
        if not stack["StackName"].startswith("Captune"):
            continue
        for entry in stack.get("Outputs", []):
            if entry["OutputKey"] == name:
                return str(entry["OutputValue"])
    raise LookupError(f"no deployed Captune stack has the output {name}")
