"""The copy of a run's input: gathered again by the code that checked it, compared, and written with the plan last."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from common.contracts import run_folder
from common.contracts.plan import Plan
from common.errors import DatasetChanged, DatasetRejected, PromptsRejected
from common.storage import Storage
from preflight import request, staging
from preflight.texts.text_file import Files

_CONTENT_TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson"}


def is_done(storage: Storage, plan: Plan) -> bool:
    """Whether this very plan lies under the prefix, which is written when all else is there."""
    kept = storage.read(_plan_key(plan))
    return kept is not None and kept == _plan_copy(plan).encode()


def gather_again(storage: Storage, s3: Any, plan: Plan) -> dict[str, bytes]:
    """The files of a run by path below its prefix, from the versions of the user's files that Preflight has checked.

    Raises DatasetChanged where one of them was deleted, or the deployed files are others.
    """
    data, most = staging.asset(s3, "DATA"), (plan["corpusWords"], plan["corpusBytes"])
    files = Files(storage, data, plan["domain"], dict(plan["inputVersions"]), *most)
    try:
        material = staging.gather(files, request.parse(plan["input"]))
    except (DatasetRejected, PromptsRejected) as fault:
        raise DatasetChanged(
            f"What Preflight accepted for this run is refused now: a file was deleted or changed in between. {fault}"
        ) from fault
    assert material is not None, "where every fault is raised, what is left is whole"
    staged = staging.files(material, staging.asset(s3, "TRAINING"))
    if staging.digest(staged) != plan["inputDigest"]:
        names = [plan["input"][key] for key in ("corpus", "heldOut", "heldOutside", "prompts") if key in plan["input"]]
        raise DatasetChanged(
            f"What this run would train on is not what Preflight has checked: {', '.join(names) or 'what is deployed'} was changed in between. "
            "Nothing was staged and nothing was paid. Start a new execution, and leave the files alone until it trains."
        )
    return staged


def write(storage: Storage, plan: Plan, files: dict[str, bytes]) -> None:
    """Writes the files under the run's prefix, and the plan beside them, so that a run can be understood and repeated later."""
    for path, content in files.items():
        kind = _CONTENT_TYPES.get(PurePosixPath(path).suffix, "text/plain; charset=utf-8")
        storage.write(f"{plan['prefix']}{path}", content, kind)
    storage.write(_plan_key(plan), _plan_copy(plan), "application/json")


def _plan_key(plan: Plan) -> str:
    return f"{plan['prefix']}{run_folder.PLAN}"


def _plan_copy(plan: Plan) -> str:
    return json.dumps(plan, indent=2)
