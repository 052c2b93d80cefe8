"""The pages of docs/ against the code: every state is told of, every path exists, and prose stays narrow enough to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = next(folder for folder in Path(__file__).parents if (folder / "app.py").is_file())
DOCS = ROOT / "docs"
NARROW = [DOCS / f"{name}.md" for name in ("architecture",)]
_PATH = re.compile(r"`([A-Za-z_.]+/[A-Za-z0-9_./-]*)`")
_GENERATED = re.compile(r"<!-- [a-z0-9-]+ -->\n.*?<!-- end -->|```.*?```", re.DOTALL)


def states(machine: dict[str, object]) -> Iterator[str]:
    """The names of all states of a definition, those inside branches too."""
    for name, state in machine["States"].items():  # type: ignore[attr-defined]
        yield name
        for branch in state.get("Branches", []):
            yield from states(branch)


@pytest.mark.parametrize("machine", ["fine_tuning", "tear_down"])
def test_every_state_is_told_of(machine: str) -> None:
    definition = yaml.safe_load((ROOT / "stacks" / f"{machine}.asl.yaml").read_text("utf-8"))
    page = (DOCS / "architecture.md").read_text("utf-8")
    assert [name for name in states(definition) if f"`{name}`" not in page] == []


def test_no_state_is_told_of_that_does_not_exist() -> None:
    known = {
        name
        for machine in ("fine_tuning", "tear_down")
        for name in states(yaml.safe_load((ROOT / "stacks" / f"{machine}.asl.yaml").read_text("utf-8")))
    }
    page = (DOCS / "architecture.md").read_text("utf-8")
    section = page[page.index("## What does each state do?") : page.index("## What talks to what?")]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([A-Za-z?]+)`", "".join(first_cells))) == known


@pytest.mark.parametrize("page", NARROW, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = _PATH.findall(_GENERATED.sub("", page.read_text("utf-8")))
    inside = [path for path in named if (ROOT / path.split("/")[0]).is_dir()]
    assert inside, "no path was found on this page: is the pattern still right?"
    assert [path for path in inside if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", NARROW, ids=lambda page: page.name)
def test_prose_is_wrapped(page: Path) -> None:
    prose = _GENERATED.sub("", page.read_text("utf-8")).splitlines()
    assert [line for line in prose if len(line) > 120 and not line.startswith(("|", "<details>"))] == []
