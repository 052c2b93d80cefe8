"""`captune limits RUN`: which rows of docs/limits.md a finished run of your account has answered, as a table in Markdown.

It calls S3, SageMaker and Step Functions of your account and nothing else, and prints no text of yours, no address and no account
number, so that it can be sent to whoever keeps that page.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from captune import account
from captune.account import output
from captune.fetch import listed, stored_plan
from captune.flags import Region, RunName
from captune.kept_run import name_in
from common.aws import or_none
from common.contracts import run_folder
from common.storage import Storage
from settle import history
from settle.history import Execution

_SERVING = ("AskBothModels", "Done")  # the states that follow an endpoint in service
_NOT_IN_A_RUN = "not asked of a run"
_UNKNOWN = "not known from this run"


@dataclass(frozen=True)
class Evidence:
    """The records of a run: its plan, its report's summary, its training job, its execution, and the sizes of the adapter's files."""

    plan: Mapping[str, Any]
    summary: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    execution: Execution = field(default_factory=lambda: Execution(""))
    adapter: Mapping[str, int] = field(default_factory=dict)

    def entered(self, *states: str) -> datetime | None:
        """When the run first entered one of these states."""
        return min((self.execution.entered_at[one] for one in states if one in self.execution.entered_at), default=None)

    def phases(self) -> str:
        """The seconds of each phase of the job, by SageMaker's names."""
        return ", ".join(
            f"{one['Status']} {(one['EndTime'] - one['StartTime']).total_seconds():.0f} s"
            for one in self.job.get("SecondaryStatusTransitions", [])
            if "EndTime" in one
        )


def command(
    run: RunName,
    region: Region = None,
) -> None:
    """Prints the table."""
    session = account.session(region)
    print(table(read_evidence(session.client, output(session, "BucketName"), name_in(session, run))))


