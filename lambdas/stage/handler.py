"""StageInput: gathers again what Preflight has checked, compares it, and writes it under the run's prefix, once the run owns it."""

import json
from pathlib import PurePosixPath
from typing import Any

from common.aws import client, reaching
from common.contracts import run_folder
from common.contracts.fine_tuning import Staged
from common.contracts.plan import Plan
from common.environment import required
from common.errors import DatasetChanged, DatasetRejected, PromptsRejected
from common.logs import log
from common.settings import AUTO
from common.storage import Storage
from preflight import request, staging
from preflight.texts.text_file import Files


def handle(event: Plan, context: Any) -> Staged:
    """Takes the plan of the run; answers what it has staged. Raises DatasetChanged where a file is not the checked one.

    A second call writes nothing, even if the user's files have changed since.
    """
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    with reaching("Copying the run's input"):
        _copy(storage, client("s3"), event)
    log("staged", run=event["runName"], digest=event["inputDigest"])
    return {"runName": event["runName"], "inputDigest": event["inputDigest"]}


_CONTENT_TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson"}


def _copy(storage: Storage, s3: Any, plan: Plan) -> None:
    """Writes a run's files and, last, its plan; nothing where this very plan lies already. Raises DatasetChanged."""
    key, document = f"{plan['prefix']}{run_folder.PLAN}", json.dumps(plan, indent=2)
    if storage.read(key) == document.encode():
        return
    for path, content in _read_again(storage, s3, plan).items():
        kind = _CONTENT_TYPES.get(PurePosixPath(path).suffix, "text/plain; charset=utf-8")
        storage.write(f"{plan['prefix']}{path}", content, kind)
    storage.write(key, document, "application/json")


def _read_again(storage: Storage, s3: Any, plan: Plan) -> dict[str, bytes]:
    """The files of a run by path, in the versions that Preflight checked. Raises DatasetChanged for other files."""
    data, most = staging.asset(s3, "DATA"), (plan["corpusWords"], plan["corpusBytes"])
    measures = plan["training"]["hyperparameters"].get("adapter_scale") == AUTO
    files = Files(storage, data, plan["domain"], dict(plan["inputVersions"]), *most, measures)
    try:
        material = staging.read_material(files, request.parse(plan["input"]))
    except (DatasetRejected, PromptsRejected) as fault:
        raise DatasetChanged(
            f"A file was deleted or changed after Preflight checked it. Fix it, then start a new execution. {fault}"
        ) from fault
    assert material is not None, "where every fault is raised, what is left is whole"
    staged = staging.files(material, staging.asset(s3, "TRAINING"))
    if staging.digest(staged) != plan["inputDigest"]:
        names = [plan["input"][key] for key in ("corpus", "heldOut", "heldOutside", "prompts") if key in plan["input"]]
        raise DatasetChanged(
            f"{', '.join(names) or 'The deployed data'} changed after Preflight checked it. Training has not started, so it costs nothing. "
            "Start a new execution, and do not change the files until training starts."
        )
    return staged
