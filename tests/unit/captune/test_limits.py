"""`captune limits`: which open questions of docs/limits.md a run has answered, and nothing that is nobody else's business."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from captune import limits
from captune.limits import ROWS, Evidence
from settle.history import Execution
from tests.doubles.lambda_fakes import NOW
from tests.doubles.preflight_site import Site

PAGE = Path(__file__).resolve().parents[3] / "docs" / "limits.md"
ENTERED = {"TrainingNeeded?": 9, "CreateEndpoint": 1000, "AskBothModels": 1720, "WriteReport": 2400}


def row(text: str, beginning: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {beginning}")]
    return line.split(" | ")[1].removesuffix(" |")


def phase(status: str, start: int, end: int) -> dict[str, Any]:
    return {"Status": status, "StartTime": NOW + timedelta(seconds=start), "EndTime": NOW + timedelta(seconds=end)}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return dict(Site(monkeypatch).run())


def finished(plan: dict[str, Any], **job: Any) -> Evidence:
    """What is left of a run that went well."""
    phases = [phase("Starting", 0, 90), phase("Downloading", 90, 250), phase("Training", 250, 1100)]
    told = {
        "TrainingJobStatus": "Completed", "BillableTimeInSeconds": 1010, "TrainingTimeInSeconds": 1010,
        "SecondaryStatusTransitions": [*phases, {"Status": "Completed"}], **job,
    }  # fmt: skip
    entered = {state: NOW + timedelta(seconds=second) for state, second in ENTERED.items()}
    execution = Execution("SUCCEEDED", seconds_by_state={"AskBothModels": 600.0}, entered_at=entered)
    training = {"tokens_per_second": 1190.4, "peak_memory_bytes": 18_300_000_000}
    summary = {"training": training, "verdict": "improved", "heldout": {"difference": {"estimate": -0.25}}}
    return Evidence(plan, summary, told, execution, {"adapter_model.safetensors": 80_000_000, "metrics.json": 5_000})


def test_every_row_of_the_page_is_asked_and_no_other() -> None:
    text = PAGE.read_text("utf-8").partition("|---|")[2].partition("\n\n")[0]
    rows = [line.removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert [[start for start in ROWS if one.startswith(start)] for one in rows] == [[start] for start in ROWS]


def test_a_finished_run_answers_what_it_can(plan: dict[str, Any]) -> None:
    text = limits.table(finished(plan))
    assert row(text, "SageMaker accepts JumpStart") == (
        "downloaded; the job is Completed: Starting 90 s, Downloading 160 s, Training 850 s; 2 files of 80,005,000 bytes"
    )
    assert row(text, "vLLM's GPU build") == "in service after 720 s and both models answered"
    assert row(text, "every speed").startswith("1,190 tokens/s of training; job 1010 s, ")
    assert row(text, "bfloat16 LoRA").startswith("18.3 GB at most, ")
    assert row(text, "`MaxRuntimeInSeconds` counts").startswith(
        "1010 s billed, 7200 s allowed, 8520 s reserved: Starting 90 s"
    )
    assert row(text, "learning rate, steps and epochs, tried") == "improved, -0.250 nats per token"
    unknown = ("Step Functions hands", "quotas of other", "the serving image takes", "several GPUs", "spot:")
    assert {row(text, one) for one in unknown} == {"not known from this run"}
    assert {row(text, start) for start, look in ROWS.items() if look is None} == {"not asked of a run"}
    # No address and no account.
    assert plan["executionArn"].split(":")[4] not in text and plan["bucket"] not in re.findall(r"\w+", text)
    assert "s3://" not in text and plan["runName"] not in text


def test_a_list_spot_and_several_instances_answer_the_rows_that_are_for_them_only(plan: dict[str, Any]) -> None:
    plan["training"] |= {"instanceTypes": ["ml.g5.2xlarge", "ml.g6.2xlarge"], "spot": True, "instanceCount": 2}
    plan["baseModel"] |= {"weightsUri": "s3://mine/models/"}
    plan["corpus"] |= {"conversations": True}
    taken = [phase("Starting", 0, 9), phase("Training", 9, 50), {"Status": "Interrupted"}, phase("Training", 60, 90)]
    job = {"ResourceConfig": {"SelectedInstanceType": "ml.g6.2xlarge"}, "SecondaryStatusTransitions": taken}
    text = limits.table(finished(plan, **job, BillableTimeInSeconds=400))
    assert row(text, "Step Functions hands") == "SageMaker selected ml.g6.2xlarge"
    assert row(text, "quotas of other") == "read for ml.g5.2xlarge, ml.g6.2xlarge"
    assert row(text, "spot:") == "Completed, interrupted 1 times, 1010 s, 400 s billed"
    assert row(text, "several GPUs").startswith("2 instances: downloaded")
    assert row(text, "SageMaker reads").startswith("downloaded")
    assert row(text, "the serving image takes") == "both models answered"
    assert row(text, "the hub answers") == "not known from this run"


def test_a_run_without_capacity_repeats_what_the_endpoint_said_and_after_how_long(plan: dict[str, Any]) -> None:
    tried = {"CreateEndpoint": NOW, "DeleteEndpointWithoutCapacity": NOW + timedelta(seconds=1890)}
    later = Evidence(plan, execution=Execution("SUCCEEDED", entered_at=tried))
    assert row(limits.table(later), "an endpoint without") == "the first failed after 1890 s"
    cause = "AWS had none. The last reason: Request to service failed. Start a new execution later, or list more types."
    ended = Evidence(plan, execution=Execution("FAILED", "NoCapacity", cause, entered_at=tried))
    assert row(limits.table(ended), "an endpoint without") == "Request to service failed."


def test_a_run_rejected_before_hosting_shows_that_preflight_works(plan: dict[str, Any]) -> None:
    plan["baseModel"] |= {"weightsUri": "s3://jumpstart-private-cache-prod-us-east-1/meta/"}
    plan["warnings"].append("JumpStart's hub did not describe it (AccessDeniedException)")
    text = limits.table(Evidence(plan, execution=Execution("FAILED", "HostingRefused")))
    assert "FAILED HostingRefused" in text.splitlines()[0]
    known = [start for start, look in ROWS.items() if look and row(text, start) != "not known from this run"]
    assert known == ["Lambda with Python 3.14", "the hub answers a Lambda"]
    assert "AccessDeniedException" in row(text, "the hub answers")
