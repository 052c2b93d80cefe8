"""Settings: defaults that match cdk.json, values checked one by one, errors that name the setting and the way out."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as some

from stacks.configuration.settings import Settings, SettingsError

CDK_JSON = Path(__file__).resolve().parents[2] / "cdk.json"
NAMES = {field.name for field in dataclasses.fields(Settings)}
OWN_IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own/vllm:v1.2_3"
AWS_REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


def error_of(**context: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_context(context)
    return str(caught.value)


def test_cdk_json_shows_every_setting_with_its_default() -> None:
    context = json.loads(CDK_JSON.read_text("utf-8"))["context"]
    ours = {key: value for key, value in context.items() if not key.startswith("@")}
    shown = {key: tuple(value) if isinstance(value, list) else value for key, value in ours.items()}
    assert shown == dataclasses.asdict(Settings())


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, {}),
        (dict.fromkeys(["@aws-cdk/core:x", "aws:cdk:enable-path-metadata", "cli-telemetry"], True), {}),
        ({"budget_usd": "40", "accept_eula": "True"}, {"budget_usd": 40, "accept_eula": True}),
        ({"retain_data": "false", "seed": " 7 "}, {"retain_data": False, "seed": 7}),
        ({"epochs": 5.0}, {"epochs": 5}),
        ({"accept_lost_ledger": " 2026-11 "}, {"accept_lost_ledger": "2026-11"}),
        ({"hosting_image": f" {OWN_IMAGE} "}, {"hosting_image": OWN_IMAGE}),
    ],
)
def test_values_may_arrive_as_text(context: dict[str, object], expected: dict[str, object]) -> None:
    settings = Settings.from_context(context)
    assert settings == Settings(**expected)  # type: ignore[arg-type]
    assert settings.cap_cents == 100 * settings.budget_usd


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("budget", "budget_usd"), ("accept-eula", "accept_eula"), ("alertEmail", "alert_email")],
)
def test_an_unknown_key_is_rejected_with_the_nearest_known_one(key: str, nearest: str) -> None:
    assert f"{key} is not a setting: remove it, or rename it, for example to {nearest}" in error_of(**{key: "1"})


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("region", "eu-north-1", "AWS CloudFormation offers AWS Budgets only there"),
        ("region", "us-east1", "(nearest: us-east-1)"),
        ("domain", "base", "choose another name"),
        ("domain", "Finance", "use 2 to 32 lower-case letters"),
        ("base_model", "llama-3-8b", "(nearest: llama-3.1-8b, "),
        ("base_model", "qwen-2.5-7b", "set weights_uri to it"),
        ("weights_uri", "s3://mine/models/one", "with a slash at its end"),
        ("weights_uri", "s3://mine/a*/", "write a folder"),
        ("weights_uri", "s3://jumpstart-private-cache-prod-us-east-1/meta/", "choose the model there"),
        ("training_instance_type", "g5.2xlarge", "such as ml.g5.2xlarge"),
        ("training_instance_type", "ml.g5.٢xlarge", "such as ml.g5.2xlarge"),
        ("hosting_instance_type", "ml.g4dn.xlarge", "no GPU with bfloat16"),
        ("budget_usd", 25.5, "a whole number of US dollars from 1 to 1000"),
        *(("budget_usd", dollars, "a whole number of US dollars") for dollars in (0, 1001, True)),
        ("budget_usd", "٢٥", "a whole number of US dollars"),
        ("alert_email", "a@b.org,c@d.org", "one address such as you@example.com"),
        ("accept_eula", "yes", "write true or false"),
        ("budget_scope", "project", "choose one of account, tag"),
        ("adapter_scale", 1.1, "write auto, or a number from 0.05 to 1"),
        ("learning_rate", "nan", "write auto, or a number from 1e-7 to 1"),
        ("document_order", "sorted", "choose one of auto, shuffled, written"),
        # A lost ledger is accepted for one month and not for good.
        *(("accept_lost_ledger", text, "write one month such as 2026-11") for text in ("2026-13", "2026", "yes")),
        *(
            ("hosting_image", address, f"write a whole address such as {AWS_REGISTRY}/vllm:")
            for address in (f"{AWS_REGISTRY}/vllm", f"{AWS_REGISTRY}/vllm@sha256:0123", "docker.io/vllm/vllm:v0.27.1")
        ),
    ],
)
def test_a_bad_value_is_rejected_with_its_name_and_the_way_out(key: str, value: object, advice: str) -> None:
    message = error_of(**{key: value})
    assert f"{key} is {value!r}: " in message
    assert advice in message


def test_all_problems_are_reported_at_once() -> None:
    message = error_of(epochs="many", buget_usd=3, region="moon")
    assert all(part in message for part in ("epochs is 'many'", "buget_usd is not a setting", "region is 'moon'"))
    both = error_of(spot=True, checkpoint_minutes=0, base_model="qwen-2.5-7b")
    assert "would start from the beginning" in both and "copy the model's folder into your own bucket" in both


@pytest.mark.parametrize("region", ["us-west-1", "eu-west-3", "us-west-2"])
def test_an_endpoint_of_several_types_needs_a_region_with_instance_pools(region: str) -> None:
    Settings.from_context({"region": region, "training_instance_type": "ml.g5.2xlarge,ml.g6.2xlarge"})
    both = {"region": region, "hosting_instance_type": "ml.g5.2xlarge,ml.g6.2xlarge"}
    if region == "us-west-2":
        Settings.from_context(both)
    else:
        assert f"SageMaker has no instance pools in {region}: set one type" in error_of(**both)


@effort(suppress_health_check=[HealthCheck.too_slow])  # says nothing on a busy machine
@given(
    some.dictionaries(
        some.sampled_from(sorted(NAMES)), some.text(max_size=20) | some.integers() | some.booleans() | some.none()
    )
)
def test_any_context_gives_valid_settings_or_a_settings_error(context: dict[str, object]) -> None:
    try:
        settings = Settings.from_context(context)
    except SettingsError:
        return
    assert 100 <= settings.cap_cents <= 100_000
    assert settings.model.id == settings.base_model
