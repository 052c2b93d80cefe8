"""Faults that are planted on purpose, each into a synthesized project, to see that a check notices it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ONCE, _EVERYWHERE = 1, -1
_MACHINES = "*FineTuning.template.json"  # the template with both state machines and the roles of the runs


@dataclass(frozen=True)
class Plant:
    """A fault: which part of the checks has to notice it, what it is, and which text of which files it replaces."""

    part: str
    description: str
    files: str
    old: str
    new: str
    count: int = _ONCE

    def into(self, assembly: Path) -> None:
        """Put the fault into a cloud assembly (a folder).

        Raises:
            ValueError: there is no such text, so that nothing was planted.
        """
        for path in sorted(assembly.glob(self.files)):
            text = path.read_text(encoding="utf-8")
            if self.old in text:
                path.write_text(text.replace(self.old, self.new, self.count), encoding="utf-8")
                return
        raise ValueError(f"no {self.files} holds {self.old}: this fault has to be planted elsewhere")


PLANTS = {
    "expression": Plant(
        "expressions", "a state machine calls $exist( in place of $exists(", _MACHINES, "$exists(", "$exist("
    ),
    "field": Plant(
        "expressions",
        "a state machine reads FailureReson in place of FailureReason",
        _MACHINES,
        ".FailureReason",
        ".FailureReson",
    ),
    "property": Plant(
        "deploy",
        "the ledger's table has the property Colour, which CloudFormation does not know",
        "*Storage.template.json",
        '"BillingMode":',
        '"Colour": "blue", "BillingMode":',
    ),
    "route": Plant(
        "serving",
        "the deployed Ask code does not route its requests",
        "asset.*/ask/questions.py",
        '"route=/v1/completions"',
        '"nowhere"',
    ),
    # As it stands in the template: a JSON text inside the JSON text of the definition.
    "adapter": Plant(
        "serving",
        "the container's environment names another adapter",
        _MACHINES,
        r"\\\"name\\\":\\\"${Domain}\\\"",
        r"\\\"name\\\":\\\"another\\\"",
        _EVERYWHERE,
    ),
    "right": Plant(
        "deploy",
        "no function of the runs has the right s3:PutObject",
        _MACHINES,
        "s3:PutObject",
        "s3:GetObjectTagging",
        _EVERYWHERE,
    ),
}
