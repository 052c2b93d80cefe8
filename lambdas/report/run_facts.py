"""What is known of a run itself: from its plan, its reservation and, where the run got that far, WriteReport's event."""

from collections.abc import Mapping
from typing import Any

from common.contracts import run_folder
from common.contracts.fine_tuning import ReportEvent
from common.contracts.plan import Plan
from common.names import console_page
from common.pricing import prices
from report.content.circumstances import MEDICAL
from report.formatting import whole
from report.summary_types import Spot, or_empty


def run_facts(
    plan: Plan, reservation: Mapping[str, Any], event: ReportEvent | None = None, trained_by: Plan | None = None
) -> dict[str, Any]:
    """The report's facts about the run itself.

    `trained_by` is the plan of the run that trained the served adapter, if that is an earlier one: texts and losses are that
    run's, and this one trained on no instance. Instances and their prices are those that trained and served; without an
    event they are known only if the plan has a single choice.
    """
    reported, budget, model, training = (
        or_empty(part) for part in (event, plan.get("budget"), plan.get("baseModel"), plan.get("training"))
    )
    theirs = None if trained_by is plan else trained_by
    earlier = [f"Of the run that trained the adapter: {one}" for one in or_empty(theirs).get("warnings") or []]
    trained_by, adapter, region = trained_by or plan, str(plan.get("adapterUri") or ""), plan.get("region")
    to_train, to_serve = [] if adapter else _wanted(training), _wanted(or_empty(plan.get("hosting")))
    trainer = None if adapter else _used(reported.get("trainingInstanceType"), to_train)
    server = _used(reported.get("hostingInstanceType"), to_serve)
    training_cents = _hourly_cents(budget, "training", trainer)
    on_spot = training.get("spot") and not adapter
    given, evaluation = or_empty(trained_by.get("input")), or_empty(trained_by.get("evaluation"))
    domain = trained_by.get("domain")
    return {
        "run": plan.get("runName"),
        # The default says nothing about a text of your own; a domain that was set does.
        "domain": None if given.get("corpus") and domain == MEDICAL else domain,
        "execution_arn": plan["executionArn"],
        "console_url": f"https://{region}.{console_page(plan['executionArn'])}" if region else None,
        "report_uri": or_empty(plan.get("report")).get("uri"),
        "region": region,
        "started_at": plan.get("startedAt"),
        "input": plan.get("input"),
        "warnings": [*(plan.get("warnings") or []), *earlier],
        "base_model": model.get("name"),
        "base_model_parameters": model.get("parameters"),
        "base_model_source": model.get("weightsUri"),
        "data_digest": trained_by.get("inputDigest"),
        "training_instance_type": trainer,
        "training_instance_types": to_train,
        "training_instance_count": None if adapter else int(training.get("instanceCount") or 1),
        "training_hourly_cents": training_cents,
        "max_training_seconds": None if adapter else training.get("maxRuntimeSeconds"),
        "training_cut": bool(reported.get("trainingCut")),
        "spot": spot_facts(or_empty(reported.get("trainingJob")), training.get("instanceCount"), training_cents)
        if on_spot
        else None,
        "hosting_instance_type": server,
        "hosting_instance_types": to_serve,
        "hosting_hourly_cents": _hourly_cents(budget, "hosting", server),
        "price_source": budget.get("priceSource"),
        "reserved_cents": reservation["reservedCents"],
        "cap_cents": reservation["capCents"],
        "month": (budget.get("months") or [None])[0],
        "expected": _expected(or_empty(plan.get("estimate"))),
        "smoke": bool(plan.get("smoke") or trained_by.get("smoke")),
        "adapter_uri": adapter or None,
        "adapter_run": run_folder.run_of_uri(adapter),
        "trained_adapter_uri": None if adapter else reported.get("adapterUri"),
        # The deployment may have an external test set of its own. The plan of an older deployment knows only the input's.
        "outside_given": bool(evaluation.get("outsideDocuments", given.get("heldOutside"))),
        "outside_text": evaluation.get("outsideText") or None,
        "records": _records(or_empty(trained_by.get("corpus"))),
        "corpus_note": or_empty(trained_by.get("corpus")).get("note") or None,
    }


def _expected(estimate: Mapping[str, Any]) -> dict[str, Any] | None:
    """The plan's estimates that can be compared with measured figures. None without an estimate."""
    if not estimate:
        return None
    learning = (phase.get("seconds") for phase in estimate.get("phases") or [] if phase.get("name") == "learn")
    return {
        "cents": estimate.get("expectedCents"),
        "tokens": estimate.get("tokens"),
        "learning_seconds": next(learning, None),
    }


def _records(corpus: Mapping[str, Any]) -> str | None:
    if not corpus.get("records"):
        return None
    kind = "conversations" if corpus.get("conversations") else "prompts with completions"
    return (
        f"The run was trained on {whole(corpus['records'])} records ({kind}) of {whole(corpus.get('documents'))} groups, and held "
        f"{whole(corpus.get('heldOutRecords'))} out. Each loss counts only the answer tokens, after the record's own prompt. In this report, "
        "a document of theirs is a group of records."
    )


def _wanted(part: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in part.get("instanceTypes") or [part.get("instanceType") or ""] if name]


def _used(reported: Any, wanted: list[str]) -> str | None:
    return str(reported) if reported else wanted[0] if len(wanted) == 1 else None


def _hourly_cents(budget: Mapping[str, Any], use: str, instance_type: str | None) -> float | None:
    """The price of the type that was used. The budget itself holds the highest price, which the reservation is based on."""
    if instance_type is None:
        return None
    written = str((budget.get("ledgerDetails") or {}).get(f"{use}_prices") or "")
    for price in prices.read(written, use, ""):
        if price.instance_type == instance_type:
            return float(price.hourly_usd) * 100
    return float(budget[f"{use}HourlyUsd"]) * 100 if f"{use}HourlyUsd" in budget else None


def spot_facts(job: Mapping[str, Any], instances: Any, hourly_cents: float | None) -> Spot:
    """SageMaker's figures of a spot job; None for a missing one (0 in the event). Saved is trained less billed time."""
    seconds, billed = (job.get(name) or None for name in ("trainingSeconds", "billedSeconds"))
    saved = None
    if seconds and billed and hourly_cents is not None:
        saved = round(max(0, seconds - billed) * int(instances or 1) * hourly_cents / 3600)
    return {
        "interruptions": job.get("interruptions"),
        "training_seconds": seconds,
        "billed_seconds": billed,
        "saved_cents": saved,
    }
