"""The pages against the code: links, paths, commands and examples that they name exist, and generated tables are up to date."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from captune.__main__ import COMMANDS, MOVED
from captune.documentation import RESULTS, TABLES, filled, pages
from preflight import request
from rehearsal.conductor import options
from stacks.configuration.settings import Settings, SettingsError, table

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", RESULTS / "README.md"]
NAMING_PATHS = [page for page in PAGES if page.name != "limits.md" and page.parent != RESULTS]
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_PATH = re.compile(r"`([A-Za-z_.]+/[A-Za-z0-9_./-]*)`")
_GENERATED = re.compile(r"<!-- [a-z0-9-]+ -->\n.*?<!-- end -->|```.*?```", re.DOTALL)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=ids)
def test_generated_tables_and_quoted_results_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text, RESULTS) == text, "run captune dev pages"


def test_only_sections_with_a_source_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("new\n")
    page = "x\n<!-- a -->\nold\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"
    assert filled(page, tmp_path) == "x\n<!-- a -->\nnew\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"


def test_every_generated_table_is_on_a_page_and_every_result_is_named() -> None:
    texts = [*PAGES, ROOT / "verification" / "experiments" / "DECLARATION.md"]
    told = "\n".join(text.read_text("utf-8") for text in texts)
    assert [name for name in TABLES if f"<!-- {name} -->" not in told] == []
    printed = {file.stem for file in RESULTS.glob("*.md")} - {"README"}
    assert [name for name in sorted(printed) if f"<!-- {name} -->" not in told and f"{name}.md" not in told] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}"
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z][a-z0-9-]*)", text)) <= targets
    known = {f"dev {name}" if name in MOVED else name for name, *_ in COMMANDS} | {"dev"}
    assert set(re.findall(r"`captune ((?:dev )?[a-z][a-z0-9-]*)", text)) <= known


@pytest.mark.parametrize("page", NAMING_PATHS, ids=ids)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = _PATH.findall(_GENERATED.sub("", page.read_text("utf-8")))
    # What a command fetches or makes is there only where it was run.
    inside = [path for path in named if path[:1] != "." and (ROOT / path.split("/")[0]).is_dir()]
    assert [path for path in inside if not (ROOT / path).exists()] == []


def test_every_folder_is_on_the_map() -> None:
    listed = set(re.findall(r"`([a-z_]+)/`", (ROOT / "README.md").read_text("utf-8")))
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"stacks", "data", "training", "results"}
    assert code - listed - {"tests"} == set()


def test_every_kept_result_is_listed_and_none_is_ignored_by_git() -> None:
    lines = (RESULTS / "README.md").read_text("utf-8").splitlines()
    listed = {name for line in lines if line.startswith("| `") for name in re.findall(r"`([\w-]+\.\w+)`", line)}
    there = {path.name for path in RESULTS.glob("*.md")} | {"evidence.json", "bench.json"}
    assert there - {"README.md"} <= listed
    words = ["git", "check-ignore", *(f"results/{name}" for name in sorted(listed))]
    ignored = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ignored.stdout, ignored.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("page", "section", "source"),
    [("README.md", "", "costs.md"), ("docs/cap.md", "## When an AWS service is unavailable\n", "prove-cap.md")],
)
def test_a_page_repeats_costs_as_a_program_prints_them(page: str, section: str, source: str) -> None:
    text = _GENERATED.sub("", (ROOT / page).read_text("utf-8"))
    text = text.split(section)[1].split("\n## ")[0] if section else text
    repeated, printed = re.findall(r"\$\d+\.\d\d", text), (RESULTS / source).read_text("utf-8")
    assert repeated and [cost for cost in repeated if cost not in printed] == []


def range_of(cell: str) -> tuple[float, float] | None:
    """The numbers of `1 to 50` or `0.05 to 1`."""
    found = re.match(r"(\d[\d.e-]*) to (\d[\d.e-]*)", cell)
    return (json.loads(found[1]), json.loads(found[2])) if found else None


def test_settings_reject_values_outside_the_range_in_the_table() -> None:
    cells = {row.split("|")[1].strip(" `"): row.split("|")[3].strip() for row in table().splitlines()[2:]}
    ranges = {name: found for name, cell in cells.items() if (found := range_of(cell))}
    assert len(ranges) >= 13
    for name, (low, high) in ranges.items():
        assert Settings.from_context({name: low}) and Settings.from_context({name: high})
        beside = 1 if isinstance(low + high, int) else 0.01
        for outside in (low - beside, high + beside):
            with pytest.raises(SettingsError):
                Settings.from_context({name: outside})


def test_an_input_accepts_its_example_and_rejects_values_outside_its_range() -> None:
    for row in request.table().splitlines()[2:]:
        key, example, meaning = (cell.strip(" `") for cell in row.strip("| ").split("|"))
        assert key in json.loads(example) and request.parse(json.loads(example))
        for outside in [limit for low, high in filter(None, [range_of(meaning)]) for limit in (low - 1, high + 1)]:
            with pytest.raises(request.InvalidInput):
                request.parse({key: outside})


def test_what_can_be_tried_in_a_rehearsal_is_an_option() -> None:
    lines = [line for page in PAGES for line in re.findall(r"`make rehearse (.*?)`", page.read_text("utf-8"))]
    arguments = [found for line in lines for found in re.findall(r'ARGS="(.*?)"', line)]
    assert len(arguments) >= 6 and all(options.parse(line.split()) for line in arguments)
    variables = set(re.findall(r"\b([A-Z]+)=", " ".join(lines))) - {"ARGS"}
    given = re.search(r"rehearse \$\(call given,([A-Z_ ]+)\)", (ROOT / "Makefile").read_text("utf-8"))
    assert given and variables <= set(given[1].split())
