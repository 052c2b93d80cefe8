"""The kinds of comparison prompts, in the order in which a report shows them. data/README.md says what each asks for."""

from __future__ import annotations

KIND_NAMES = {
    "starter": "Starters",
    "central": "Central facts",
    "completion": "Statements to complete",
    "question": "Questions",
    "outside": "Facts not in the corpus",
    "control": "General knowledge",
}
KINDS = tuple(KIND_NAMES)
RECORD = "record"  # what a held-out record asks; no file of prompts may hold any


def kind_name(kind: str) -> str:
    """The kind of a prompt as a reader knows it."""
    return "Held-out records" if kind == RECORD else KIND_NAMES.get(kind, kind or "Unnamed kind")
