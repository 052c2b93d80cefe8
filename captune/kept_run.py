"""A run as this machine keeps it: results/RUN/, filled by a rehearsal or by `captune fetch`, and the errors about a run that is named."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from captune.account import NotDeployed, Refused, output
from common.contracts import run_folder
from common.names import PREFIX, is_rehearsed, is_run_name, run_name

ADAPTER = run_folder.KEPT_ADAPTER  # a folder of PEFT's: PeftModel.from_pretrained and vLLM load it as it is
LATEST = "latest"  # instead of a name: the run that was started last
EXAMPLE = "example"  # the folder of results/ that comes with Captune: a report without its adapter
_SHOWN_RUNS = 5


def local_path(path: str) -> str | None:
    """Where a file of a run's folder in the bucket belongs in results/RUN/; None for one that is not kept, and for those of adapters."""
    folder, _, name = path.rpartition("/")
    kept = f"{folder}/" in (run_folder.REPORT, run_folder.ANSWERS)
    return name if kept or path in (run_folder.PLAN, run_folder.PROMPTS, run_folder.HELD_OUT) else None


def name_of(text: str) -> str:
    """The run's name from what you typed: that name, its execution's name, or its folder."""
    text = Path(text).name if "/" in text else text
    return text if is_run_name(text) else run_name(text)


def name_in(session: Any, named: str) -> str:
    """The name of a run in an account, of which `latest` is the newest. Raises Refused if there is none."""
    if named != LATEST:
        return name_of(named)
    pages = session.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=output(session, "FineTuningArn"))
    newest = next((run_name(one["name"]) for page in found for one in page["executions"]), None)
    if newest is None:
        raise Refused("There is no run in your account yet. Start one: captune run")
    print(f"{named}: {newest}", file=sys.stderr)
    return newest


def not_found(run: str, known: list[str], places: str) -> Refused:
    """The error for a run that was not found, with the closest names, or else the latest."""
    closest = get_close_matches(run, known, _SHOWN_RUNS) or sorted(known)[-_SHOWN_RUNS:]
    others = "`make rehearse` makes one here; `captune ledger` lists your account's."
    if closest:
        others = f"There are: {', '.join(closest)}."
    return Refused(f"There is no run {run} {places}. {others}")


def _object(file: Path, line: bytes | None = None) -> dict[str, Any]:
    """The JSON object in a file, or in a line of it. Raises Refused."""
    try:
        return dict(json.loads(file.read_bytes() if line is None else line))
    except (ValueError, TypeError) as error:
        raise Refused(f"{file} is damaged ({error}). Fetch or rehearse the run again.") from error


@contextmanager
def only_here(run: str, results: Path) -> Iterator[None]:
    """A block that looks for a run in the account. Raises Refused about the run that is not here if the account does not answer."""
    try:
        yield
    except (ClientError, BotoCoreError, NotDeployed) as error:
        asked = f"in {results}, and your account did not answer ({str(error).rstrip('.')})"
        missing = not_found(run, [plan.parent.name for plan in results.glob(f"*/{run_folder.PLAN}")], asked)
        raise Refused(f"{missing} For a run of your account, sign in first: aws sts get-caller-identity") from error


