"""What mutmut's switch inside a function cannot reach: constants of a module, fields of a class, and decorated functions.

mutmut makes these mutants too, by the same operators, and then leaves them out. Here each is written into the file, and the
tests of its part run in a process of its own. Faults that no operator makes (named.py) are tried the same way.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from code_mutations.mutant import KILLED, SURVIVED, Mutant, lines_of
from code_mutations.named import NAMED
from code_mutations.workplace import Workplace

_NOTES = "outside.json"
_PATIENCE_SECONDS = 120
_DIED_BY_TIME = 124


def mutants(place: Workplace, sample: bool = False) -> list[Mutant]:
    """Makes and tries every mutant of a part, or only those that survived the last time. Raises CannotMutate.

    With `sample`, one in three of those that an operator makes, and all that are planted by hand.
    """
    notes = place.folder / _NOTES
    step, tests = str(3 if sample else 1), json.dumps([*place.arguments, *place.tests])
    place.run("code_mutations.outside", str(notes), step, tests, *place.part.source_files())
    return [Mutant(**one) for one in json.loads(notes.read_text("utf-8"))]


def _changed_files(name: str, step: int) -> list[tuple[str, str]]:
    """A place and the whole text of a file for each of its mutants."""
    text = Path("src", name).read_text("utf-8")
    made = _by_operator(name, text)[::step]
    for fault in NAMED:
        if fault.file == name:
            if text.count(fault.before) != 1:
                raise SystemExit(f"named.py: {fault.title}: its lines are not once in {name}")
            made.append((f"{name} by hand: {fault.title}", text.replace(fault.before, fault.after)))
    return made


def _by_operator(name: str, text: str) -> list[tuple[str, str]]:
    import libcst as cst
    from libcst.metadata import MetadataWrapper
    from mutmut.mutation.file_mutation import MutationVisitor, get_ignored_lines
    from mutmut.mutation.mutators import mutation_operators

    class Outside(MutationVisitor):
        """Looks into decorated functions as well, which mutmut passes over."""

        def _skip_node_and_children(self, node: Any) -> bool:
            return not _is_decorated(node) and super()._skip_node_and_children(node)

    def _is_decorated(node: Any) -> bool:
        return isinstance(node, cst.FunctionDef) and bool(node.decorators)

    wrapper = MetadataWrapper(cst.parse_module(text))
    visitor = Outside(mutation_operators, get_ignored_lines(name, text, wrapper))
    module = wrapper.visit(visitor)
    made = []
    for mutation in visitor.mutations:
        holder = mutation.contained_by_top_level_function
        if isinstance(holder, cst.FunctionDef) and not holder.decorators:
            continue  # mutmut reaches it
        changed = module.deep_replace(mutation.original_node, mutation.mutated_node)
        code = changed.code if isinstance(changed, cst.Module) else text
        if code != text:
            label = holder.name.value if isinstance(holder, cst.FunctionDef) else "(outside functions)"
            made.append((f"{name} {label}", code))
    return made


def _try_all(notes: Path, step: int, tests: list[str], names: list[str]) -> None:
    """Runs inside the workplace: tries every mutant that is not known to be killed, and writes down what became of each."""
    before = json.loads(notes.read_text("utf-8")) if notes.is_file() else []
    killed = {(one["place"], one["before"], one["after"]) for one in before if one["fate"] == KILLED}
    _preload()
    if _tests_fail(tests):
        raise SystemExit("the tests fail without any mutation")
    found = []
    for name in names:
        path = Path("src", name)
        text = path.read_text("utf-8")
        for place, changed in _changed_files(name, step):
            diff = list(difflib.unified_diff(text.splitlines(), changed.splitlines(), lineterm="", n=0))
            one = {"place": place, "before": lines_of(diff, "-"), "after": lines_of(diff, "+")}
            if tuple(one.values()) not in killed:
                try:
                    path.write_text(changed, "utf-8")
                    one["fate"] = KILLED if _tests_fail(tests) else SURVIVED
                finally:
                    path.write_text(text, "utf-8")
            found.append({"fate": KILLED, **one})
    notes.write_text(json.dumps(found, indent=1), "utf-8")


def _preload() -> None:
    """Imports what takes long and is never mutated, so that every process begins with it."""
    import boto3  # noqa: F401
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401


def _tests_fail(tests: list[str]) -> bool:
    """Runs the tests in a child of this process and tells whether one failed, broke, or did not end."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        import pytest

        sys.dont_write_bytecode = True
        sys.path[:0] = [str(Path("src").resolve()), str(Path.cwd())]
        os._exit(int(pytest.main(["-x", "-q", *tests])))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return True


if __name__ == "__main__":
    _try_all(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])
