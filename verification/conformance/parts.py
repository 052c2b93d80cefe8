"""The parts of the checks, each imported when it runs: one that needs what is not installed leaves the others alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verification.conformance.contract import Contract
from verification.conformance.environments import CannotRun


@dataclass(frozen=True)
class Setting:
    """What every part is given: the folder of the synthesized project, the name of a planted fault, and who is told."""

    assembly: Path
    plant: str | None
    say: Callable[[str], None]


Part = Callable[[Setting], list[Contract]]


def _serving(setting: Setting) -> list[Contract]:
    try:
        serving = importlib.import_module("verification.conformance.serving")
    except ImportError as error:
        raise CannotRun(f"its modules cannot be imported: {error}") from error
    contracts: list[Contract] = serving.run(setting.assembly, setting.say, plant=setting.plant)
    return contracts


def _deploy(setting: Setting) -> list[Contract]:
    from verification.conformance import deploy

    return deploy.run(setting.assembly, setting.say, planted=setting.plant is not None)


def _expressions(setting: Setting) -> list[Contract]:
    from verification.conformance import expressions

    return expressions.run(setting.assembly, setting.say)


# In the order in which they run: what is quick and wrong most often first.
PARTS: dict[str, Part] = {"expressions": _expressions, "deploy": _deploy, "serving": _serving}
