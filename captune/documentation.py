"""`captune dev pages`: puts tables of the code, and figures that programs printed, into the README and docs/.

The text between `<!-- name -->` and `<!-- end -->` is replaced: by a table that is made here from the code, or by results/name.md.
A test fails while a page is not what this command would write.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from captune.account import PROJECT
from common import errors
from preflight import request
from stacks.configuration import catalog, functions, settings
from stacks.watching import alarms

RESULTS = PROJECT / "results"
_SECTION = re.compile(r"<!-- ([a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)


def command() -> None:
    """Rewrites the pages."""
    for path in pages():
        path.write_text(filled(path.read_text("utf-8"), RESULTS), "utf-8")


def pages() -> list[Path]:
    """The texts with generated sections."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def filled(page: str, results: Path) -> str:
    """A page with each section renewed; a section that nothing here knows stays as it is."""

    def text(match: re.Match[str]) -> str:
        name, source = match[1], results / f"{match[1]}.md"
        if name in TABLES:
            return f"<!-- {name} -->\n{TABLES[name]()}\n<!-- end -->"
        return f"<!-- {name} -->\n{source.read_text('utf-8').strip()}\n<!-- end -->" if source.is_file() else match[0]

    return _SECTION.sub(text, page)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown under these names of its columns."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join(lines)


def _errors(when: str) -> str:
    known = {name: kind for name, kind in errors.kinds().items() if kind.when == when}
    rows = [(f"`{name}`", (kind.__doc__ or "").strip(), kind.advice) for name, kind in known.items()]
    return markdown_table(("error", "meaning", "fix"), rows)


def _errors_of_step_functions() -> str:
    return markdown_table(
        ("error or status", "fix"), [(f"`{name}`", text) for name, text in errors.OF_STATUSES.items()]
    )


def _alarms() -> str:
    longest = alarms.longest_endpoint_seconds(settings.Settings().endpoint_deadline_minutes)
    rows = [(f"**{alarms.alarm_name(name)}**", alarms.says(name, longest)) for name in alarms.NAMES]
    return markdown_table(("alarm", "meaning and fix"), rows)


def _models() -> str:
    rows = []
    for model in catalog.BASE_MODELS.values():
        weights = "gated" if model.jumpstart and model.jumpstart.gated else "public"
        licence = f"{model.licence.name}{', with `accept_eula`' if model.licence.must_be_accepted else ''}"
        where = f"JumpStart, {weights}" if model.jumpstart else "your own copy, in `weights_uri`"
        size, context = f"{model.parameters / 1e9:.1f} billion", f"{model.context_tokens:,}"
        rows.append((f"`{model.id}`", size, context, licence, where))
    return markdown_table(("`base_model`", "parameters", "context", "licence", "weights"), rows)


def _functions() -> str:
    rows = [(f"`{one.name}`", one.caller, one.reads, one.changes) for one in functions.FUNCTIONS.values()]
    return markdown_table(("Lambda", "called by", "reads", "changes"), rows)


def _openai_api() -> str:
    from rehearsal.sagemaker.real.server import completion_request

    names = [
        ("serves", completion_request.SERVED),
        ("rejects, except for the value that changes nothing", completion_request.WITHOUT_EFFECT),
    ]
    rows = [(how, ", ".join(f"`{one}`" for one in known)) for how, known in names]
    return markdown_table(("your machine", "members"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings.table,
    "inputs": request.table,
    "errors-refused": lambda: _errors(errors.REFUSED),
    "errors-running": lambda: _errors(errors.RUNNING),
    "errors-removed": lambda: _errors(errors.REMOVED),
    "errors-of-step-functions": _errors_of_step_functions,
    "alarms": _alarms,
    "functions": _functions,
    "models": _models,
    "openai-api": _openai_api,
}
