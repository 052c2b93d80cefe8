"""The pages against the code: every link, path, command, state, setting, input, model, alarm and planted fault that they name exists, and none is missing."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from captune.__main__ import ELSEWHERE, OWN
from preflight import request
from rehearsal.conductor import options
from stacks.configuration import catalog
from stacks.configuration.settings import Settings, SettingsError
from stacks.watching import alarms
from verification.conformance.plants import PLANTS
from verification.experiments.readme import pages

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", ROOT / "results/README.md"]
NAMING_PATHS = [page for page in PAGES if page.name != "limits.md" and page.parent.name != "results"]
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_PATH = re.compile(r"`([A-Za-z_.]+/[A-Za-z0-9_./-]*)`")
_GENERATED = re.compile(r"<!-- [a-z0-9-]+ -->\n.*?<!-- end -->|```.*?```", re.DOTALL)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def section(page: str, heading: str) -> str:
    text = (DOCS / f"{page}.md").read_text("utf-8")
    return text[text.index(f"\n## {heading}\n") + 1 :].split("\n## ")[0]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line.strip().strip("|").split("|") for line in section(page, heading).splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def range_of(cell: str) -> tuple[int, int] | None:
    """The whole numbers of `1 to 50`."""
    found = re.match(r"(\d+) to (\d+)", cell)
    return (int(found[1]), int(found[2])) if found else None


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
    assert set(re.findall(r"`captune ([a-z][a-z0-9-]*)", text)) <= {name for name, *_ in (*OWN, *ELSEWHERE)}


@pytest.mark.parametrize("page", NAMING_PATHS, ids=ids)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = _PATH.findall(_GENERATED.sub("", page.read_text("utf-8")))
    # What a command fetches or makes is there only where it was run.
    inside = [path for path in named if path[:1] != "." and (ROOT / path.split("/")[0]).is_dir()]
    assert inside, "no path was found on this page: is the pattern still right?"
    assert [path for path in inside if not (ROOT / path).exists()] == []


def test_every_folder_is_on_the_map() -> None:
    listed = set(re.findall(r"`([a-z_]+)/`", (ROOT / "README.md").read_text("utf-8")))
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"stacks", "data", "training", "results"}
    assert code - listed - {"tests"} == set()


def test_every_kept_result_is_listed_and_none_is_ignored_by_git() -> None:
    lines = (ROOT / "results" / "README.md").read_text("utf-8").splitlines()
    listed = {name for line in lines if line.startswith("| `") for name in re.findall(r"`([\w-]+\.\w+)`", line)}
    there = {path.name for path in (ROOT / "results").glob("*.md")} | {"evidence.json", "bench.json"}
    assert there - {"README.md"} <= listed
    words = ["git", "check-ignore", *(f"results/{name}" for name in sorted(listed))]
    ignored = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ignored.stdout, ignored.returncode) == ("", 1)


def states(machine: dict[str, Any]) -> Iterator[str]:
    """The names of all states of a definition, those inside branches too."""
    for name, state in machine["States"].items():
        yield name
        for branch in state.get("Branches", []):
            yield from states(branch)


def test_the_table_of_states_names_each_state() -> None:
    machines = [
        yaml.safe_load((ROOT / f"stacks/{name}.asl.yaml").read_text("utf-8")) for name in ("fine_tuning", "tear_down")
    ]
    first_cells = [
        line.split("|")[1]
        for line in section("architecture", "What does each state do?").splitlines()
        if line[:3] == "| `"
    ]
    assert set(re.findall(r"`([A-Za-z?]+)`", "".join(first_cells))) == {
        name for one in machines for name in states(one)
    }


def test_the_table_of_settings_has_each_default_and_range() -> None:
    table = {row[0].strip("`"): row for row in rows("operating", "Which settings are there?")}
    defaults = {name: json.loads(row[1].strip("`")) for name, row in table.items()}
    assert defaults == json.loads(json.dumps(dataclasses.asdict(Settings())))
    ranges = {name: found for name, row in table.items() if (found := range_of(row[2]))}
    assert len(ranges) == 11
    for name, (low, high) in ranges.items():
        assert Settings.from_context({name: low}) and Settings.from_context({name: high})
        for outside in (low - 1, high + 1):
            with pytest.raises(SettingsError):
                Settings.from_context({name: outside})


def test_the_table_of_inputs_has_each_key_with_an_accepted_example() -> None:
    table = {row[0].strip("`"): row for row in rows("operating", "What may the input of a run hold?")}
    keys = {field.name.replace("_", "") for field in dataclasses.fields(request.Request)}
    assert {key.lower() for key in table} == keys
    for key, (_, example, meaning) in table.items():
        value = json.loads(example.strip("`"))
        assert key in value and request.parse(value)
        for outside in [limit for low, high in filter(None, [range_of(meaning)]) for limit in (low - 1, high + 1)]:
            with pytest.raises(request.InvalidInput):
                request.parse({key: outside})


def test_the_table_of_models_has_each_context_length() -> None:
    table = {
        name: row[2]
        for row in rows("operating", "How to use another model")
        for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert table == {name: f"{model.context_tokens:,}" for name, model in catalog.BASE_MODELS.items()}


def test_the_table_of_alarms_has_each_limit() -> None:
    table = {row[0].strip("*"): row[1] for row in rows("operating", "What to do when an alarm goes off")}
    assert set(table) == {alarms.alarm_name(name) for name in alarms.NAMES}
    endpoint_hours = alarms.longest_endpoint_seconds(Settings().endpoint_deadline_minutes) / 3600
    assert f"{endpoint_hours:.1f} hours" in table["captune-endpoint-too-old"]
    assert f"{alarms.LONGEST_RESERVATION_SECONDS / 3600:.1f} hours" in table["captune-reservation-too-old"]


def test_the_table_of_planted_faults_has_each_of_them() -> None:
    page = (DOCS / "rehearsal.md").read_text("utf-8")
    table = page[page.index("| plant | the fault |") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE)) == set(PLANTS)


def test_what_can_be_tried_in_a_rehearsal_is_an_option() -> None:
    lines = [
        line for row in rows("rehearsal", "What can be tried?") for line in re.findall(r"`make rehearse (.*?)`", row[1])
    ]
    arguments = [found for line in lines for found in re.findall(r'ARGS="(.*?)"', line)]
    assert len(arguments) >= 6 and all(options.parse(line.split()) for line in arguments)
    variables = set(re.findall(r"\b([A-Z]+)=", " ".join(lines))) - {"ARGS"}
    given = re.search(r"rehearse \$\(call given,([A-Z_ ]+)\)", (ROOT / "Makefile").read_text("utf-8"))
    assert given and variables <= set(given[1].split())
