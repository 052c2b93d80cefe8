"""Check the project's contracts against the parts that own them (make conformance).

python -m verification.conformance                                  every part that this machine can run
python -m verification.conformance expressions deploy               these parts only
python -m verification.conformance training-image                   training with the libraries of its image: only when it is named
python -m verification.conformance export                           what captune export writes, read by PEFT and llama.cpp: only when named
python -m verification.conformance --require                        a part that cannot run here is an error, as in CI
python -m verification.conformance --plant property                 plant a fault, which must make its part fail
python -m verification.conformance serving --vllm newest            serve with the newest vLLM in place of the deployed version
"""

import argparse
import importlib
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rehearsal.programs import FOREIGN, PROJECT, CannotRun
from stacks.assembly import SynthesisFailed, synthesize
from verification.conformance.contracts import PLANTS, Contract, Setting, table

Part = Callable[[Setting], list[Contract]]
_EXIT_CODES = (
    "exit codes: 0 every contract holds; 1 one is broken, or nothing was checked; 2 the command line or the settings are wrong; "
    "3 a part could not run (with --require); 130 stopped with Ctrl-C"
)


# In the order in which they run: first what is quick and broken most often.
PARTS = ("expressions", "deploy", "serving")
NAMED = ("training-image", "export")  # large, or in need of a rehearsed run: they run only when they are named


def main(arguments: Sequence[str] | None = None, prog: str = "python -m verification.conformance") -> int:
    """Run the parts, print the table and return the exit code."""
    given = _parse(arguments, prog)
    parts = {name: partial(_run, name) for name in given.parts}
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        contracts, not_run = check(parts, Setting(_assembly(given.plant), given.plant, _say, given.vllm))
    except SynthesisFailed as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("conformance: stopped; nothing is left running", file=sys.stderr)
        return 130
    printed = table(contracts, not_run)
    print(printed)
    if given.write is not None:
        given.write.write_text(f"```text\n{printed}\n```\n", encoding="utf-8")
    return exit_code(contracts, not_run, given.require)


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


def _parse(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    listed = f"{', '.join(PARTS)} (default: these); {', '.join(NAMED)}"
    parser.add_argument("parts", nargs="*", metavar="part", help=listed)
    parser.add_argument("--require", action="store_true", help="a part that cannot run on this machine is an error")
    faults = "; ".join(f"{name}: {plant.description} ({plant.part})" for name, plant in PLANTS.items())
    parser.add_argument("--plant", metavar="NAME", choices=PLANTS, help=f"a fault that its part must notice. {faults}")
    versions = "the version that serves: that of the deployed image, or the newest one (default: deployed)"
    parser.add_argument("--vllm", choices=("deployed", "newest"), default="deployed", help=versions)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to a file, for the pages")
    given = parser.parse_args(arguments)
    unknown = [part for part in given.parts if part not in (*PARTS, *NAMED)]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join((*PARTS, *NAMED))}")
    given.parts = given.parts or ([PLANTS[given.plant].part] if given.plant else list(PARTS))
    return given


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


if __name__ == "__main__":
    sys.exit(main())
