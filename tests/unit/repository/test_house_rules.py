"""The rules of the house, read from the sources: who may import whom, and how large a room or a file may be."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# By which name the modules of a folder are imported: the Lambdas' and the training's are roots of their own.
ROOTS = {
    "lambdas": "", "training": "", "stacks": "stacks", "rehearsal": "rehearsal", "proof": "proof", "evidence": "evidence",
    "operations": "operations", "gates": "gates", "captune": "captune", "conformance": "conformance", "code_mutations": "code_mutations", "tests": "tests",
}  # fmt: skip
FILES_IN_A_FOLDER = 15
LINES_IN_A_FILE = 432  # the longest today, a test
# What is run in an environment of its own: the mutations and the emulator of the deployment.
IN_OTHER_ENVIRONMENTS = {"libcst", "ministack", "mutmut"}
# What a Lambda brings with it: the standard library, and what AWS's runtime for Python has.
OF_THE_RUNTIME = {"boto3", "botocore"}


@cache
def modules(folder: str) -> dict[str, Path]:
    """The modules of a top-level folder, by the name that they are imported by."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT / folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join((ROOTS[folder], *parts)).strip(".")] = path
    return found


@cache
def every_module() -> dict[str, Path]:
    return {name: path for folder in ROOTS for name, path in modules(folder).items()}


@cache
def imported(name: str, path: Path) -> frozenset[str]:
    """What a module imports, wherever in it that stands: modules of ours whole, of others what is spelt."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            ancestors = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*ancestors, *([node.module] if node.module else [])])
            submodules = {f"{base}.{alias.name}" for alias in node.names} & every_module().keys()
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(base)
    return frozenset(found)


def roots_of(folder: str) -> dict[str, set[str]]:
    """For each first part of a name that a folder's modules import, the files that do."""
    users = defaultdict(set)
    for name, path in modules(folder).items():
        for other in imported(name, path):
            users[other.partition(".")[0]].add(path.relative_to(ROOT).as_posix())
    return users


def test_the_reader_of_imports_sees_every_form_of_them(tmp_path: Path) -> None:
    path = tmp_path / "cell.py"
    path.write_text(
        "import moto.core\nfrom . import case\nfrom .audit import wrong\nfrom .. import result\n"
        "def late():\n    from proof.simulation import months, World\n"
    )
    assert imported("proof.matrix.cell", path) == {
        "moto.core", "proof.matrix.case", "proof.matrix.audit", "proof.result", "proof.simulation.months", "proof.simulation",
    }  # fmt: skip


@pytest.mark.parametrize("folder", sorted(ROOTS.keys() - {"rehearsal", "proof", "conformance", "tests"}))
def test_only_the_rehearsal_the_proofs_and_the_tests_know_moto(folder: str) -> None:
    assert not roots_of(folder)["moto"]


@pytest.mark.parametrize("folder", sorted(ROOTS.keys() - {"code_mutations", "tests"}))
def test_only_tests_and_what_judges_them_know_pytest_or_the_tests(folder: str) -> None:
    users = roots_of(folder)
    assert not users["pytest"] | users["tests"]


def test_the_code_mutations_know_no_test_by_its_name() -> None:
    assert not roots_of("code_mutations")["tests"]


def test_a_lambda_imports_lambdas_and_what_its_runtime_has() -> None:
    allowed = {name.partition(".")[0] for name in modules("lambdas")} | OF_THE_RUNTIME | set(sys.stdlib_module_names)
    assert {root: files for root, files in roots_of("lambdas").items() if root not in allowed} == {}


def test_the_stacks_import_nothing_of_ours_but_what_a_run_is_reckoned_with() -> None:
    ours = {name.partition(".")[0] for name in every_module()}
    assert roots_of("stacks").keys() & ours <= {"stacks", "common", "preflight"}


