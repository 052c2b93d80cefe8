"""FinishReport: writes the final status, cost and times into the report, or a report of the failure, after the run is settled.

If it fails, the run is still settled, its schedule deleted and the e-mail sent.
"""

from typing import Any

from common.aws import client, reaching
from common.contracts import run_folder
from common.contracts.tear_down import Finished, Record
from common.environment import required
from common.logs import log
from common.storage import Storage
from finish import last_report
from report.content import circumstances
from report.content.meaning import NO_OUTSIDE_TEXT
from report.findings.verdict import IMPROVED
from report.summary_types import Summary
from settle import notice


def handle(event: Record, context: Any) -> Finished:
    """Takes the settlement's record; answers the e-mail and the verdict. Raises ReportDamaged, ServiceUnreachable."""
    told = ""
    if not event.get("ownsPrefix", True):
        told = "No report was written: this run's name belongs to an earlier run, whose report is unchanged."
    elif notice.is_served(event):
        told = "No report was written: this run asked no prompts."
    if told:
        return {
            "subject": notice.subject(event),
            "message": notice.message(event, report=[told]),
            "verdict": event["verdict"],
        }
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    prefix = run_folder.key(event["run"], run_folder.REPORT)
    with reaching("Finishing the report"):
        document, not_made = last_report.write(storage, prefix, event)
    record = _closer({**event, "verdict": document["verdict"], "reason": document["verdict_reason"]}, document)
    log("finished", run=event["run"], verdict=record["verdict"], not_made=not_made)
    where = [
        f"Report: {storage.uri(prefix)}{run_folder.PAGE}",
        f"Copy it with the answers: captune fetch {event['run']}",
    ]
    where += [f"{told}." for told in not_made]
    limits = [f"{title}: {text}" for title, text in circumstances.notes(document)]
    if document.get("heldout") and document.get("outside") is None:
        limits.append(NO_OUTSIDE_TEXT)
    return {
        "subject": notice.subject(record),
        "message": notice.message(record, limits, where),
        "verdict": record["verdict"],
    }


def _closer(record: Record, document: Summary) -> Record:
    """The record with the report's headline, and an outcome for the subject that is more specific than the verdict."""
    told = document.get("headline") or ""
    title = told[:1].lower() + told[1:]
    closer: Record = {**record, "headline": title}
    if document["verdict"] == IMPROVED and document.get("outside"):
        closer["outcome"] = "improved, on the external test set too"
    elif title:
        # A subject is short: the message has the reason after the colon and the origin of the documents.
        closer["outcome"] = title.partition(":")[0].removesuffix(" of the same corpus")
    return closer
