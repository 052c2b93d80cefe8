"""One usual run of the deployed project: what it calls, reports and leaves. All tests read the same run."""

from __future__ import annotations

import pytest

from common.contracts import run_folder
from common.names import run_name
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import DeployedProject


@pytest.fixture(scope="module")
def run(deployed: DeployedProject) -> Execution:
    """The run, at its end and that of its TearDown."""
    return deployed.run()


def test_it_succeeds_and_its_tear_down_leaves_nothing(deployed: DeployedProject, run: Execution) -> None:
    assert run.status == "SUCCEEDED", run.cause
    tear_down = deployed.tear_downs()[0]
    assert tear_down.status == "SUCCEEDED", tear_down.cause
    assert tear_down.input == {
        "executionArn": run.arn, "executionName": run.name, "status": "SUCCEEDED", "reason": "event",
    }  # fmt: skip
    assert deployed.nothing_left()


def test_the_owner_gets_verdict_and_cost_by_email(deployed: DeployedProject, run: Execution) -> None:
    subject, text = deployed.emails()[0]

    assert subject.startswith("Captune: improved on held-out documents, $")
    assert "Verdict:" in text
    assert "Left of the cap" in text


def test_settlement_reads_and_writes_no_file(deployed: DeployedProject, run: Execution) -> None:
    role = deployed.role_of("settle")

    called = {call.service for call in deployed.cloud.calls if call.access_key == role}

    assert called == {"dynamodb", "sagemaker", "stepfunctions"}


def test_its_adapter_is_served_again_without_training(deployed: DeployedProject, run: Execution) -> None:
    def served() -> str:
        container = deployed.requests("CreateModel")[-1]["PrimaryContainer"]
        return str(container["AdditionalModelDataSources"][0]["S3DataSource"]["S3Uri"])

    uri = served()

    second = deployed.run(adapterUri=uri)

    assert second.status == "SUCCEEDED", second.cause
    assert len(deployed.requests("CreateTrainingJob")) == 1
    assert served() == uri
    old, new = (deployed.document(one, f"{run_folder.REPORT}{run_folder.SUMMARY}") for one in (run, second))
    assert new["heldout"]["tuned_loss"] == old["heldout"]["tuned_loss"]
    assert new["cost"]["training_cents"] == 0 < old["cost"]["training_cents"]
    assert deployed.nothing_left()


def test_it_can_be_torn_down_again_by_name_alone(deployed: DeployedProject, run: Execution) -> None:
    execution = deployed.tear_down(runName=run_name(run.name))

    assert execution.status == "SUCCEEDED", execution.cause
    assert deployed.ledger_item(run)["state"] == "settled"


@pytest.mark.parametrize("event", [{}, {"reason": "person"}, {"runName": "captune-"}])
def test_a_tear_down_that_names_no_run_fails_by_name(deployed: DeployedProject, event: dict[str, str]) -> None:
    execution = deployed.tear_down(**event)

    assert (execution.status, execution.error) == ("FAILED", "InvalidInput")
