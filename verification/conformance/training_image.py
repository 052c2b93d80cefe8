"""Training's tests and a small run with the libraries of the image that the training job runs in; only when this part is named.

The environment .rehearsal/training-image takes 2 GB, and 7.3 GB where PyTorch is the build for graphics cards.
"""

import re
import sysconfig
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rehearsal import programs
from rehearsal.models.weights import ensure_weights
from verification.conformance.contracts import Contract, Setting
from verification.experiments import bench

REQUIREMENTS = programs.PROJECT / "requirements/training-image.txt"
_FOLDER = programs.FOREIGN / "training-image"
# Two builds of PyTorch add up in another order: of a document's loss, before training and after it.
_TOLERANCES = {"base": bench.BASE_TOLERANCE, "tuned": 0.05}
_SMALL = {"seed": "1", "max_steps": "4", "epochs": "1"}


def run(setting: Setting) -> list[Contract]:
    """Return what training did with the image's libraries.

    Raises:
        CannotRun: the libraries or the weights of the rehearsal's model cannot be had on this machine.
    """
    setting.say("installing the image's libraries: some minutes, once")
    python = programs.python_packages(_FOLDER.name, REQUIREMENTS, with_hashes=False)
    _add_what_tests_need()
    weights = ensure_weights(programs.FOREIGN / "weights")
    against = f"the image's libraries: {_versions()}"
    setting.say("training's tests with them")
    contracts = [_tests(python, against)]
    setting.say("a small run with them, and the same with those installed here")
    here = bench.Bench(weights, *bench.gather(words=1500, most_documents=6))
    theirs, ours = (one.ours(1, "a small run", _SMALL) for one in (replace(here, python=str(python)), here))
    return [*contracts, compare(theirs, ours, against)]


def compare(theirs: Mapping[str, Any], ours: Mapping[str, Any], against: str) -> Contract:
    """Return whether two trainings measured the same losses on each document, within `_TOLERANCES`."""
    problems, count, figures = list[str](), 0, list[str]()
    texts = theirs["evaluation"]
    for text, which in ((text, which) for text in texts for which in _TOLERANCES):
        pairs = zip(texts[text]["documents"], ours["evaluation"][text]["documents"], strict=True)
        for one, other in pairs:
            count += 1
            apart = abs(one[f"{which}_nll"] - other[f"{which}_nll"]) / one["tokens"]
            if not apart <= _TOLERANCES[which]:
                problems.append(f"{text} {one['id']}, {which} model: the losses are {apart:.3f} apart")
        figures.append(
            f"{text} {which} {texts[text][f'{which}_loss']:.4f} and {ours['evaluation'][text][f'{which}_loss']:.4f}"
        )
    return Contract("a small run has the same losses", count, against, tuple(problems), "; ".join(figures))


def _tests(python: Path, against: str) -> Contract:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not thorough", "tests/training"]
    name, log = "training's tests pass", programs.FOREIGN / "conformance" / "training-image.log"
    try:
        printed = programs.run(command, {"OMP_NUM_THREADS": "1"}, log)
    except programs.StepFailed as error:
        return Contract(name, 1, against, (str(error),))
    passed = re.search(r"(\d+) passed", printed)
    return Contract(name, int(passed[1]) if passed else 0, against)


def _add_what_tests_need() -> None:
    """What the image's libraries do not bring (pytest, the rehearsal's) comes from this environment, after theirs."""
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(_FOLDER)}))
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "from-here.pth").write_text(ours, encoding="utf-8")


def _versions() -> str:
    pinned = re.findall(r"^(torch|transformers|numpy)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    return ", ".join(f"{name} {version}" for name, version in pinned)
