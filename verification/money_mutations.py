"""Plants faults in the Python code that holds money, with mutmut, and lists those that no test notices.

    captune mutate-money                        all of it: [tool.mutmut] in pyproject.toml names the code and the tests
    captune mutate-money 'common.pricing.*'     the faults of these names

mutmut derives a module's name from its path and leaves out one leading folder, src. So it runs in .rehearsal/mutations, where src
is lambdas/; there `packages/bin/mutmut results`, `show` and `browse` work as its own pages say. Exit code 1 where fewer than 95 %
are noticed, where an unnoticed one has no reason in mutation_survivors.toml, and where a reason has no unnoticed fault.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from verification.mutations import SURVIVORS, answer, parser_of

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".rehearsal" / "mutations"
PACKAGES = FOLDER / "packages"
ENOUGH = 0.95
_NOTICED = ("killed", "timeout", "segfault")

Fault = tuple[str, str, str]  # the function, its line, and what the line becomes


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


def fault(shown: str) -> Fault:
    """The fault that `mutmut show` printed: a line with its name, and a diff."""
    name, _, diff = shown.partition("\n")
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    before, after = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    function = name.removeprefix("# ").partition("__mutmut_")[0]
    return re.sub(r"\.x[_ǁ]", ".", function).replace("ǁ", "."), before, after


def judge(
    statuses: Mapping[str, str], unnoticed: Sequence[Fault], reasons: Sequence[Any], all_tried: bool = True
) -> tuple[str, bool]:
    """The share that tests noticed, every fault that none did with its reason, and whether all is right.

    Where all functions were tried a reason for one that is gone is a mistake too.
    """
    noticed = sum(status in _NOTICED for status in statuses.values())
    tried = {fault(f"# {name}")[0] for name in statuses}
    given = {(one["place"], one["line"], becomes): one["why"] for one in reasons for becomes in one["becomes"]}
    lines = [f"{len(statuses):,} faults, {noticed:,} of them noticed by a test: {noticed / len(statuses):.1%}"]
    lines += [
        f"  {place}\n    - {line}\n    + {becomes}\n    {given.get((place, line, becomes), 'MEND: no test notices it, and it has no reason')}"
        for place, line, becomes in unnoticed
    ]
    stale = [key for key in given if (all_tried or key[0] in tried) and key not in unnoticed]
    lines += [
        f"MEND: a test notices this, or the line no longer exists: {place}: {line} -> {becomes}"
        for place, line, becomes in stale
    ]
    return "\n".join(lines), noticed >= ENOUGH * len(statuses) and not stale and set(unnoticed) <= given.keys()


def main(arguments: Sequence[str] | None = None, prog: str = "python -m verification.money_mutations") -> int:
    """Tries the faults that were chosen; answers the exit code."""
    parser = parser_of(prog, __doc__)
    parser.add_argument("names", nargs="*", help="of faults, with * for any text (default: all)")
    given = parser.parse_args(arguments)
    prepare()
    try:
        mutmut("run", *given.names, captured=False)
    except subprocess.CalledProcessError as failed:
        return int(failed.returncode)  # mutmut has printed why
    found = [line.split() for line in mutmut("results", "--all", "true").splitlines()]
    statuses = {name.rstrip(":"): status for name, status, *_ in found}
    if given.names:
        statuses = {name: one for name, one in statuses.items() if any(fnmatch(name, like) for like in given.names)}
    unnoticed = [fault(mutmut("show", name)) for name, status in statuses.items() if status not in _NOTICED]
    text, right = judge(statuses, unnoticed, tomllib.loads(SURVIVORS.read_text("utf-8"))["money"], not given.names)
    return answer(text, right, given.write)


if __name__ == "__main__":
    sys.exit(main())
