"""The kinds of comparison prompts, in the order in which a report shows them. data/README.md says what each asks for."""

from __future__ import annotations

KINDS = ("starter", "central", "completion", "question", "outside", "control")
