"""StageInput: writes what Preflight has checked under the run's prefix, once the run owns it."""

from __future__ import annotations

from typing import Any

from common.aws import client, reaching
from common.contracts.fine_tuning import Staged
from common.contracts.plan import Plan
from common.environment import required
from common.logs import log
from common.storage import Storage
from stage import copying


def handle(event: Plan, context: Any) -> Staged:
    """Takes the plan of the run; answers what it has staged. Raises DatasetChanged where a file is not the checked one.

    A second call writes nothing, whatever has become of the user's files since the first.
    """
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    with reaching("The copy of the run's input"):
        copying.copy(storage, client("s3"), event)
    log("staged", run=event["runName"], digest=event["inputDigest"])
    return {"runName": event["runName"], "inputDigest": event["inputDigest"]}
