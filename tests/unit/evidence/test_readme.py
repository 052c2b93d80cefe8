"""How the README and docs/ quote what programs printed, and the picture beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verification.experiments import experiments, picture
from verification.experiments.readme import filled, pages

pytestmark = pytest.mark.slow


def test_only_sections_with_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("new\n")
    readme = "x\n<!-- a -->\nold\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"
    assert filled(readme, tmp_path) == "x\n<!-- a -->\nnew\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_quotes_the_results_as_they_are(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text, experiments.PROJECT / "results") == text, "make readme"


def test_every_file_of_printed_results_is_quoted_once_or_named() -> None:
    texts = [*pages(), experiments.PROJECT / "evidence" / "DECLARATION.md"]
    told = "\n".join(text.read_text("utf-8") for text in texts)
    quoted = set(re.findall(r"<!-- ([a-z0-9-]+) -->\n(?=.+)", told)) - {"end", "settings"}
    assert quoted == {"bench", "conformance", "costs", "evidence", "null-statistics", "prove-cap", "rehearse-7b"}
    assert {name: told.count(f"<!-- {name} -->") for name in quoted} == dict.fromkeys(quoted, 1)
    printed = {file.stem for file in (experiments.PROJECT / "results").glob("*.md")} - {"README"}
    assert quoted <= printed
    assert [name for name in sorted(printed - quoted) if f"results/{name}.md" not in told] == []


def test_without_a_browser_the_picture_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="chromium"):
        picture.take(tmp_path / "r.html", tmp_path / "p.png")
