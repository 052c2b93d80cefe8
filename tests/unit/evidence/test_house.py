"""The size of the house is counted from its files, and a function's cold start from what it really imports."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from verification.experiments import house
from verification.experiments.house import (
    ColdStart,
    Room,
    cold_start,
    functions,
    package_size,
    rooms,
    size_table,
    start_table,
)


def write(path: Path, text: str = "x = 1\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def track(project: Path) -> None:
    """Lets git know what is there."""
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=project, check=True)


def test_a_room_is_a_top_level_folder_with_python_in_it_that_git_tracks(tmp_path: Path) -> None:
    write(tmp_path / "lambdas" / "a.py", "1\n2\n3\n")
    write(tmp_path / "lambdas" / "one" / "b.py", "1\n")
    write(tmp_path / "lambdas" / "one" / "c.py", "1\n2\n")
    write(tmp_path / "docs" / "page.md")
    write(tmp_path / ".github" / "lib.py")
    track(tmp_path)
    write(tmp_path / "lambdas" / "built" / "d.py", "1\n" * 9)
    write(tmp_path / "cdk.out" / "asset" / "e.py")
    assert rooms(tmp_path) == {"lambdas": Room(lines=6, files=3, most_files=2, longest=(3, "lambdas/a.py"))}


def test_a_room_that_is_new_or_gone_has_a_dash(tmp_path: Path) -> None:
    old, new = Room(1000, 2, 2, (600, "a.py")), Room(900, 3, 1, (400, "b.py"))
    rows = size_table({"proof": old}, {"gates": new})
    assert rows[2:] == [
        "| `gates/` | – | 900 | – | 3 | – | 1 | – | 400 |",
        "| `proof/` | 1,000 | – | 2 | – | 2 | – | 600 | – |",
        "| all | 1,000 | 900 | 2 | 3 | 2 | 1 | 600 | 400 |",
    ]


@pytest.fixture
def lambdas(tmp_path: Path) -> Path:
    """Two functions, of which one needs what both share."""
    write(tmp_path / "shared.py", "VALUE = 1\n")
    write(tmp_path / "plain" / "__init__.py", "")
    write(tmp_path / "plain" / "handler.py", "def handle(event, context): ...\n")
    write(tmp_path / "needy" / "__init__.py", "")
    write(tmp_path / "needy" / "handler.py", "import shared\n\ntotal = sum(range(3_000_000))\n")
    write(tmp_path / "not_a_function" / "__init__.py", "")
    return tmp_path


def test_a_cold_start_counts_the_functions_own_code_and_leaves_nothing_behind(lambdas: Path) -> None:
    assert functions(lambdas) == ["needy", "plain"]
    plain, needy = (cold_start(lambdas, name, interpreters=1) for name in ("plain", "needy"))
    assert (plain.modules, needy.modules) == (2, 3)
    assert needy.size == sum(
        len(path.read_bytes()) for path in (lambdas / "shared.py", lambdas / "needy" / "handler.py")
    )
    assert needy.own > plain.own > 0
    assert plain.boto3 > plain.own
    assert not list(lambdas.rglob("*.pyc"))


def test_the_archive_holds_what_is_deployed(lambdas: Path) -> None:
    size = package_size(lambdas)
    write(lambdas / "plain" / "__pycache__" / "handler.pyc", "x" * 10_000)
    assert package_size(lambdas) == size > 22, "the size of an empty archive"
    assert start_table({}, {"plain": ColdStart(90.4, 3.2, 2, 1500)})[-1] == (
        "| plain | – | 3 | – | 90 | – | 2 | – | 2 |"
    )


def test_the_project_itself_has_its_rooms_and_functions() -> None:
    assert {"lambdas", "stacks", "tests"} <= rooms(house.PROJECT).keys()
    assert "settle" in functions(house.PROJECT / "lambdas")
