"""WriteReport: brings measurements and answers together, judges them, and writes the report."""

from typing import Any, cast

from common.aws import client, reaching
from common.contracts import run_folder
from common.contracts.fine_tuning import Reported, ReportEvent
from common.contracts.plan import Plan
from common.environment import required
from common.errors import ReportIncomplete
from common.logs import log
from common.storage import Storage
from report import analysis, render, summary
from report.run_facts import run_facts


def handle(event: ReportEvent, context: Any) -> Reported:
    """Takes what a run has left; answers the verdict and the report's place. Raises ReportIncomplete, AdapterNotServed."""
    plan = event["plan"]
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    earlier = run_folder.run_of_uri(plan.get("adapterUri") or "")
    trained_by = run_folder.prefix(earlier) if earlier else plan["prefix"]
    try:
        with reaching("Reading the run's files"):
            its_plan = cast(Plan, storage.read_json(f"{trained_by}{run_folder.PLAN}") or {}) if earlier else plan
            metrics = storage.read_json(storage.key_of(event["adapterUri"]) + run_folder.METRICS)
            prompts = storage.read_lines(plan["answers"]["promptsKey"])
            base = storage.read_lines(plan["answers"]["preTrainedKey"])
            tuned = storage.read_lines(plan["answers"]["fineTunedKey"])
            corpus = _corpus(storage, trained_by)
    except ValueError as error:
        raise ReportIncomplete(f"A file that the report is made from is damaged: {error}. Start again.") from error
    if metrics is None:
        raise ReportIncomplete(
            f"The training job left no {run_folder.METRICS} in {event['adapterUri']}. Look at its log, then start again."
        )
    if len(base) != len(prompts) or len(tuned) != len(prompts):
        raise ReportIncomplete(
            f"{len(prompts)} prompts have {len(base)} answers of the base model and {len(tuned)} of the fine-tuned one. Start again."
        )
    run = run_facts(plan, event["reservation"], event, its_plan)
    analysis.refuse_base_answers(metrics, base, tuned)
    kind = {key: bool(run[key]) for key in ("smoke", "outside_given", "records")}
    findings = analysis.analyse(
        metrics, prompts, base, tuned, seed=plan["seed"], corpus=corpus, domain=run["domain"], **kind
    )
    document = summary.build(run, metrics, prompts, base, tuned, findings)
    with reaching("Writing the report"):
        not_made = render.write(storage, plan["report"]["prefix"], document)
    log("reported", run=plan["runName"], verdict=document["verdict"], not_made=not_made)
    console = f"https://{plan['region']}.console.aws.amazon.com/s3/buckets/{storage.bucket}"
    return {
        "run": plan["runName"],
        "verdict": document["verdict"],
        "reason": document["verdict_reason"],
        "report": f"{plan['report']['uri']}{run_folder.PAGE}",
        "reportConsole": f"{console}?region={plan['region']}&prefix={plan['report']['prefix']}",
        "summary": f"{plan['report']['uri']}{run_folder.SUMMARY}",
        "reservedCents": event["reservation"]["reservedCents"],
    }


def _corpus(storage: Storage, prefix: str) -> str:
    """The training text under a run's prefix, in which copied words are looked for; empty where none is left. Raises ValueError for a damaged file."""
    text = storage.read(f"{prefix}{run_folder.CORPUS}")
    if text is not None:
        return text.decode("utf-8")
    try:
        records = storage.read_lines(f"{prefix}{run_folder.RECORDS}")
        turns = [one.get("messages") or [{"content": one["prompt"]}, {"content": one["completion"]}] for one in records]
        return "\n".join(str(turn["content"]) for record in turns for turn in record)
    except KeyError as error:
        raise ValueError(f"a record of {run_folder.RECORDS} has no {error}") from error
