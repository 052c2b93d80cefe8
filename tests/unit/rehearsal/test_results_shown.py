"""The last screen of a rehearsal: which prompts it shows, and whether a right was missing."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from rehearsal.conductor.results import show_rights, show_summary

HARD = "Of 1,204 samples (34.4 %; p = 0.03) [12] had an event = end of"
PLAIN = ("The clock on the wall is", "The house stood at the end of", "The cost of a test depends on")


def screen(*prompts: str, tuned: str = "so.") -> str:
    console = Console(file=io.StringIO(), width=160)
    answer: dict[str, Any] = {"greedy": {"text": "so."}}
    rows = [{"prompt": text, "base": answer, "tuned": {"greedy": {"text": tuned}}} for text in prompts]
    display = SimpleNamespace(console=console, say=lambda text="": console.print(text))
    show_summary(cast(Any, display), {"verdict": "improved", "prompts": rows})
    return cast(io.StringIO, console.file).getvalue()


def test_the_most_readable_prompts_are_shown() -> None:
    shown = screen(HARD, *PLAIN)
    assert all(text in shown for text in PLAIN)
    assert "1,204" not in shown
    assert "The 3 most readable of 4 prompts" in shown


def test_all_are_shown_where_there_are_no_more() -> None:
    shown = screen(HARD, PLAIN[0])
    assert "1,204" in shown
    assert "most readable" not in shown
    assert shown.index(PLAIN[0]) < shown.index("1,204")


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ([], "✓ rights: each of 3 calls is one that its role may make"),
        (["role: a right"] * 2, "✗ a right is missing in stacks/access: role: a right"),
    ],
)
def test_a_run_is_not_clean_where_a_right_was_missing_however_it_ended(refused: list[str], told: str) -> None:
    console = Console(file=io.StringIO(), width=160)
    display = SimpleNamespace(say=lambda text="": console.print(text))
    cloud = SimpleNamespace(refused=refused, calls_of_roles=lambda: 3)

    assert show_rights(cast(Any, display), cast(Any, cloud)) is not bool(refused)
    assert cast(io.StringIO, console.file).getvalue().strip() == told
