"""`make mutate-machines`: changes every line of both state machines once and says which changes no test would notice.

    python -m code_mutations.machines                         all of them, in some minutes
    python -m code_mutations.machines --only 'StartTraining'  those whose name holds the expression
    python -m code_mutations.machines --list                  their names

A mutant is noticed by a test that says what the machine has to do, or by the snapshot of the template alone, which notices
every change and knows of none what it costs. Those have a reason in reasons.yaml. The exit status is 1 where a mutant lives
that has none, where one is noticed by nothing at all, and where a reason is given for a mutant that a test notices.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from . import reasons, report, workbench
from .judge import Check, Judge
from .mutants import Mutant, mutants

# Which test noticed which mutant the last time. It only says which one to ask first, so that a second run takes a minute.
_MEMORY = workbench.PROJECT / ".pytest_cache" / "mutations.json"


def main() -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m code_mutations.machines", description=str(__doc__).split("\n")[0])
    parser.add_argument("--only", default="", help="a regular expression that the names of the mutants hold")
    parser.add_argument("--list", action="store_true", help="print the names and judge none")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, help="write the result to this file as well")
    parser.add_argument("--killers", action="store_true", help="print by what each mutant was noticed")
    options = parser.parse_args()
    made = [one for name in workbench.FILES for one in mutants(name, workbench.definition(name))]
    chosen = [one for one in made if re.search(options.only, one.name)]
    if options.list:
        print(*(one.name for one in chosen), sep="\n")
        return 0
    results: list[report.Result] = []
    status = workbench.run(lambda checks, snapshot: results.append(_judge(chosen, checks, snapshot, options)))
    if status or not results:
        return status or 1
    text = results[0].text()
    print(text)
    if options.write:
        options.write.write_text(f"```text\n{text}\n```\n", encoding="utf-8")
    return 1 if results[0].wrong else 0


def _remembered() -> dict[str, str]:
    return dict(json.loads(_MEMORY.read_text())) if _MEMORY.exists() else {}


def _judge(
    chosen: list[Mutant], checks: list[Check], snapshot: list[Check], options: argparse.Namespace
) -> report.Result:
    began, noticed = time.monotonic(), dict[str, str]()
    print(f"\n{len(checks)} tests, {len(chosen)} mutants", flush=True)
    for count, verdict in enumerate(Judge(checks, options.processes, _remembered()).judge(chosen), 1):
        if verdict.noticed_by:
            noticed[verdict.mutant.name] = verdict.noticed_by
        if not verdict.noticed_by or options.killers:
            print(f"{count:5} {verdict.noticed_by or 'LIVES'}  {verdict.mutant.name}", flush=True)
        elif count % 100 == 0:
            print(f"{count:5} after {time.monotonic() - began:.0f} s", flush=True)
    _MEMORY.parent.mkdir(exist_ok=True)
    _MEMORY.write_text(json.dumps(_remembered() | noticed))
    living = [one for one in chosen if one.name not in noticed]
    unseen = [one.mutant.name for one in Judge(snapshot, options.processes).judge(living) if not one.noticed_by]
    given = reasons.read()
    if options.only:  # of the other mutants nothing is known now
        given = [reason for reason in given if any(reason.fits(one.name) for one in chosen)]
    return report.Result([one.name for one in chosen], noticed, unseen, given, len(checks), time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
