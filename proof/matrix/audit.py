"""What must be true at the end of every cell, counted with the stand-in's own seconds and prices."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

from common.contracts import run_folder
from common.ledger import keys
from common.ledger import table as ledger_table
from common.ledger.rows import RunItem, cents_by_month
from common.names import belongs_to, run_name
from proof.matrix.bench import Bench
from proof.matrix.expectations import NOTHING, Expected
from rehearsal.step_functions.executions import Execution


def ends(bench: Bench, run: Execution, expected: Expected) -> list[str]:
    """Whether the run and its first TearDown ended as they must."""
    wrong = _differs("the run", run, expected.run)
    tear_downs = bench.tear_downs()
    if tear_downs:
        wrong += _differs("TearDown", tear_downs[0], expected.tear_down)
    elif expected.healer == NOTHING:
        wrong.append("no TearDown was started")
    return wrong


def _differs(what: str, execution: Execution, end: tuple[str, str]) -> list[str]:
    status, error = end
    found = (execution.status, execution.error or "")
    if found[0] == status and (not error or found[1] == error):
        return []
    return [f"{what} ended as {' '.join(found)}, not as {' '.join(end)}: {(execution.cause or '')[:200]}"]


def nothing_left(bench: Bench) -> list[str]:
    """Whether nothing bills, nothing runs and no schedule is left."""
    wrong = [f"left: {kind} {names}" for kind, names in bench.cloud.leftovers().items() if names]
    wrong += [f"still running: {execution}" for execution in bench.cloud.executions.running()]
    wrong += [f"undelivered: {d.name} {d.error}" for d in bench.cloud.events.deliveries if d.error]
    return wrong


def money(bench: Bench, earlier_cents: int = 0) -> list[str]:
    """Whether every run is settled, and spent <= settled <= reserved <= cap, in each month and together.

    `earlier_cents` is what a cell put into each month before its run.
    """
    items = ledger_table.Table(bench.cloud.client("dynamodb"), bench.deployment.table).scan()
    runs = {row.run: row.item for row in bench.ledger().rows()}
    committed = {
        month: int(item["committed_cents"]["N"]) for item in items if (month := keys.month_in(item["pk"]["S"]))
    }
    wrong = [f"{run} is {item['state']}" for run, item in runs.items() if item["state"] != "settled"]
    for month, cents in committed.items():
        actual = sum(cents_by_month(item).get(month, 0) for item in runs.values())
        if cents != actual + earlier_cents:
            wrong.append(f"{month} has {cents} committed, and its runs did cost {actual} after {earlier_cents}")
    cap = cap_cents(bench)
    for run, item in runs.items():
        if item["state"] == "settled":
            wrong += _in_order(bench, run, item, cap)
    unbooked = [
        name for names in spent(bench).values() for name in names if not any(belongs_to(name, run) for run in runs)
    ]
    return wrong + [f"{name} billed without a reservation" for name in unbooked]


def _in_order(bench: Bench, run: str, item: RunItem, cap: int) -> list[str]:
    """Whether spent <= settled <= reserved <= cap; training and endpoint by themselves, so that no small item hides a cent."""
    wrong = []
    for kind, booked in (("training", int(item["training_cents"])), ("endpoints", int(item["endpoint_cents"]))):
        cents = sum((c for name, c in spent(bench)[kind].items() if belongs_to(name, run)), Fraction(0))
        if cents > booked:
            wrong.append(f"{run} spent {float(cents):.2f} cents on {kind} and settled {booked}")
    actual, reserved = int(item["actual_cents"]), int(item["reserved_cents"])
    if not actual <= reserved <= cap:
        wrong.append(f"{run} settled {actual} cents of {reserved} reserved under a cap of {cap}")
    return wrong


def spent(bench: Bench) -> dict[str, dict[str, Fraction]]:
    """What everything did cost by the stand-in's clock and price list, in cents, by kind and name."""
    market = bench.cloud.sagemaker.market
    hourly = {price.component: price.dollars for price in market.prices if price.region == bench.cloud.region}
    components = {"training": "Training", "endpoints": "Hosting"}
    return {
        kind: {name: _cents(hourly[components[kind]], seconds) for name, seconds in by_name.items() if seconds}
        for kind, by_name in bench.cloud.sagemaker.billed_seconds().items()
    }


def _cents(hourly: Decimal, seconds: int) -> Fraction:
    return Fraction(hourly) * 100 * seconds / 3600


def cap_cents(bench: Bench) -> int:
    """The deployed cap."""
    name = bench.deployment.functions["reserve"]
    found = bench.cloud.client("lambda").get_function_configuration(FunctionName=name)
    return int(found["Environment"]["Variables"]["CAP_CENTS"])


def told(bench: Bench, run: Execution, expected: Expected) -> list[str]:
    """Whether the owner was told: a report or a note of the failure in the bucket, and an e-mail."""
    prefix = run_folder.key(run_name(run.name), run_folder.REPORT)
    s3, wrong = bench.cloud.client("s3"), []
    found = s3.list_objects_v2(Bucket=bench.deployment.bucket, Prefix=prefix).get("Contents", [])
    names = {entry["Key"].removeprefix(prefix) for entry in found}
    if expected.note and not {run_folder.SUMMARY, run_folder.PAGE} <= names:
        wrong.append(f"no report and no note of the failure, only {sorted(names)}")
    elif expected.note:
        body = s3.get_object(Bucket=bench.deployment.bucket, Key=f"{prefix}{run_folder.SUMMARY}")["Body"].read()
        summary = json.loads(body)
        item = bench.ledger().run(run_name(run.name))
        told_end = (summary["status"], summary["cost"]["actual_cents"])
        true_end = (run.status, int(item["actual_cents"]) if item and "actual_cents" in item else 0)
        if expected.final and told_end != true_end:
            wrong.append(f"the report says {told_end}, and {true_end} is true")
    mails = [subject for topic, subject, _ in bench.cloud.messages if topic == bench.deployment.topic]
    if expected.mail and not mails:
        wrong.append("no e-mail")
    texts = [text for topic, _, text in bench.cloud.messages if topic == bench.deployment.topic]
    if not expected.final and not any("The report could not be finished" in text for text in texts):
        wrong.append("no e-mail says that the report could not be finished")
    return wrong