def read_evidence(client: Callable[[str], Any], bucket: str, run: str) -> Evidence:
    """The records of a run in the account. Raises Refused."""
    s3 = client("s3")
    storage, plan = Storage(s3, bucket), stored_plan(s3, bucket, run)
    job = or_none(client("sagemaker").describe_training_job, TrainingJobName=run) or {}
    prefix = str(job.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")).removeprefix(f"s3://{bucket}/")
    objects = listed(s3, bucket, prefix) if prefix else []
    adapter = {one["Key"].removeprefix(prefix): int(one["Size"]) for one in objects}
    execution = history.read(client("stepfunctions"), str(plan["executionArn"]), "")
    summary = storage.read_json(run_folder.key(run, run_folder.REPORT) + run_folder.SUMMARY) or {}
    return Evidence(plan, summary, job, execution, adapter)


def table(evidence: Evidence) -> str:
    """One line for each row of docs/limits.md, by its first words: what the run says of it."""
    plan = evidence.plan
    lines = [
        f"Run of {plan['startedAt'][:10]} in {plan['region']}: {evidence.execution.status or 'status unknown'} {evidence.execution.error}".rstrip(),
        f"{plan['baseModel']['name']} on {evidence.job.get('ResourceConfig', {}).get('SelectedInstanceType') or plan['training']['instanceType']}, "
        f"served on {' or '.join(plan['hosting']['instanceTypes'])}{', smoke' if plan['smoke'] else ''}",
        "",
        "| row of docs/limits.md | what this run says |",
        "|---|---|",
    ]
    for row, look in ROWS.items():
        said = _NOT_IN_A_RUN if look is None else look(evidence) or _UNKNOWN
        lines.append(f"| {row} | {said} |")
    return "\n".join(lines)


def _channel(evidence: Evidence) -> str:
    status, phases = evidence.job.get("TrainingJobStatus", ""), evidence.phases()
    if "Training " not in phases:
        return ""
    left = f"; {len(evidence.adapter)} files of {sum(evidence.adapter.values()):,} bytes" if evidence.adapter else ""
    return f"downloaded; the job is {status}: {phases}{left}"


def _several_instances(evidence: Evidence) -> str:
    count = evidence.plan["training"]["instanceCount"]
    return f"{count} instances: {_channel(evidence)}" if count > 1 and evidence.job else ""


def _list_of_types(evidence: Evidence) -> str:
    selected = evidence.job.get("ResourceConfig", {}).get("SelectedInstanceType")
    return f"SageMaker selected {selected}" if selected else ""


def _quotas(evidence: Evidence) -> str:
    kinds = {*evidence.plan["training"]["instanceTypes"], *evidence.plan["hosting"]["instanceTypes"]}
    unread = [warning for warning in evidence.plan["warnings"] if "could not be read" in warning and "uota" in warning]
    return "" if kinds == {"ml.g5.2xlarge"} or unread else f"read for {', '.join(sorted(kinds))}"


def _hub(evidence: Evidence) -> str:
    said = [warning for warning in evidence.plan["warnings"] if warning.startswith("JumpStart's hub")]
    if evidence.plan["baseModel"]["weightsUri"].startswith("s3://jumpstart-"):
        return " ".join(said) or "it answered, as the catalogue says"
    return ""


def _server(evidence: Evidence) -> str:
    created, served = evidence.entered("CreateEndpoint"), evidence.entered(*_SERVING)
    answered = " and both models answered" if evidence.entered("WriteReport") else ""
    return f"in service after {(served - created).total_seconds():.0f} s{answered}" if created and served else ""


def _capacity(evidence: Evidence) -> str:
    tried, deleted = evidence.entered("CreateEndpoint"), evidence.entered("DeleteEndpointWithoutCapacity")
    if evidence.execution.error == "NoCapacity" and tried:
        return evidence.execution.cause.partition("The last reason: ")[2].partition(" Start a new execution later")[0]
    return f"the first failed after {(deleted - tried).total_seconds():.0f} s" if deleted and tried else ""


def _speeds(evidence: Evidence) -> str:
    planned, training = evidence.plan["estimate"], evidence.summary.get("training") or {}
    parts = []
    if speed := training.get("tokens_per_second"):
        parts.append(f"{speed:,.0f} tokens/s of training")
    if billed := evidence.job.get("BillableTimeInSeconds"):
        parts.append(f"job {billed} s, {planned['trainingSeconds']} s estimated")
    if asked := evidence.execution.seconds_by_state.get("AskBothModels"):
        parts.append(f"{evidence.plan['corpus']['prompts']} prompts of each model in {asked:.0f} s")
    return "; ".join(parts)


def _memory(evidence: Evidence) -> str:
    peak = (evidence.summary.get("training") or {}).get("peak_memory_bytes")
    expected = evidence.plan["estimate"]["memory"].get("trainingBytes")
    return f"{peak / 1e9:.1f} GB at most, {(expected or 0) / 1e9:.1f} GB planned" if peak else ""


def _recipe(evidence: Evidence) -> str:
    heldout = evidence.summary.get("heldout") or {}
    gain = (heldout.get("difference") or {}).get("estimate")
    return f"{evidence.summary.get('verdict')}, {gain:+.3f} nats per token" if gain is not None else ""


def _spot(evidence: Evidence) -> str:
    if not evidence.plan["training"]["spot"] or not evidence.job:
        return ""
    taken = sum(one["Status"] == "Interrupted" for one in evidence.job.get("SecondaryStatusTransitions", []))
    used, billed = (evidence.job.get(name, 0) for name in ("TrainingTimeInSeconds", "BillableTimeInSeconds"))
    return f"{evidence.job['TrainingJobStatus']}, interrupted {taken} times, {used} s, {billed} s billed"


def _longest_time(evidence: Evidence) -> str:
    billed = evidence.job.get("BillableTimeInSeconds")
    reserved = evidence.plan["budget"]["ledgerDetails"]["max_training_seconds"]
    longest = evidence.plan["training"]["maxRuntimeSeconds"]
    return f"{billed} s billed, {longest} s allowed, {reserved} s reserved: {evidence.phases()}" if billed else ""


# By the first words of each row; None: no run can answer it.
ROWS: dict[str, Callable[[Evidence], str] | None] = {
    "Lambda with Python 3.14": lambda run: "Preflight made a plan",
    "SageMaker accepts model and endpoint configuration together": lambda run: (
        "both trials were accepted" if run.entered("TrainingNeeded?") else ""
    ),
    "SageMaker accepts JumpStart's gated *hosting* weights": _channel,
    "Step Functions hands `InstancePreferences`": _list_of_types,
    "quotas of other types": _quotas,
    "the hub answers a Lambda": _hub,
    "the serving image takes conversations": lambda run: (
        "both models answered" if run.plan["corpus"].get("conversations") and run.entered("WriteReport") else ""
    ),
    "SageMaker reads `weights_uri`": lambda run: (
        "" if run.plan["baseModel"]["weightsUri"].startswith("s3://jumpstart-") else _channel(run)
    ),
    "vLLM's GPU build": _server,
    "an endpoint without capacity": _capacity,
    "every speed except": _speeds,
    "bfloat16 LoRA of 7 billion": _memory,
    "several GPUs": _several_instances,
    "learning rate, steps and epochs, tried": _recipe,
    "spot:": _spot,
    "`MaxRuntimeInSeconds` counts": _longest_time,
    "a crashed server is back in time": None,
    "AWS bills an endpoint while it is Creating": None,
    "IAM sees the types": None,
    "IAM sees `dynamodb:LeadingKeys`": None,
    "the budget alarm reaches": None,
    "AWS Budgets reads the tag's key": None,
    "CloudWatch's alarms": None,
    "`make deploy` in AWS CloudShell": None,
}
