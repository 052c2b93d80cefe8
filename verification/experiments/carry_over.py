"""python -m verification.experiments.carry_over COMMIT --why TEXT: lets figures stand that were made with the code of an earlier commit.

The code that trains, asks and measures is part of what an experiment's figures are kept for, so that a mended message there would
throw away what has taken hours. This rehearses the same small run with the code of COMMIT and with what stands here, on this
machine. Where every loss, the curve and every answer are the same to the last digit that is written, the figures that were made
with COMMIT are kept for today's code too, with COMMIT and the reason beside them; the table says so. Texts, prompts, settings and
weights must not have changed. Exit code 0 when figures were carried over.

It is for changes that are meant to change nothing of what is measured, and shows what was overlooked. The small run has two
passes, text by others and the first prompts; it is too short for steps of several sequences, and asks for no key facts: a change
of such things asks for the experiments themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verification.experiments.experiments import PROJECT, TEXTS
from verification.experiments.figures import load, store

FIGURES = PROJECT / "results" / "evidence.json"
RESULTS = PROJECT / "results" / "evidence"
# What the code of a checkout says of its experiments, by name.
_TOLD = """
import json, pathlib, sys
from verification.experiments.experiments import all_experiments
known = all_experiments(pathlib.Path(sys.argv[1]))
print(json.dumps({one.name: [one.material().hexdigest(), one.fingerprint()] for one in known}))
"""
_SMALL = ("--quick", "--epochs", "2", "--seed", "1", "--outside", str(TEXTS / "first_heldout.txt"))
_MEASURED = ("heldout", "outside", "control", "beyond_control", "recall")
_ANSWERS = ("pre-trained.jsonl", "fine-tuned.jsonl")
_SAID = ("id", "prompt", "greedy", "samples")


class NothingCarried(ValueError):
    """No figures may be kept for today's code."""


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments.carry_over") -> int:
    """Rehearses twice, compares, and writes the figures' new fingerprints."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="what the figures were made with, or a later one of the same code")
    parser.add_argument("--why", required=True, metavar="TEXT", help="what has changed, for whoever reads the table")
    given = parser.parse_args(arguments)
    try:
        commit = _git("rev-parse", "--short=7", f"{given.commit}^{{commit}}")  # whatever HEAD is in an hour
        with tempfile.TemporaryDirectory() as folder, checked_out(commit, Path(folder) / "earlier") as earlier:
            then = told_by(earlier)
            names = carried(load(FIGURES), told_by(PROJECT), then)
            before, after = (rehearsed(tree, Path(folder) / f"results-{tree.name}") for tree in (earlier, PROJECT))
            differing = sorted(name for name in before if before[name] != after[name])
            if differing:
                raise NothingCarried(
                    f"a small run gives other figures than with {commit} ({', '.join(differing)}), so the experiments must be run "
                    "again: make evidence."
                )
            if carried(load(FIGURES), told_by(PROJECT), then) != names:
                raise NothingCarried("the code or the figures have changed meanwhile: start again.")
    except (ValueError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"captune: {error}") from error
    for name, inputs in names.items():
        figures = load(FIGURES)[name]
        notes = [*figures.get("carried", []), {"commit": commit, "why": given.why}]
        store(FIGURES, name, {**figures, "inputs": inputs, "carried": notes})
        mark = RESULTS / name / "inputs.sha256"  # of the run itself, where it was made here
        if mark.is_file() and mark.read_text("utf-8") == figures["inputs"]:
            mark.write_text(inputs, "utf-8")
    print(f"Carried over: {', '.join(names)}. {len(before['curve'])} steps and {len(before['answers'])} answers agree.")
    return 0


def carried(
    kept: Mapping[str, Mapping[str, Any]], today: Mapping[str, list[str]], then: Mapping[str, list[str]]
) -> dict[str, str]:
    """The new fingerprint of each experiment whose kept figures were made with the earlier code, by its name.

    `today` and `then` are what either code says: (what is trained on and asked, the fingerprint). Raises NothingCarried where none
    can be, with the reason for each.
    """
    found, reasons = {}, []
    for name, (material, fingerprint) in today.items():
        earlier_material, earlier_fingerprint = then.get(name, ["", ""])
        inputs = kept.get(name, {}).get("inputs")
        if inputs == fingerprint:
            reasons.append(f"{name}: its figures are of today's code already")
        elif inputs is None or inputs != earlier_fingerprint:
            reasons.append(f"{name}: there are no figures of it that were made with that commit")
        elif material != earlier_material:
            reasons.append(f"{name}: its texts, prompts, settings or weights are others than then")
        else:
            found[name] = fingerprint
    if not found:
        raise NothingCarried(f"no figures can be carried over. {'; '.join(reasons)}.")
    return found


def measured(results: Path) -> dict[str, Any]:
    """All that a run has found out about its model, out of its folder of results: nothing in it is of the run's name, time or machine.

    Raises NothingCarried for a run that measured nothing: two of them would be the same.
    """
    summary = json.loads((results / "summary.json").read_text("utf-8"))
    sets = [summary[name] or {} for name in ("heldout", "outside", "control")]
    if not all(one.get("documents_count") and not one.get("unusable_documents") for one in sets):
        raise NothingCarried(f"the small run ended as {summary['status']} and measured nothing that could be compared.")
    # By line feeds alone: an answer may hold other ends of a line.
    lines = [line for name in _ANSWERS for line in (results / name).read_text("utf-8").split("\n") if line]
    return {
        "curve": summary["training"]["loss_curve"],
        "answers": [{key: answer.get(key) for key in _SAID} for answer in map(json.loads, lines)],
        "training text": summary["memorisation"]["training_text"],
        **{name: summary[name] for name in _MEASURED},
    }


@contextlib.contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A checkout of a commit beside this one, with this one's weights. Raises CalledProcessError where there is no such commit."""
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        weights = PROJECT / ".rehearsal" / "weights"
        weights.mkdir(parents=True, exist_ok=True)
        (folder / ".rehearsal").mkdir()
        (folder / ".rehearsal" / "weights").symlink_to(weights)
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def rehearsed(tree: Path, results: Path) -> dict[str, Any]:
    """What a small rehearsal with the code of a checkout measures. Raises CalledProcessError where it fails."""
    print(f"A small run with the code of {tree} …", flush=True)
    _python(tree, "-m", "rehearsal", "--plain", *_SMALL, "--results", str(results), "--as", "run")
    return measured(results / "run")


def told_by(tree: Path) -> dict[str, list[str]]:
    """(what is trained on and asked, the fingerprint) of each experiment, as the code of a checkout has them.

    Raises NothingCarried for one from before they were told apart.
    """
    if "def material(" not in (tree / "evidence" / "experiments.py").read_text("utf-8"):
        raise NothingCarried("that commit does not tell texts from code yet: name a later one with the same code.")
    with tempfile.TemporaryDirectory() as folder:
        told: dict[str, list[str]] = json.loads(_python(tree, "-c", _TOLD, folder, captured=True))
    return told


def _python(tree: Path, *words: str, captured: bool = False) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "lambdas")])}
    ended = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, check=True, text=True, stdout=subprocess.PIPE if captured else None
    )  # fmt: skip
    return ended.stdout or ""


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=PROJECT, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
