"""What the owner is told of a run that has ended: the subject and the text of the e-mail, from the settlement's record alone."""

from collections.abc import Sequence

from common.contracts.tear_down import FinalCost, Record
from common.errors import OF_STATUSES
from common.ledger.ledger import dollars
from common.ledger.rows import RunItem

# SNS takes subjects of less than 100 characters, all of them ASCII.
SUBJECT_LENGTH = 99
# A verdict that nobody has told is the one that claims nothing; the report's own word for it.
UNTOLD_VERDICT = "not shown"
# What stands in the verdict's place for a run that kept the endpoint of an earlier adapter (stacks/fine_tuning.asl.yaml).
SERVED = "served"
# A verdict for whoever reads the subject alone: each holds whether outside text was given or not.
_IN_A_SUBJECT = {
    "improved": "improved on held-out documents",
    "not shown": "no improvement shown",
    "vocabulary only": "vocabulary only, no gain beyond the field's words",
    "worse": "worse on held-out documents",
    "worse outside": "worse on text by others",
    "none better": "no adapter scale is better",
}


def cost(item: RunItem | None, left_cents: int, cap_cents: int, month: str) -> FinalCost:
    """The money of a run as the report shows it; a run that reserved nothing did cost nothing. `month` is the one of which so much is left."""
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
    """The subject of the e-mail: run, outcome and cost. FinishReport may tell a closer `outcome` than the verdict alone does."""
    if record["status"] == "SUCCEEDED":
        outcome = record.get("outcome") or _IN_A_SUBJECT.get(record["verdict"], record["verdict"])
    else:
        outcome = record["status"].lower().replace("_", " ")
    text = f"Captune: {outcome}, {dollars(record['cost']['actual_cents'])} ({record['run']})"
    return text.encode("ascii", "replace").decode()[:SUBJECT_LENGTH]


def message(record: Record, circumstances: Sequence[str] = (), report: Sequence[str] = ()) -> str:
    """The text of the e-mail. `circumstances` limit what the verdict says, `report` tells where the report lies."""
    money = record["cost"]
    lines = [f"Run {record['run']} ended as {record['status']}."]
    if is_served(record):
        lines.append(record["reason"])
    elif record["status"] == "SUCCEEDED":
        # The report's headline where it is known: "improved" alone does not say on what.
        lines += [f"Verdict: {record.get('headline') or record['verdict']}. {record['reason']}".strip(), *circumstances]
    else:
        lines.append(f"{record['error'] or 'No error name'}: {record['cause'] or 'no cause was given'}")
        lines += [OF_STATUSES[name] for name in [record["error"] or record["status"]] if name in OF_STATUSES]
    lines += [
        "",
        f"Cost: {dollars(money['actual_cents'])} of {dollars(money['reserved_cents'])} reserved "
        f"(training {dollars(money['training_cents'])}, endpoint {dollars(money['endpoint_cents'])}, everything else {dollars(money['other_cents'])}).",
        *record["unreserved"],
        f"Left of the cap of {dollars(money['cap_cents'])} this month: {dollars(money['remaining_cents'])}.",
        "TearDown finds nothing more of this run.",
        *(f"Left alone: {one}. If it is yours, delete it in the SageMaker console." for one in record["leftAlone"]),
    ]
    return "\n".join([*lines, "", *report] if report else lines)