@dataclass(frozen=True)
class KeptRun:
    """A run in a folder of this machine, by its plan."""

    folder: Path
    plan: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.plan["runName"])

    @property
    def domain(self) -> str:
        """The name of the fine-tuned model."""
        return str(self.plan["domain"])

    @property
    def rehearsed(self) -> bool:
        """Whether the run was made on a machine and not in an AWS account."""
        return is_rehearsed(self.plan.get("executionArn"))

    def adapter(self) -> Path:
        """The folder of the adapter. Raises Refused where it is not whole or damaged."""
        folder = self.folder / ADAPTER
        if _is_example(self.folder):
            raise Refused(
                f"{self.folder} is the example report that comes with Captune, without its adapter. Make a run of your own: make rehearse"
            )
        if not self.rehearsed and not folder.is_dir():
            raise Refused(f"The adapter of {self.name} is not on this machine. Run: captune fetch {self.name}")
        files = (run_folder.ADAPTER_WEIGHTS, run_folder.ADAPTER_CONFIGURATION, run_folder.METRICS)
        if missing := [name for name in files if not (folder / name).is_file()]:
            raise Refused(
                f"The run {self.name} has left no adapter: {', '.join(missing)} is not in {folder}. It was stopped or failed before the adapter "
                "was saved, or an older version of this project made it. Start it again, and use the new run."
            )
        for name in (run_folder.ADAPTER_CONFIGURATION, run_folder.METRICS):
            _object(folder / name)
        return folder

    def trained_on(self) -> dict[str, Any]:
        """The base model that the adapter was trained on. Raises Refused as `adapter` does."""
        return dict(_object(self.adapter() / run_folder.METRICS).get("base_model") or {})

    def prompts(self) -> list[dict[str, Any]]:
        """The prompts that the run asked, with their key facts; none if they were not kept. Raises Refused if they are damaged."""
        file = self.folder / Path(run_folder.PROMPTS).name
        content = file.read_bytes() if file.is_file() else b""
        return [_object(file, line) for line in content.splitlines() if line.strip()]


def kept(named: str, results: Path, *, whole_name: bool = False) -> KeptRun | None:
    """The run of this name in `results`, or in the folder that is named; None where there is none.

    Unless it must be the `whole_name`, it may be `latest` or the beginning of a name. Raises Refused for a damaged plan,
    a rejected run, the beginning of several names, and `latest` if there is no run.
    """
    places = (Path(named), results / named, results / name_of(named))
    folder = next((one for one in places if (one / run_folder.PLAN).is_file() or refused_run(one)), None)
    if folder is None and not whole_name:
        folder = _begun_name(named, results)
    if folder is None:
        return None
    if refused := refused_run(folder):
        raise Refused(
            f"The run {folder.name} was rejected and has left no model. {refused.get('error')}: {refused.get('cause')} "
            f"Its report: {folder / run_folder.PAGE}"
        )
    return _planned(folder)


def _is_example(folder: Path) -> bool:
    return folder.name == EXAMPLE and not (folder / ADAPTER).is_dir()


def refused_run(folder: Path) -> dict[str, Any] | None:
    """The summary of a run that was refused before it had a plan; None for any other folder."""
    summary = folder / run_folder.SUMMARY
    if (folder / run_folder.PLAN).is_file() or not summary.is_file():
        return None
    try:
        found = json.loads(summary.read_bytes())
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("error") else None


def _planned(folder: Path) -> KeptRun:
    plan = folder / run_folder.PLAN
    try:
        found = json.loads(plan.read_bytes())
        return KeptRun(folder, {**found, "runName": found["runName"], "domain": found["domain"]})
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{plan} is not the plan of a run ({error!r}). Fetch or rehearse it again.") from error


def _begun_name(named: str, results: Path) -> Path | None:
    """The folder of the run that is called `latest`, or whose name begins so. Raises Refused."""
    planned = [file.parent for file in sorted(results.glob(f"*/{run_folder.PLAN}"))]
    if named == LATEST:
        own = [folder for folder in planned if not _is_example(folder)]
        found = sorted(own, key=lambda folder: str(_planned(folder).plan.get("startedAt")))[-1:]
        if not found:
            raise Refused(f"There is no run in {results} yet. Make one: make rehearse")
    else:
        found = [folder for folder in planned if folder.name.startswith((named, f"{PREFIX}-{named}"))]
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found[-_SHOWN_RUNS:])
        raise Refused(f"{len(found)} runs in {results} begin with {named}, such as {names}. Type more of the name.")
    for folder in found:
        print(f"{named}: {folder.name}", file=sys.stderr)
    return found[0] if found else None
