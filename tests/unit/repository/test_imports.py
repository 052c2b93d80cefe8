"""Who may import whom, read from the sources: a function is deployed with its folder and the runtime alone, a training script with its folder."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

from preflight import staging

ROOT = Path(__file__).resolve().parents[3]
# The folders of modules; those of the Lambdas and of the training are imported by their place below the folder.
ROOTS = {"lambdas": "", "training": ""} | {
    path.parent.name: path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("lambdas", "training")
}  # fmt: skip
FOLDERS = sorted(ROOTS)


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
def every_module() -> frozenset[str]:
    return frozenset(name for folder in ROOTS for name in modules(folder))


@cache
def imported(name: str, path: Path) -> frozenset[str]:
    """What a module imports anywhere in it: modules of ours by their whole name, of others as it is written."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            ancestors = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*ancestors, *([node.module] if node.module else [])])
            submodules = {f"{base}.{alias.name}" for alias in node.names} & every_module()
            found |= submodules | ({base} if len(submodules) < len(node.names) else set())
    return frozenset(found)


def roots_of(folder: str) -> set[str]:
    return {other.partition(".")[0] for name, path in modules(folder).items() for other in imported(name, path)}


OURS = {name.partition(".")[0] for name in every_module()}
RUNTIME = {"boto3", "botocore", *sys.stdlib_module_names}  # what AWS's runtime for Python has
PACKAGED = {"jinja2", "markupsafe", "typst"}  # requirements/bundle.txt, for the functions that render


def test_a_lambda_imports_lambdas_and_its_runtime_only_and_what_renders_its_packages() -> None:
    own = {name.partition(".")[0] for name in modules("lambdas")}
    for name, path in modules("lambdas").items():
        foreign = {other.partition(".")[0] for other in imported(name, path)} - own - RUNTIME
        assert foreign <= (PACKAGED if name.startswith("report.") else set()), name


def test_what_is_found_does_not_depend_on_how_it_is_told_nor_a_check_before_a_run_on_its_report() -> None:
    for below, above in (("report.findings.", "report.content"), ("preflight.", "report")):
        for name, path in modules("lambdas").items():
            told = [other for other in imported(name, path) if other == above or other.startswith(f"{above}.")]
            assert not (name.startswith(below) and told), name


def test_training_imports_nothing_of_ours_from_outside_its_folder_but_what_is_staged_with_it() -> None:
    shared = ("common.memory", "common.records", "common.settings", "common.text")
    ours = {other for name, path in modules("training").items() for other in imported(name, path)}
    assert (
        ours & every_module() - modules("training").keys()
        == set(shared)
        == {path.removesuffix(".py").replace("/", ".") for path in staging.SHARED}
    )
    for name in shared:
        needed = imported(name, modules("lambdas")[name])
        assert {name.partition(".")[0] for name in needed} <= sys.stdlib_module_names


def test_the_stacks_import_only_what_estimates_a_run() -> None:
    assert roots_of("stacks") & OURS <= {"stacks", "common", "preflight"}


# From below to above: a room imports from those before it. What a user runs lies below what proves.
FLOORS = (("lambdas", "training"), ("stacks",), ("rehearsal",), ("captune",), ("verification",), ("tests",))


def test_every_room_has_its_floor() -> None:
    assert sorted(room for floor in FLOORS for room in floor) == FOLDERS


@pytest.mark.parametrize("number", range(len(FLOORS)))
def test_no_room_imports_from_one_above_it(number: int) -> None:
    above = {room for floor in FLOORS[number + 1 :] for room in floor}
    for room in FLOORS[number]:
        for name, path in modules(room).items():
            assert not {other.partition(".")[0] for other in imported(name, path)} & above, name


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in ("tests", "verification")])
def test_no_product_code_imports_pytest_or_tests(folder: str) -> None:
    assert not roots_of(folder) & {"pytest", "tests"}
    assert folder == "rehearsal" or "moto" not in roots_of(folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_modules_import_one_another_in_a_circle(folder: str) -> None:
    """Nor in a function. A package and a module in it do not count: whoever imports the module has run the package."""
    names = modules(folder)
    left = {name: {other for other in imported(name, path) if other in names} - {name} for name, path in names.items()}
    while leaves := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in leaves}
    assert sorted(left) == []
