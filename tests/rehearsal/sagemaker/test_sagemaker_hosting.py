"""Models, endpoint configurations and endpoints behave as SageMaker's do, seen through botocore."""

from __future__ import annotations

from functools import partial

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

pytestmark = pytest.mark.slow


ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def test_an_endpoint_is_created_serves_and_goes(aws: Account, clock: Clock) -> None:
    aws.deploy("it")
    in_progress = (
        "ValidationException",
        f'Cannot update in-progress endpoint "{ARN}:endpoint/it".',
    )
    assert aws.endpoint("it")["EndpointStatus"] == "Creating"
    clock.advance(seconds=60)
    assert aws.endpoint("it")["EndpointStatus"] == "InService"
    assert aws.ask("it", model="base", prompt="Hello", max_tokens=4)["usage"]["completion_tokens"] == 4
    aws.sagemaker.delete_endpoint(EndpointName="it")
    clock.advance(seconds=10)
    assert refusal(lambda: aws.sagemaker.delete_endpoint(EndpointName="it")) == in_progress
    assert "Could not find endpoint" in refusal(lambda: aws.endpoint("it"))[1]
    assert aws.standin.billed_seconds()["endpoints"] == {"it": 60}


def test_an_endpoint_in_creation_cannot_be_deleted_until_it_is_created(aws: Account, hosting: FakeHosting) -> None:
    hosting.plans = [HostingPlan(looks=2)]
    aws.deploy("it")

    def delete() -> None:
        aws.sagemaker.delete_endpoint(EndpointName="it")

    assert "Cannot update in-progress endpoint" in refusal(delete)[1]
    assert "Cannot update in-progress endpoint" in refusal(delete)[1]
    delete()
    assert aws.endpoint("it")["EndpointStatus"] == "Deleting"


def test_an_endpoint_without_capacity_fails_and_stays_until_it_is_deleted(aws: Account, hosting: FakeHosting) -> None:
    hosting.plans = [HostingPlan(outcome="capacity", looks=0, deleting_looks=0)]
    aws.deploy("it")
    answer = aws.endpoint("it")
    assert answer["EndpointStatus"] == "Failed"
    assert "InsufficientInstanceCapacity" in answer["FailureReason"]
    assert aws.standin.leftovers()["endpoints"] == ["it"]
    aws.sagemaker.delete_endpoint(EndpointName="it")
    assert aws.standin.leftovers()["endpoints"] == []


def test_an_endpoint_that_hangs_fails_when_its_start_timeouts_have_passed(
    aws: Account, clock: Clock, hosting: FakeHosting
) -> None:
    hosting.plans = [HostingPlan(outcome="hangs")]
    aws.deploy("it", ContainerStartupHealthCheckTimeoutInSeconds=900, ModelDataDownloadTimeoutInSeconds=900)
    clock.advance(seconds=1799)
    assert [aws.endpoint("it")["EndpointStatus"] for _ in range(3)] == ["Creating"] * 3
    clock.advance(seconds=1)
    assert "did not pass the ping health check" in aws.endpoint("it")["FailureReason"]


def test_nothing_is_created_twice_or_on_top_of_what_is_missing(aws: Account) -> None:
    sagemaker = aws.sagemaker
    assert "Could not find model" in refusal(lambda: sagemaker.create_endpoint_config(**configuration_request("it")))[1]
    aws.deploy("it")
    for action, kind in (
        (lambda: sagemaker.create_model(**model_request("it")), "model"),
        (lambda: sagemaker.create_endpoint_config(**configuration_request("it")), "endpoint configuration"),
        (lambda: sagemaker.create_endpoint(EndpointName="it", EndpointConfigName="it"), "endpoint"),
    ):
        assert f"Cannot create already existing {kind}" in refusal(action)[1]
    absent = refusal(lambda: sagemaker.create_endpoint(EndpointName="other", EndpointConfigName="no"))
    assert "Could not find endpoint configuration" in absent[1]


def test_models_and_configurations_can_go_while_their_endpoint_lives(aws: Account) -> None:
    aws.deploy("it")
    aws.sagemaker.delete_endpoint_config(EndpointConfigName="it")
    aws.sagemaker.delete_model(ModelName="it")
    left = aws.standin.leftovers()
    assert left == {"training jobs": [], "endpoints": ["it"], "endpoint configurations": [], "models": []}


def test_a_model_needs_its_data(aws: Account) -> None:
    adapter = {"ChannelName": "adapter", **source(f"s3://{BUCKET}/runs/x/model/")}
    request = model_request("it", adapter)
    assert "Could not find model data at" in refusal(lambda: aws.sagemaker.create_model(**request))[1]
    aws.put("runs/x/model/adapter_config.json", "{}")
    aws.sagemaker.create_model(**request)


def test_invoking_without_an_endpoint_in_service_is_a_validation_error(aws: Account) -> None:
    aws.deploy("it")
    for name in ("it", "no"):
        refused = refusal(partial(aws.ask, name, model="base", prompt="Hello"))
        assert refused == ("ValidationError", f"Endpoint {name} of account 123456789012 not found.")


def test_a_model_that_is_not_served_is_a_model_error_with_the_containers_answer(aws: Account) -> None:
    aws.deploy("it")
    aws.endpoint("it"), aws.endpoint("it")
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask("it", model="unknown", prompt="Hello")
    response = caught.value.response
    assert response["OriginalStatusCode"] == 404
    assert "does not exist" in response["OriginalMessage"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424


def _serving_both(aws: Account) -> None:
    environment = {"SM_VLLM_SERVED_MODEL_NAME": "base", "SM_VLLM_LORA_MODULES": '{"name":"medical","path":"/opt/ml/a"}'}
    aws.deploy("it", model_request("it", Environment=environment))
    aws.endpoint("it"), aws.endpoint("it")


def test_without_a_route_the_base_model_answers_whatever_model_is_asked(aws: Account) -> None:
    _serving_both(aws)
    for model in ("base", "medical", "unknown"):
        for attributes in ("", "trace=7"):
            answer = aws.ask("it", attributes=attributes, model=model, prompt="Hello")
            assert answer["model"] == "base"
            assert answer["choices"] == aws.ask("it", model="base", prompt="Hello")["choices"]


def test_with_the_route_the_model_of_the_body_answers(aws: Account) -> None:
    _serving_both(aws)
    answers = {model: aws.ask("it", model=model, prompt="Hello") for model in ("base", "medical")}
    assert {model: answer["model"] for model, answer in answers.items()} == {"base": "base", "medical": "medical"}
    assert answers["base"]["choices"] != answers["medical"]["choices"]
    assert aws.standin.calls[-1].request["CustomAttributes"] == "route=/v1/completions"


def test_a_route_that_the_server_lacks_is_not_found(aws: Account) -> None:
    _serving_both(aws)
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.ask("it", attributes="route=/v1/nothing", model="base", prompt="Hello")
    assert caught.value.response["OriginalStatusCode"] == 404


def test_custom_attributes_have_the_length_that_the_service_allows(aws: Account) -> None:
    _serving_both(aws)
    aws.ask("it", attributes="x" * 1024, model="base", prompt="Hello")
    refused = refusal(lambda: aws.ask("it", attributes="x" * 1025, model="base", prompt="Hello"))
    assert refused[0] == "ValidationError"
    assert "1024" in refused[1]
