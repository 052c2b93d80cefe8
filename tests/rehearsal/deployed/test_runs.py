"""The usual run of the deployed project, one that serves its adapter again, and calls that the deployed policies refuse."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from captune import limits
from common.contracts import run_folder
from common.names import run_name
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import DeployedProject
from verification.fake_engines import FakeHosting, FakeTraining


@pytest.fixture(scope="class")
def run(deployed: DeployedProject) -> Execution:
    """The usual run in an emptied account, at its end and that of its TearDown."""
    deployed.cloud.reset(training=FakeTraining(), hosting=FakeHosting())
    return deployed.run()


class TestUsualRun:
    """What one run leaves. Tests of a class are not mixed with others, which empty the account."""

    def test_a_typical_run_succeeds_and_leaves_nothing(self, deployed: DeployedProject, run: Execution) -> None:
        assert run.status == "SUCCEEDED", run.cause
        tear_down = deployed.tear_downs()[0]
        assert tear_down.status == "SUCCEEDED", tear_down.cause
        assert tear_down.input == {
            "executionArn": run.arn, "executionName": run.name, "status": "SUCCEEDED", "reason": "event",
        }  # fmt: skip
        assert deployed.nothing_left()

    def test_it_answers_the_open_questions_of_a_run(self, deployed: DeployedProject, run: Execution) -> None:
        evidence = limits.read_evidence(deployed.cloud.client, deployed.deployment.bucket, run_name(run.name))
        lines = [line.split(" | ") for line in limits.table(evidence).splitlines() if line.startswith("| ")]
        said = {row.removeprefix("| "): text for row, text in lines}
        assert "adapter_model.safetensors" in evidence.adapter
        assert said["SageMaker accepts JumpStart's gated *hosting* weights"].startswith(
            "downloaded; the job is Completed"
        )
        assert said["vLLM's GPU build"].endswith("s and both models answered |")
        assert "s reserved" in said["`MaxRuntimeInSeconds` counts"]

    def test_an_adapter_is_served_again_without_training(self, deployed: DeployedProject, run: Execution) -> None:
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


def answer(call: Callable[[], object]) -> tuple[str, int]:
    """The error's code and HTTP status; "done" where there is none."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "done", 200


def test_a_right_reaches_as_far_as_its_resources_and_conditions(project: DeployedProject) -> None:
    role, bucket = project.deployment.fine_tuning_role, project.deployment.bucket
    sagemaker, s3 = project.cloud.client("sagemaker", role), project.cloud.client("s3", role)
    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="captune-x")) == ("ValidationException", 400)
    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="others-x")) == ("AccessDeniedException", 400)
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="runs/one/training/"))[0] == "done"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="corpora/"))[0] == "AccessDenied"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket)) == ("AccessDenied", 403)
    assert project.cloud.refused.pop() == f"{role}: s3:ListBucket on arn:aws:s3:::{bucket}"
    project.cloud.refused.clear()


def test_preflight_writes_no_run_and_no_month(project: DeployedProject) -> None:
    ledger, table = project.cloud.client("dynamodb", project.role_of("preflight")), project.deployment.table

    def put(*keys: str) -> str:
        writes = [{"Put": {"TableName": table, "Item": {"pk": {"S": key}}}} for key in keys]
        return answer(lambda: ledger.transact_write_items(TransactItems=writes))[0]

    assert put("STARTS#2026-12") == "done"
    for others in ("RUN#captune-x", "MONTH#2026-12"):
        assert put(others) == put("STARTS#2026-12", others) == "AccessDeniedException"
    project.cloud.refused.clear()


def test_hardware_and_time_beyond_the_settings_are_rejected_whatever_a_plan_says(project: DeployedProject) -> None:
    sagemaker = project.cloud.client("sagemaker", project.deployment.fine_tuning_role)
    roles = [role["Arn"] for role in project.cloud.client("iam").list_roles()["Roles"]]
    usual = "ml.g5.2xlarge"

    def train(kind: str, seconds: int) -> str:
        request = {
            "TrainingJobName": "captune-x",
            "RoleArn": next(role for role in roles if "TrainingRole" in role),
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://anywhere"},
            "ResourceConfig": {"InstanceType": kind, "InstanceCount": 1, "VolumeSizeInGB": 100},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        }
        return answer(lambda: sagemaker.create_training_job(**request))[0]

    def host(kind: str) -> str:
        variants = [{"VariantName": "one", "ModelName": "captune-x", "InstanceType": kind}]
        request = {"EndpointConfigName": "captune-x", "ProductionVariants": variants}
        return answer(lambda: sagemaker.create_endpoint_config(**request))[0]

    # These may be made, and miss an image and a model.
    assert train(usual, 7200) == host(usual) == "ValidationException"
    assert train("ml.p5.48xlarge", 7200) == train(usual, 7201) == host("ml.p5.48xlarge") == "AccessDeniedException"
    project.cloud.refused.clear()
