"""Models, endpoint configurations and endpoints behave as SageMaker's do, seen through botocore."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from rehearsal.sagemaker.fake import FakeHosting, HostingPlan
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    Account,
    Clock,
    configuration_request,
    model_request,
    refusal,
    source,
)

ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def test_an_endpoint_is_created_serves_and_goes(aws: Account, clock: Clock) -> None:
    aws.deploy("it")
    assert aws.endpoint("it")["EndpointStatus"] == "Creating"
    clock.advance(seconds=60)
    assert aws.endpoint("it")["EndpointStatus"] == "InService"
    assert aws.ask("it", model="base", prompt="Hello", max_tokens=4)["usage"]["completion_tokens"] == 4
    aws.sagemaker.delete_endpoint(EndpointName="it")
    clock.advance(seconds=10)
    refused = refusal(lambda: aws.sagemaker.delete_endpoint(EndpointName="it"))
    assert refused == ("ValidationException", f'Cannot update in-progress endpoint "{ARN}:endpoint/it".')
    assert "Could not find endpoint" in refusal(lambda: aws.endpoint("it"))[1]
    assert aws.standin.billed_seconds()["endpoints"] == {"it": 60}


def test_an_endpoint_in_creation_cannot_be_deleted(aws: Account, hosting: FakeHosting) -> None:
    hosting.plans = [HostingPlan(looks=2)]
    aws.deploy("it")
    delete = partial(aws.sagemaker.delete_endpoint, EndpointName="it")
    for _ in range(2):
        assert "Cannot update in-progress endpoint" in refusal(delete)[1]
    delete()
    assert aws.endpoint("it")["EndpointStatus"] == "Deleting"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (HostingPlan("capacity", looks=0, deleting_looks=0), "InsufficientInstanceCapacity"),
        (HostingPlan("failed", looks=0, deleting_looks=0), "did not pass the ping health check"),
        (HostingPlan("failed", looks=0, deleting_looks=0, reason="another"), "another"),
    ],
)
def test_a_failed_endpoint_stays_until_it_is_deleted(
    aws: Account, hosting: FakeHosting, plan: HostingPlan, words: str
) -> None:
    hosting.plans = [plan]
    aws.deploy("it")
    assert aws.endpoint("it")["EndpointStatus"] == "Failed"
    assert words in aws.endpoint("it")["FailureReason"]
    assert aws.standin.leftovers()["endpoints"] == ["it"]
    aws.sagemaker.delete_endpoint(EndpointName="it")
    assert aws.standin.leftovers()["endpoints"] == []


def test_an_endpoint_that_hangs_fails_after_its_start_timeouts(
    aws: Account, clock: Clock, hosting: FakeHosting
) -> None:
    hosting.plans = [HostingPlan("hangs")]
    aws.deploy("it", ContainerStartupHealthCheckTimeoutInSeconds=900, ModelDataDownloadTimeoutInSeconds=900)
    clock.advance(seconds=1799)
    assert [aws.endpoint("it")["EndpointStatus"] for _ in range(3)] == ["Creating"] * 3
    clock.advance(seconds=1)
    assert "did not pass the ping health check" in aws.endpoint("it")["FailureReason"]


def test_what_is_missing_or_there_already_is_refused_by_its_arn(aws: Account) -> None:
    sagemaker = aws.sagemaker
    kinds = {"model": "model", "endpoint configuration": "endpoint-config", "endpoint": "endpoint"}
    create: dict[str, Callable[[], Any]] = {
        "model": partial(sagemaker.create_model, **model_request("it")),
        "endpoint configuration": partial(sagemaker.create_endpoint_config, **configuration_request("it")),
        "endpoint": partial(sagemaker.create_endpoint, EndpointName="it", EndpointConfigName="it"),
    }
    delete: dict[str, Callable[[], Any]] = {
        "model": partial(sagemaker.delete_model, ModelName="it"),
        "endpoint configuration": partial(sagemaker.delete_endpoint_config, EndpointConfigName="it"),
        "endpoint": partial(sagemaker.delete_endpoint, EndpointName="it"),
    }
    for kind, action in delete.items():
        missing = f'Could not find {kind} "{ARN}:{kinds[kind]}/it".'
        assert refusal(action) == ("ValidationException", missing)
    assert refusal(lambda: aws.job("it")) == ("ValidationException", "Requested resource not found.")
    assert "Could not find model" in refusal(create["endpoint configuration"])[1]
    assert "Could not find endpoint configuration" in refusal(create["endpoint"])[1]
    for make in create.values():
        make()
    for kind, make in create.items():
        assert f"Cannot create already existing {kind}" in refusal(make)[1]
    aws.train("it")
    assert refusal(lambda: aws.train("it"))[0] == "ResourceInUse"


def test_models_and_configurations_can_go_while_their_endpoint_serves(aws: Account) -> None:
    aws.deploy("it")
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="it")
    aws.sagemaker.delete_model(ModelName="it")
    left = aws.standin.leftovers()
    assert left == {"training jobs": [], "endpoints": ["it"], "endpoint configurations": [], "models": []}


def test_a_model_needs_its_data(aws: Account) -> None:
    request = model_request("it", {"ChannelName": "adapter", **source(f"s3://{BUCKET}/runs/x/model/")})
    assert "Could not find model data at" in refusal(lambda: aws.sagemaker.create_model(**request))[1]
    aws.put("runs/x/model/adapter_config.json", "{}")
    aws.sagemaker.create_model(**request)


def test_an_endpoint_that_is_not_in_service_cannot_be_invoked(aws: Account) -> None:
    aws.deploy("it")
    for name in ("it", "no"):
        refused = refusal(partial(aws.ask, name, model="base", prompt="Hello"))
        assert refused == ("ValidationError", f"Endpoint {name} of account 123456789012 not found.")


@pytest.fixture
def serving_both(aws: Account) -> Account:
    environment = {"SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_LORA_MODULES": '{"name":"medical","path":"/opt/ml/a"}'}
    aws.deploy("it", model_request("it", Environment=environment))
    aws.endpoint("it"), aws.endpoint("it")
    return aws


def test_only_with_the_route_the_body_names_the_model(serving_both: Account) -> None:
    aws = serving_both
    routed = {model: aws.ask("it", model=model, prompt="Hello") for model in ("base", "medical")}
    assert {model: answer["model"] for model, answer in routed.items()} == {"base": "base", "medical": "medical"}
    assert routed["base"]["choices"] != routed["medical"]["choices"]
    assert aws.standin.calls[-1].request["CustomAttributes"] == "route=/v1/completions"
    for attributes in ("", "trace=7"):
        answer = aws.ask("it", attributes=attributes, model="medical", prompt="Hello")
        assert (answer["model"], answer["choices"]) == ("base", routed["base"]["choices"])


@pytest.mark.parametrize(("attributes", "model"), [("route=/v1/completions", "unknown"), ("route=/v1/nothing", "base")])
def test_an_unknown_model_or_route_is_a_model_error(serving_both: Account, attributes: str, model: str) -> None:
    with pytest.raises(serving_both.runtime.exceptions.ModelError) as caught:
        serving_both.ask("it", attributes=attributes, model=model, prompt="Hello")
    assert caught.value.response["OriginalStatusCode"] == 404
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_custom_attributes_have_at_most_1024_characters(serving_both: Account) -> None:
    serving_both.ask("it", attributes="x" * 1024, model="base", prompt="Hello")
    refused = refusal(lambda: serving_both.ask("it", attributes="x" * 1025, model="base", prompt="Hello"))
    assert refused[0] == "ValidationError" and "1024" in refused[1]
