"""`captune dev mutate-money`: plants faults in the Python code that holds money, with mutmut, and lists those that no test notices."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import typer

from captune.flags import Out
from verification.mutations import NOT_NOTICED, SURVIVORS, answer, report

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".rehearsal" / "mutations"
PACKAGES = FOLDER / "packages"
ENOUGH = 0.95
_NOTICED = ("killed", "timeout", "segfault")


def prepare() -> None:
    """Installs mutmut beside the environment, and links what it changes and reads."""
    (FOLDER / "mutants").mkdir(parents=True, exist_ok=True)
    pinned, installed = PROJECT / "requirements" / "mutation.txt", PACKAGES / "installed.txt"
    if not installed.is_file() or installed.read_bytes() != pinned.read_bytes():
        shutil.rmtree(PACKAGES, ignore_errors=True)
        install = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(PACKAGES)]
        subprocess.run([sys.executable, "-m", *install, "-r", str(pinned)], check=True)
        shutil.copyfile(pinned, installed)
    links = {"src": "lambdas", "tests": "tests", "pyproject.toml": "pyproject.toml"}
    # Tests read these, and none of them is changed.
    links |= {f"mutants/{name}": name for name in ("lambdas", "training", "stacks", "data", "cdk.json")}
    for name, target in links.items():
        if not (FOLDER / name).is_symlink():
            (FOLDER / name).symlink_to(PROJECT / target)
    shutil.rmtree(FOLDER / "mutants" / "tests", ignore_errors=True)  # mutmut would keep deleted tests


def mutmut(*words: str, captured: bool = True) -> str:
    """Runs mutmut's own command line and returns what it printed. Raises CalledProcessError when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
    # To look for the plugins of an environment takes as long as the tests of most faults.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, str(PACKAGES / "bin" / "mutmut"), *words]
    pipe = subprocess.PIPE if captured else None
    return subprocess.run(command, cwd=FOLDER, env=environment, check=True, text=True, stdout=pipe).stdout or ""


def fault(shown: str) -> str:
    """The fault that `mutmut show` printed, a line with its name and a diff: the function, its line, and what the line becomes."""
    name, _, diff = shown.partition("\n")
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    before, after = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"{_function(name.removeprefix('# '))}: {before} → {after}"


def _function(name: str) -> str:
    return re.sub(r"\.x[_ǁ]", ".", name.partition("__mutmut_")[0]).replace("ǁ", ".")


def judge(
    statuses: Mapping[str, str], unnoticed: Sequence[str], reasons: Sequence[Any], all_tried: bool = True
) -> tuple[str, bool]:
    """The report on the faults, and whether all is right. A reason for another function counts only if all were tried."""
    found = {name: status for name, status in statuses.items() if status in _NOTICED}
    found |= dict.fromkeys(unnoticed, NOT_NOTICED)
    tried = {_function(name) for name in statuses}
    chosen = [one for one in reasons if all_tried or one["place"] in tried]
    given = {
        re.escape(f"{one['place']}: {one['line']} → {other}"): one["why"] for one in chosen for other in one["becomes"]
    }
    text, right = report("the code that holds money", found, given)
    enough = not all_tried or len(found) - len(unnoticed) >= ENOUGH * len(found)
    return text, right and enough


def is_code(name: str) -> bool:
    """Whether a fault's name, or the start of one, is of code that [tool.mutmut] names."""
    start = "src/" + re.split(r"[*?[]|\.x[_ǁ]", name)[0].replace(".", "/")
    chosen = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]["only_mutate"]
    return any(fnmatch(start, like) or fnmatch(like, f"{start}*") for like in chosen)


def command(
    given: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Plant only the faults whose names begin so; * is any text.", show_default=False)] = None,
    out: Out = None,
) -> int:  # fmt: skip
    """Tries the faults that were chosen; answers the exit code.

    `[tool.mutmut]` in pyproject.toml names the code and the tests; for example, `captune dev mutate-money common.pricing` tries one package.
    mutmut derives a module's name from its path and leaves out one leading folder, src. So it runs in .rehearsal/mutations, where src
    is lambdas/; there `packages/bin/mutmut results`, `show` and `browse` work as its own pages describe.

    The exit code is 1 if the tests notice fewer than 95%, if an unnoticed fault has no reason in mutation_survivors.toml, or if a
    reason has no unnoticed fault.
    """
    names = [name if "*" in name or "__mutmut_" in name else f"{name}*" for name in given or []]
    none = f"no fault is called {' or '.join(given or [])}: only_mutate in pyproject.toml names the modules"
    if not all(map(is_code, names)):
        raise typer.BadParameter(none)
    prepare()
    try:
        mutmut("run", *names, captured=False)
    except subprocess.CalledProcessError as failed:
        return int(failed.returncode)  # mutmut has printed why
    found = [line.split() for line in mutmut("results", "--all", "true").splitlines()]
    statuses = {name.rstrip(":"): status for name, status, *_ in found}
    if names:
        statuses = {name: one for name, one in statuses.items() if any(fnmatch(name, like) for like in names)}
    if not statuses:
        raise typer.BadParameter(none)
    unnoticed = [fault(mutmut("show", name)) for name, status in statuses.items() if status not in _NOTICED]
    text, right = judge(statuses, unnoticed, tomllib.loads(SURVIVORS.read_text("utf-8"))["money"], not names)
    return answer(text, right, out)
