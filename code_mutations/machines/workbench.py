"""The project's own tests as checks: pytest collects and runs them once, and then each as often as there are mutants."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stacks import state_machine

from .judge import Check

PROJECT = Path(__file__).resolve().parents[2]
FILES = {name: PROJECT / "stacks" / f"{name}.asl.yaml" for name in ("fine_tuning", "tear_down")}
# What says in words what the machines have to do. A new file of this name pattern is asked too.
SPECIFICATION = "test_*.py"
# What compares the definition with a copy of itself: it notices everything and knows of nothing why.
SNAPSHOT = "tests/stacks/test_synthesis.py::test_a_template_changes_only_on_purpose[FineTuning]"
CALLS = "tests/stacks/test_permissions.py::test_a_machine_may_make_the_calls_of_its_states_and_no_other"
# These synthesize anew, which a process without a CDK of its own cannot.
LEFT_OUT = (
    "tests/stacks/machines/test_state_machine_files.py::test_a_placeholder_without_a_value_is_refused_at_synthesis",
)

_load = state_machine.load_definition
_loaded: dict[Path, dict[str, Any]] = {}


def definition(name: str) -> dict[str, Any]:
    """The one definition of a machine that every test in this process looks at."""
    return _the_same(FILES[name])


def _the_same(path: Path) -> dict[str, Any]:
    if path not in FILES.values():
        return _load(path)
    if path not in _loaded:
        _loaded[path] = _load(path)
    return _loaded[path]


def run(work: Callable[[list[Check], list[Check]], None]) -> int:
    """Collects and runs the tests, then hands `work` the specification's checks and the snapshot's.

    Returns pytest's exit status, which is not 0 where a test fails on the machines as they are.
    """
    state_machine.load_definition = _the_same
    folder = PROJECT / "tests" / "stacks" / "machines"
    files = sorted(folder.glob(SPECIFICATION))
    chosen = [str(path.relative_to(PROJECT)) for path in files] + [CALLS, SNAPSHOT]
    left_out = [f"--deselect={name}" for name in LEFT_OUT]
    options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--rootdir", str(PROJECT)]
    return int(pytest.main([*options, *left_out, *chosen], plugins=[_Plugin(work)]))


class _Plugin:
    def __init__(self, work: Callable[[list[Check], list[Check]], None]) -> None:
        self._work = work

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Every test once, as pytest runs them; then the work, with each as a check."""
        if session.testsfailed:
            return True
        _show_the_definitions_in_the_templates()
        checks = [_timed(_check(item)) for item in session.items]
        wrong = [check.name for check, holds in checks if not holds]
        if wrong:
            session.testsfailed = len(wrong)
            print("These fail on the machines as they are:", *wrong, sep="\n  ")
            return True
        timed = [check for check, _ in checks]
        self._work(
            [check for check in timed if check.name != SNAPSHOT], [check for check in timed if check.name == SNAPSHOT]
        )
        return True


def _check(item: pytest.Item) -> Check:
    state = item.session._setupstate

    def holds() -> bool:
        """Runs the test with its fixtures and without a word, for the words of a failure take longer than the test."""
        try:
            item._initrequest()  # type: ignore[attr-defined]
            state.setup(item)
            item.runtest()
        except Exception:
            return False
        finally:
            state.teardown_exact(None)
        return True

    return Check(item.nodeid, holds)


def _timed(check: Check) -> tuple[Check, bool]:
    """The check with the processor seconds that it takes, and whether it holds."""
    began = time.process_time()
    holds = check.holds()
    return Check(check.name, check.holds, time.process_time() - began), holds


def _show_the_definitions_in_the_templates() -> None:
    """The templates were synthesized before a mutant was made; their definitions are those of this process all the same."""
    stacks = sys.modules["tests.doubles.machines.stacks_bench"].Stacks
    original = stacks.template

    def template(self: Any, name: str) -> dict[str, Any]:
        made = original(self, name)
        for key, entry in made["Resources"].items():
            if entry["Type"] == "AWS::StepFunctions::StateMachine":
                machine = "tear_down" if "TearDown" in key else "fine_tuning"
                entry["Properties"]["DefinitionString"] = json.dumps(definition(machine))
        return dict(made)

    stacks.template = template
