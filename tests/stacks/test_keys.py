"""The patterns of keys that rights are given on are those of the keys that the functions use."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.contracts import run_folder
from stacks import fine_tuning_stack, state_machine
from stacks.names import Keys

ANY = "*"
FOLDERS = {
    "CORPORA": run_folder.CORPORA,
    "CHECKPOINTS": run_folder.CHECKPOINTS,
    "RUNS": run_folder.RUNS,
    "PLANS": run_folder.key(ANY, run_folder.PLAN),
    "INPUT": run_folder.key(ANY, run_folder.INPUT),
    "PROMPTS": run_folder.key(ANY, run_folder.PROMPTS),
    "CODE": run_folder.key(ANY, run_folder.CODE),
    "TRAINING": run_folder.key(ANY, run_folder.TRAINING),
    "TRIAL": run_folder.key(ANY, run_folder.TRIAL),
    "ANSWERS": run_folder.key(ANY, run_folder.ANSWERS),
    "REPORTS": run_folder.key(ANY, run_folder.REPORT),
}
PATTERNS = {name: value for name, value in vars(Keys).items() if name.isupper()}


def test_every_pattern_has_its_folder() -> None:
    assert PATTERNS.keys() == FOLDERS.keys()


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_pattern_is_the_key_of_any_run_and_of_a_folder_all_that_is_in_it(name: str) -> None:
    key = FOLDERS[name]
    assert PATTERNS[name] == (f"{key}*" if key.endswith("/") else key)


def test_no_pattern_is_spelt_again_beside_them() -> None:
    folder = Path(fine_tuning_stack.__file__).parent
    spelt = [
        (path.name, f'"{pattern}"')
        for path in sorted(folder.glob("*.py"))
        for pattern in PATTERNS.values()
        if path.name != "names.py" and f'"{pattern}"' in path.read_text("utf-8")
    ]
    assert spelt == []


def test_the_file_that_says_that_an_adapter_is_whole_is_the_one_that_fine_tuning_looks_for() -> None:
    states = state_machine.load_definition(Path(fine_tuning_stack.__file__).parent / "fine_tuning.asl.yaml")["States"]
    assert f"& '{run_folder.METRICS}' %}}" in states["LookForAdapter"]["Arguments"]["Prefix"]
