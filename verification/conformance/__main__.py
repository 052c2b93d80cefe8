"""`captune dev conformance`: checks the project's contracts against the software that owns them."""

import importlib
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from captune.flags import Out
from rehearsal.conductor.options import one_of
from rehearsal.programs import FOREIGN, PROJECT, CannotRun
from stacks.assembly import SynthesisFailed, synthesize
from verification.conformance.contracts import PLANTS, Contract, Setting, table

Part = Callable[[Setting], list[Contract]]

# In the order in which they run: first what is quick and broken most often.
PARTS = ("expressions", "deploy", "serving")
NAMED = ("training-image", "export")  # large, or in need of a rehearsed run: they run only when they are named


_FAULTS = "; ".join(f"{name}: {plant.description} ({plant.part})" for name, plant in PLANTS.items())


def command(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PART", parser=one_of((*PARTS, *NAMED)), show_default=False,
            help=f"Check only this part: {', '.join((*PARTS, *NAMED))} (default: the first {len(PARTS)}).",
        ),
    ] = None,
    require: Annotated[
        bool, typer.Option("--require", help="Fail if a part cannot run on this machine, as in CI.")
    ] = False,
    plant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", parser=one_of(PLANTS), help=f"Plant a fault that its part must notice. {_FAULTS}."
        ),
    ] = None,
    vllm: Annotated[
        Literal["deployed", "newest"], typer.Option(help="Serve with the version of the deployed image, or the newest.")
    ] = "deployed",
    out: Out = None,
) -> int:  # fmt: skip
    """Runs the parts, prints the table and returns the exit code.

    Exit codes: 0 every contract holds; 1 one is broken, or none was checked; 2 an option or setting is wrong; 3 a part could not
    run (with `--require`); 130 you stopped it with Ctrl-C.
    """
    chosen = named or ([PLANTS[plant].part] if plant else PARTS)
    parts = {name: partial(_run, name) for name in chosen}
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        contracts, not_run = check(parts, Setting(_assembly(plant), plant, _say, vllm))
    except SynthesisFailed as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("conformance: stopped; nothing is left running", file=sys.stderr)
        return 130
    printed = table(contracts, not_run)
    print(printed)
    if out:
        out.write_text(f"```text\n{printed}\n```\n", encoding="utf-8")
    return exit_code(contracts, not_run, require)


def check(parts: Mapping[str, Part], setting: Setting) -> tuple[list[Contract], dict[str, str]]:
    """Return the contracts of the parts, and why a part did not run by its name. A part that breaks off is a broken contract."""
    contracts, not_run = list[Contract](), dict[str, str]()
    for name, part in parts.items():
        try:
            contracts += part(setting)
        except (CannotRun, ImportError) as reason:
            not_run[name] = str(reason)
        except Exception as error:  # the other parts still run
            traceback.print_exc()
            contracts.append(Contract(name, 0, "nothing: it broke off", (f"{type(error).__name__}: {error}",)))
    return contracts, not_run


def _run(name: str, setting: Setting) -> list[Contract]:
    """Imports the part only now: one that needs what is not installed leaves the others alone."""
    module = importlib.import_module(f"verification.conformance.{name.replace('-', '_')}")
    contracts: list[Contract] = module.run(setting)
    return contracts


def exit_code(contracts: Sequence[Contract], not_run: dict[str, str], require: bool) -> int:
    """0 when something was checked and all of it holds; 3 when a part that is required could not run."""
    if not all(contract.holds for contract in contracts):
        return 1
    if not_run and require:
        return 3
    return 0 if contracts else 1


def _assembly(plant: str | None) -> Path:
    """The project, synthesized for a person who has accepted the licence, with a fault if one is to be planted."""
    folder = FOREIGN / "conformance" / "assembly"
    shutil.rmtree(folder, ignore_errors=True)
    # The whole of what a quick run learns is kept: whether both models answer as themselves must not depend on how much that is.
    synthesize(PROJECT, folder, {"accept_eula": "true", "adapter_scale": "1"})
    if plant is not None:
        _say(f"planted: {PLANTS[plant].description}")
        PLANTS[plant].into(folder)
    return folder


def _say(line: str) -> None:
    print(f"conformance: {line}", file=sys.stderr, flush=True)
