"""captune readme: puts measured figures into the README and docs/, between their markers.

A section `<!-- name -->` … `<!-- end -->` is replaced by the text of results/name.md, so that no figure is typed by hand; the
section `settings` by the table of the settings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from stacks.configuration import settings
from verification.experiments.experiments import PROJECT

_SECTION = re.compile(r"<!-- ([a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """The texts that quote results."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def filled(page: str, results: Path) -> str:
    """A page with each section that has a file of results replaced by it."""

    def text(match: re.Match[str]) -> str:
        if match[1] == "settings":
            return f"<!-- settings -->\n{settings.table()}\n<!-- end -->"
        source = results / f"{match[1]}.md"
        return (
            f"<!-- {match[1]} -->\n{source.read_text('utf-8').strip()}\n<!-- end -->" if source.is_file() else match[0]
        )

    return _SECTION.sub(text, page)


def main(arguments: list[str] | None = None) -> int:
    """Rewrites the pages; answers the exit code."""
    for path in pages():
        path.write_text(filled(path.read_text("utf-8"), PROJECT / "results"), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
