"""How the README and docs/ quote what programs printed, and the picture beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verification.experiments import experiments, picture
from verification.experiments.readme import filled, pages

RESULTS = experiments.PROJECT / "results"


def test_only_sections_with_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("new\n")
    readme = "x\n<!-- a -->\nold\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"
    assert filled(readme, tmp_path) == "x\n<!-- a -->\nnew\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_page_quotes_the_results_as_they_are(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text, RESULTS) == text, "captune readme"


def test_every_file_of_results_is_quoted_once_or_named() -> None:
    texts = [*pages(), RESULTS / "README.md", experiments.PROJECT / "verification" / "experiments" / "DECLARATION.md"]
    told = "\n".join(text.read_text("utf-8") for text in texts)
    quoted = [name for name in re.findall(r"<!-- ([a-z0-9-]+) -->\n(?=.+)", told) if name not in ("end", "settings")]
    printed = {file.stem for file in RESULTS.glob("*.md")} - {"README"}
    assert len(quoted) == len(set(quoted)) and set(quoted) <= printed
    assert [name for name in sorted(printed - set(quoted)) if f"{name}.md" not in told] == []


def test_picture_without_a_browser_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="chromium"):
        picture.take(tmp_path / "r.html", tmp_path / "p.png")
