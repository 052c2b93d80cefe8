"""What a stranger reads: short enough, and every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from verification.experiments.readme import pages

ROOT = Path(__file__).resolve().parents[3]
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
PAGES = [*pages(), ROOT / "CONTRIBUTING.md"]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have on the web."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_read_in_one_sitting() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150
    tables_and_links = ("|", "![", "`", "    ")
    assert not [line for line in lines if len(line) > 140 and not line.startswith(tables_and_links)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = page if not target else page.parent / target
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([a-z][a-z0-9-]*)", page.read_text("utf-8"))
    assert set(named) <= targets


def test_every_folder_is_on_the_map() -> None:
    listed = set(re.findall(r"`([a-z_]+)/`", (ROOT / "README.md").read_text("utf-8")))
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"stacks", "data", "training", "results"}
    assert code - listed - {"tests"} == set()


def test_every_result_that_is_kept_is_told_and_none_that_is_told_is_left_out_by_git() -> None:
    page = (ROOT / "results" / "README.md").read_text("utf-8")
    told = {
        name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`([\w-]+\.\w+)`", line)
    }
    there = {path.name for path in (ROOT / "results").glob("*.md")} | {"evidence.json", "bench.json"}
    assert there - {"README.md"} <= told
    ignored = subprocess.run(
        ["git", "check-ignore", *(f"results/{name}" for name in sorted(told))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ignored.stdout, ignored.returncode) == ("", 1)
