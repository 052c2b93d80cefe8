"""The e-mail to the owner about a run that has ended, made only from SettleLedger's record."""

from collections.abc import Sequence

from common.contracts.tear_down import FinalCost, Record
from common.errors import OF_STATUSES
from common.ledger.ledger import dollars
from common.ledger.rows import RunItem
from common.names import console_page

# SNS takes subjects of less than 100 characters, all of them ASCII.
SUBJECT_LENGTH = 99
# The verdict of a run that recorded none: it claims nothing.
UNTOLD_VERDICT = "not shown"
# Instead of a verdict, for a run that only kept the endpoint of an earlier adapter (stacks/fine_tuning.asl.yaml).
SERVED = "served"
# Each holds with and without an external test set.
_IN_A_SUBJECT = {
    "improved": "improved on held-out documents",
    "not shown": "no improvement shown",
    "vocabulary only": "vocabulary only, no gain beyond the field's words",
    "worse": "worse on held-out documents",
    "worse outside": "worse on the external test set",
    "none better": "no adapter scale is better",
}


def cost(item: RunItem | None, left_cents: int, cap_cents: int, month: str) -> FinalCost:
    """The money of a run as the report shows it; a run without a reservation cost nothing. `month` is the month of `left_cents`."""
    money: FinalCost = {
        "reserved_cents": 0 if item is None else int(item["reserved_cents"]),
        "actual_cents": 0 if item is None else int(item["actual_cents"]),
        "training_cents": 0 if item is None else int(item["training_cents"]),
        "endpoint_cents": 0 if item is None else int(item["endpoint_cents"]),
        "other_cents": 0 if item is None else int(item["booked_other_cents"]),
        "remaining_cents": left_cents,
        "cap_cents": cap_cents,
        "month": month,
    }
    if item is not None:
        money["training_seconds"] = int(item["training_seconds"])
        money["endpoint_seconds"] = int(item["endpoint_seconds"])
    return money


def is_served(record: Record) -> bool:
    """Whether the run only kept an endpoint: then it has no verdict and no report."""
    return (record["status"], record["verdict"]) == ("SUCCEEDED", SERVED)


def subject(record: Record) -> str:
    """The subject of the e-mail: outcome or error, cost and run. FinishReport may give a more specific `outcome` than the verdict."""
    if record["status"] == "SUCCEEDED":
        outcome = record.get("outcome") or _IN_A_SUBJECT.get(record["verdict"], record["verdict"])
    else:
        outcome = record["status"].lower().replace("_", " ") + (f" with {record['error']}" if record["error"] else "")
    text = f"Captune: {outcome}, {dollars(record['cost']['actual_cents'])} ({record['run']})"
    return text.encode("ascii", "replace").decode()[:SUBJECT_LENGTH]


def message(record: Record, circumstances: Sequence[str] = (), report: Sequence[str] = ()) -> str:
    """The text of the e-mail. `circumstances` limit the verdict, `report` is the place of the report."""
    money = record["cost"]
    lines = [f"Run {record['run']} ended as {record['status']}."]
    if is_served(record):
        lines.append(record["reason"])
    elif record["status"] == "SUCCEEDED":
        # The report's headline, if it is known: "improved" by itself does not name the text.
        lines += [f"Verdict: {record.get('headline') or record['verdict']}. {record['reason']}".strip(), *circumstances]
    else:
        lines.append(f"{record['error'] or 'No error name'}: {record['cause'] or 'no cause was given'}")
        lines += [OF_STATUSES[name] for name in [record["error"] or record["status"]] if name in OF_STATUSES]
    if arn := record["executionArn"]:
        lines += ["", f"Execution: https://{console_page(arn)}"]
    lines += [
        "",
        f"Cost: {dollars(money['actual_cents'])} of {dollars(money['reserved_cents'])} reserved "
        f"(training {dollars(money['training_cents'])}, endpoint {dollars(money['endpoint_cents'])}, everything else {dollars(money['other_cents'])}).",
        *record["unreserved"],
        f"Remaining budget this month: {dollars(money['remaining_cents'])} of {dollars(money['cap_cents'])}.",
        "TearDown found no further resources of this run.",
        *(f"Not removed: {one}. If it is yours, delete it in the SageMaker console." for one in record["leftAlone"]),
    ]
    return "\n".join([*lines, "", *report] if report else lines)
