"""An account with nothing but the SageMaker stand-in and an S3, for the stand-in's own tests."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.account.gateway import Gateway
from rehearsal.events import Clock
from rehearsal.sagemaker.standin import PLAYED, StandIn
from tests.doubles import PATIENCE_SECONDS
from verification.fake_engines import FakeHosting, FakeTraining

ROLE = "arn:aws:iam::123456789012:role/captune-training"
GATED = "s3://jumpstart-private-cache-prod-us-east-1/meta-textgeneration/llama/"
BUCKET = "captune-bucket"


class StoppedClock:
    """A clock that stands still until `advance`."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@functools.cache
def shared_gateway() -> Gateway:
    """One server for the whole test session: moto's S3, and the stand-in of the test that runs."""
    return Gateway(Clock())


def new_client(service: str) -> Any:
    """A client of the server above."""
    # One attempt and no checks: botocore would hide, or take upon itself, the refusal that a test is about.
    return boto3.client(
        service, endpoint_url=shared_gateway().url, region_name="us-east-1", aws_access_key_id="AKIDTEST",
        aws_secret_access_key="secret", config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )  # fmt: skip


client = functools.cache(new_client)


class SageMakerAccount:
    """A running stand-in and clients that reach it."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.s3 = client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.sagemaker, self.runtime = client("sagemaker"), client("sagemaker-runtime")

    def put(self, key: str, body: str | bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]

    def train(self, name: str, **changes: Any) -> None:
        self.sagemaker.create_training_job(**training_request(name, **changes))

    def job(self, name: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_training_job(TrainingJobName=name))

    def deploy(self, name: str, model: dict[str, Any] | None = None, **variant: Any) -> None:
        """Create a model, a configuration and an endpoint of one name."""
        self.sagemaker.create_model(**(model or model_request(name)))
        self.sagemaker.create_endpoint_config(**configuration_request(name, **variant))
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def endpoint(self, name: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_endpoint(EndpointName=name))

    def ask(self, endpoint: str, *, attributes: str = "route=/v1/completions", **request: Any) -> Any:
        """Invoke an endpoint with a completion request and these custom attributes; "" for none."""
        body = json.dumps(request).encode()
        more = {"CustomAttributes": attributes} if attributes else {}
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="application/json", **more)
        return json.loads(answer["Body"].read())


@contextmanager
def account(workdir: Path, **options: Any) -> Iterator[SageMakerAccount]:
    """A stand-in with these options, fake engines unless others are among them, an empty bucket, and clients."""
    gateway = shared_gateway()
    engines = {"training": FakeTraining(), "hosting": FakeHosting()}
    given: dict[str, Any] = {"s3_of": lambda role: client("s3"), "clock": Clock(), **engines, **options}
    gateway.clear()
    standin = StandIn(workdir / "standin", **given)
    gateway.clock, gateway.players = given["clock"], dict.fromkeys(PLAYED, standin.answer)
    try:
        here = SageMakerAccount(standin)
        for key in here.keys(""):
            here.s3.delete_object(Bucket=BUCKET, Key=key)
        gateway.clear()
        yield here
    finally:
        gateway.clear()
        standin.close()


def training_request(name: str, **changes: Any) -> dict[str, Any]:
    """A complete CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-training:2.9.0",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
            "ContainerArguments": ["--root", "/opt/ml"],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/runs/{name}/training", "CompressionType": "NONE"},
        "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"epochs": "3"},
        **changes,
    }


def channel(name: str, uri: str, **source: Any) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, **source}}}


def source(uri: str, **more: Any) -> dict[str, Any]:
    return {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix", "CompressionType": "None", **more}}


def model_request(name: str, *extra: dict[str, Any], **container: Any) -> dict[str, Any]:
    """A complete CreateModel request: gated base weights and what is given on top."""
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:0.30.0",
            "ModelDataSource": source(GATED, ModelAccessConfig={"AcceptEula": True}),
            "AdditionalModelDataSources": list(extra),
            "Environment": {"SM_VLLM_SERVED_MODEL_NAME": "base"},
            **container,
        },
    }


def configuration_request(name: str, **variant: Any) -> dict[str, Any]:
    """A complete CreateEndpointConfig request."""
    usual = {"VariantName": "primary", "ModelName": name, "InstanceType": "ml.g5.2xlarge", "InitialInstanceCount": 1}
    return {"EndpointConfigName": name, "ProductionVariants": [usual | variant]}


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    """The (code, message) with which AWS refuses an action."""
    try:
        action()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError("it was not rejected")


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait for a condition of another process or thread, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def has_ended(pid: int) -> bool:
    """Whether a process of this machine has ended; one that nobody has collected yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