@pytest.mark.parametrize("folder", sorted(ROOTS))
def test_every_import_finds_its_module(folder: str) -> None:
    """mypy passes over one that it does not find: much of what others wrote has no types."""
    assert {
        f"{path.relative_to(ROOT)}: {other}"
        for name, path in modules(folder).items()
        for other in imported(name, path)
        if not is_there(other, path)
    } == set()


def is_there(name: str, importer: Path) -> bool:
    """Whether a module is one of ours, lies beside a script that is run in its folder, or is installed."""
    root = name.partition(".")[0]
    if root in {one.partition(".")[0] for one in every_module()}:
        return name in every_module()
    return (importer.parent / f"{root}.py").is_file() or root in IN_OTHER_ENVIRONMENTS or is_installed(root)


@cache
def is_installed(root: str) -> bool:
    return find_spec(root) is not None


def test_a_module_that_has_moved_is_missed() -> None:
    here = Path(__file__)
    assert is_there("common.contracts.run_folder", here) and is_there("pytest", here) and is_there("json.decoder", here)
    assert not is_there("common.run_folder", here) and not is_there("moved_away", here)


def test_the_keys_of_the_ledger_are_known_to_one_module() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ROOTS.keys() - {"tests"}
        for path in modules(folder).values()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith(("RUN#", "MONTH#", "STARTS#"))
    }
    assert found == {"lambdas/common/ledger/keys.py"}


def test_training_imports_nothing_of_ours_from_outside_its_folder() -> None:
    ours = {name.partition(".")[0] for name in every_module()} - modules("training").keys()
    assert not roots_of("training").keys() & ours


def test_no_engine_that_works_imports_one_that_follows_a_script() -> None:
    real = [name for name in modules("rehearsal") if name.startswith("rehearsal.sagemaker.real")]
    assert real
    for name in real:
        assert not [other for other in reached(name) if other.startswith("rehearsal.sagemaker.fake")], name


def reached(start: str) -> set[str]:
    """Every module of the rehearsal that a module imports, or that one of those imports; the packages on the way run too."""
    found: set[str] = set()
    waiting = {start}
    while waiting:
        name = waiting.pop()
        found.add(name)
        parts = name.split(".")
        others = {".".join(parts[:length]) for length in range(1, len(parts))} | imported(name, every_module()[name])
        waiting |= {other for other in others if other in modules("rehearsal")} - found
    return found


@pytest.mark.parametrize("folder", ["stacks", "lambdas", "training"])
def test_nothing_that_is_deployed_knows_that_it_can_be_rehearsed_or_tested(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            found = re.findall(r"moto\b|rehears\w*|pytest", path.read_text(encoding="utf-8", errors="ignore"), re.I)
            assert not found, f"{path.relative_to(ROOT)} mentions {found}"


@pytest.mark.parametrize("folder", sorted(ROOTS))
def test_no_two_modules_import_one_another_not_even_in_a_function(folder: str) -> None:
    """Nor in a circle of more. A package and a module in it do not count: whoever imports the module has run the package."""
    names = modules(folder)
    graph = {name: {other for other in imported(name, path) if other in names} for name, path in names.items()}
    assert not list(circles(graph))


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """The modules of each circle, found by taking away, again and again, what imports nothing that is left."""
    left = {name: {other for other in others if other != name} for name, others in graph.items()}
    while True:
        leaves = {name for name, others in left.items() if not others & left.keys()}
        if not leaves:
            break
        for name in leaves:
            del left[name]
    if left:
        yield sorted(left)


def test_a_circle_of_three_is_found() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("folder", sorted(ROOTS))
def test_a_folder_can_be_taken_in_at_a_glance(folder: str) -> None:
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules(folder).values())
    assert {place: count for place, count in counts.items() if count > FILES_IN_A_FOLDER} == {}


@pytest.mark.parametrize("folder", sorted(ROOTS))
def test_a_file_can_be_read_in_one_sitting(folder: str) -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in modules(folder).values()}
    assert {path.name: length for path, length in lengths.items() if length > LINES_IN_A_FILE} == {}
