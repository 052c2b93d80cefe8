"""What input and settings choose: fields of the plan, instance types, and an adapter of an earlier run."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest

from common.errors import AdapterRejected, QuotaTooLow, RunInFlight
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS
from preflight.account import images
from preflight.staging import SMOKE_PROMPTS
from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS
from tests.doubles.texts.made_up_prose import prose
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines

BOTH = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
EARLIER = "runs/captune-first/training/captune-first/output/model/"
ADAPTER = {"adapterUri": f"s3://bucket/{EARLIER}"}
OWN = {"corpus": "corpora/mine.txt"}
ARGUMENT = "training.hyperparameters."
FREE = {**SETTINGS["base_model"], "requires_eula": False}

# Settings, input, and what the plan has at a path.
CHOSEN: list[tuple[dict[str, Any], dict[str, Any], str, Any]] = [
    ({}, {"epochs": 1}, f"{ARGUMENT}epochs", "1"),
    ({}, {"seed": 0}, "seed", 0),
    ({}, {"seed": 0}, f"{ARGUMENT}seed", "0"),
    ({}, {"seeds": [7, 8, 9]}, "seed", 7),
    ({}, {"seeds": [7, 8, 9]}, f"{ARGUMENT}more_seeds", "8,9"),
    ({}, {}, f"{ARGUMENT}more_seeds", None),
    ({}, {"samplesPerPrompt": 0}, "samplesPerPrompt", 0),
    ({}, {"keepEndpointMinutes": 30}, "budget.ledgerDetails.keep_endpoint_seconds", 1800),
    ({"training_instance_count": 2}, {}, "training.instanceCount", 2),
    ({"spot": True}, {"spot": False}, "training.spot", False),
    ({}, {"spot": True}, "training.spot", True),
    ({"checkpoint_minutes": 0}, {}, f"{ARGUMENT}checkpoint_minutes", "0"),
    ({}, {}, f"{ARGUMENT}document_order", "written"),
    ({}, OWN, f"{ARGUMENT}document_order", "shuffled"),
    ({"document_order": "shuffled"}, {}, f"{ARGUMENT}document_order", "shuffled"),
    ({"document_order": "written"}, OWN, f"{ARGUMENT}document_order", "written"),
    ({"accept_eula": False, "base_model": FREE}, {}, "acceptEula", False),
    ({}, {}, f"{ARGUMENT}max_steps", None),
    ({}, {"smoke": True}, f"{ARGUMENT}max_steps", "1"),
    ({}, {"smoke": True}, "training.maxRuntimeSeconds", MINIMUM_TRAINING_SECONDS),
    ({}, {"smoke": True}, "hosting.deadlineSeconds", MINIMUM_DEADLINE_SECONDS),
    ({}, {"smoke": True}, "budget.worstCaseCents", 304),
    ({}, {"smoke": True}, "estimate.tokens", 512),
    ({}, ADAPTER, "hosting.trialAdapterUri", ADAPTER["adapterUri"]),
    ({}, ADAPTER, "training.maxRuntimeSeconds", 0),
    ({}, ADAPTER, "budget.ledgerDetails.max_training_seconds", 0),
    ({}, ADAPTER, "budget.worstCaseCents", 639 - 359 - 14),
    ({"spot": True, "checkpoint_minutes": 0}, ADAPTER, "training.spot", False),
    ({"hosting_instance_types": BOTH}, ADAPTER, "training.instanceTypes", BOTH[:1]),
    ({"hosting_instance_types": BOTH}, ADAPTER, "hosting.instanceTypes", BOTH),
]
# What the files of an earlier run lack or hold, and what the refusal says. None: the file is missing.
REJECTED: list[tuple[str, Any, str]] = [
    ("adapter_config", None, "it does not exist"),
    ("adapter_config", b"{", "it is not a JSON object"),
    ("adapter_config", {"r": 32}, "has rank 32, and the endpoint makes room for 16"),
    ("adapter_config", {}, "has rank None"),
    ("safetensors", b"\0" * 8, "adapter_model.safetensors is missing or empty"),
    ("metrics", None, "it does not exist"),
    ("metrics", {"evaluation": {}}, "metrics.json holds no held-out losses"),
    ("plan.json", None, "plan.json: it does not exist"),
    ("plan.json", {"baseModel": {"weightsUri": "s3://gated/other/"}}, "was trained on the weights s3://gated/other/"),
]


@pytest.fixture
def two_types(site: Site) -> Site:
    """An account with quotas for one instance of either type."""
    site.settings |= {"training_instance_types": BOTH, "hosting_instance_types": BOTH}
    site.quotas.names = {"L-A": "ml.g6.2xlarge for training job usage", "L-B": "ml.g6.2xlarge for endpoint usage"}
    site.quotas.applied |= {"L-A": 1.0, "L-B": 1.0}
    return site


def with_adapter(site: Site, name: str = "", content: Any = None) -> Site:
    """Adds the folder of an earlier run, the file called so with another content."""
    files: dict[str, Any] = {
        f"{EARLIER}adapter_config.json": {"r": 16, "peft_type": "LORA"},
        f"{EARLIER}adapter_model.safetensors": b"\0" * 64,
        f"{EARLIER}metrics.json": {"evaluation": {"heldout": {"documents": []}}},
        "runs/captune-first/plan.json": {"baseModel": {"weightsUri": "s3://gated/llama/"}},
    }
    files |= {key: content for key in files if name and name in key}
    for key, value in files.items():
        if value is not None:
            site.s3.objects["bucket", key] = value if isinstance(value, bytes) else json.dumps(value).encode()
    return site


@pytest.mark.parametrize(("settings", "given", "path", "value"), CHOSEN)
def test_input_and_settings_choose(
    two_types: Site, settings: dict[str, Any], given: dict[str, Any], path: str, value: Any
) -> None:
    site = with_adapter(two_types)
    site.settings |= {"training_instance_types": BOTH[:1], "hosting_instance_types": BOTH[:1], **settings}
    site.quotas.applied |= {"L-2D6DEB3C": 2.0, "L-CAEE7DB7": 1.0}
    site.upload("mine.txt", prose(3000, 7).encode())
    assert reduce(lambda part, key: part.get(key), path.split("."), site.run(given)) == value


def test_smoke_run_asks_few_prompts_for_the_last_cents(site: Site) -> None:
    site.data["medicalprompts.jsonl"] = json_lines(*({**GOOD, "id": f"p{n}"} for n in range(9)))
    site.cap_cents = 356  # exactly what a smoke run may cost, and what the project itself costs
    site.begin({"smoke": True})
    staged = site.staged["input/prompts.jsonl"].splitlines()
    assert [json.loads(line)["id"] for line in staged] == [f"p{n}" for n in range(SMOKE_PROMPTS)]


class TestInstanceTypes:
    @pytest.mark.parametrize("types", [BOTH, BOTH[::-1]])
    def test_the_most_expensive_of_the_list_is_reserved(self, two_types: Site, types: list[str]) -> None:
        two_types.settings |= {"training_instance_types": types, "hosting_instance_types": types}
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == types
        assert plan["training"]["instanceType"] == types[0]
        budget = plan["budget"]
        assert (budget["trainingHourlyUsd"], budget["hostingHourlyUsd"]) == ("1.515", "1.515")
        assert budget["worstCaseCents"] == 639
        assert "ml.g6.2xlarge=1.222" in budget["ledgerDetails"]["training_prices"]

    def test_type_without_a_quota_is_left_out_and_not_reserved(self, two_types: Site) -> None:
        two_types.quotas.applied |= {"L-2D6DEB3C": 0.0, "L-9614C779": 0.0}
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == ["ml.g6.2xlarge"]
        assert plan["budget"]["trainingHourlyUsd"] == "1.222"
        assert [warning.split(":")[0] for warning in plan["warnings"]] == ["ml.g5.2xlarge is left out"] * 2

    def test_refusal_names_the_quota_of_every_type(self, two_types: Site) -> None:
        two_types.quotas.applied |= {"L-9614C779": 0.0, "L-B": 0.0}
        message = two_types.refusal(QuotaTooLow)
        assert all(f'"{one} for endpoint usage"' in message for one in BOTH)
        assert "training job usage" not in message

    def test_second_run_takes_the_type_that_has_room_for_two(self, two_types: Site) -> None:
        two_types.ledger.with_run("other")
        two_types.refusal(RunInFlight)
        two_types.quotas.applied |= {"L-A": 2.0, "L-B": 2.0}
        assert two_types.run()["training"]["instanceTypes"] == ["ml.g6.2xlarge"]


@pytest.mark.parametrize("failures", [[], [{"failureCode": "UnableToAccessUpstreamRegistry"}]])
def test_registry_without_a_clear_answer_is_a_warning(failures: list[Any]) -> None:
    class Odd:
        def batch_get_image(self, **_: Any) -> dict[str, Any]:
            return {"images": [], "failures": failures}

    address = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:2"
    problem, warning = images.problem(lambda region: Odd(), address)
    assert (problem, "was not answered" in warning) == ("", True)


class TestEarlierAdapter:
    def test_it_needs_no_training_quota_and_no_training_image(self, site: Site) -> None:
        site.quotas.applied["L-2D6DEB3C"] = 0.0
        site.ecr.missing = {"1"}
        assert with_adapter(site).run(ADAPTER)["warnings"] == []

    @pytest.mark.parametrize(("name", "content", "words"), REJECTED)
    def test_one_that_hosting_cannot_serve_is_rejected(self, site: Site, name: str, content: Any, words: str) -> None:
        assert words in with_adapter(site, name, content).refusal(AdapterRejected, ADAPTER)

    def test_one_in_another_bucket_is_rejected(self, site: Site) -> None:
        site.refusal(AdapterRejected, {"adapterUri": f"s3://elsewhere/{EARLIER}"})
