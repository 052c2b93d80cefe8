"""Lists of instance types, images that may be missing, and the runs that train little or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import AdapterRejected, ImageNotFound, InvalidInput, QuotaTooLow, RunInFlight
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS
from preflight.account import images
from preflight.staging import SMOKE_PROMPTS
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import KEPT, Site
from tests.doubles.texts.prompt_lines import GOOD
from tests.doubles.texts.prompt_lines import lines as json_lines

BOTH = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
EARLIER = "runs/captune-first/training/captune-first/output/model/"
ADAPTER_URI = f"s3://bucket/{EARLIER}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


@pytest.fixture
def two_types(site: Site) -> Site:
    site.settings |= {"training_instance_types": BOTH, "hosting_instance_types": BOTH}
    site.quotas.names = {"L-A": "ml.g6.2xlarge for training job usage", "L-B": "ml.g6.2xlarge for endpoint usage"}
    site.quotas.applied |= {"L-A": 1.0, "L-B": 1.0}
    return site


def with_adapter(site: Site, **changes: Any) -> Site:
    """The folder of an earlier run, as training and Preflight left it; a file that is None is missing."""
    files: dict[str, Any] = {
        f"{EARLIER}adapter_config.json": {"r": 16, "peft_type": "LORA"},
        f"{EARLIER}adapter_model.safetensors": b"\0" * 64,
        f"{EARLIER}metrics.json": {"evaluation": {"heldout": {"documents": []}}},
        "runs/captune-first/plan.json": {"baseModel": {"weightsUri": "s3://gated/llama/"}},
    }
    for name, value in changes.items():
        key = next(key for key in files if name in key)
        files[key] = value
    for key, value in files.items():
        if value is not None:
            site.s3.objects["bucket", key] = value if isinstance(value, bytes) else json.dumps(value).encode()
    return site


class TestInstanceTypes:
    def test_the_plan_holds_the_list_and_reserves_the_dearest(self, two_types: Site) -> None:
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == BOTH
        assert plan["training"]["instanceType"] == "ml.g5.2xlarge"
        assert (plan["budget"]["trainingHourlyUsd"], plan["budget"]["worstCaseCents"]) == ("1.515", 639)
        details = plan["budget"]["ledgerDetails"]
        assert details["training_prices"] == details["hosting_prices"] == "ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222"

    def test_the_dearest_counts_wherever_it_stands_in_the_list(self, two_types: Site) -> None:
        two_types.settings |= {"training_instance_types": BOTH[::-1], "hosting_instance_types": BOTH[::-1]}
        plan = two_types.run()
        assert plan["training"]["instanceType"] == "ml.g6.2xlarge"
        assert (plan["budget"]["hostingHourlyUsd"], plan["budget"]["worstCaseCents"]) == ("1.515", 639)

    def test_a_type_without_a_quota_is_left_out_and_its_price_is_not_reserved(self, two_types: Site) -> None:
        two_types.quotas.applied |= {"L-2D6DEB3C": 0.0, "L-9614C779": 0.0}
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == ["ml.g6.2xlarge"]
        assert plan["budget"]["trainingHourlyUsd"] == "1.222"
        assert [warning[:30] for warning in plan["warnings"]] == ["ml.g5.2xlarge is left out: the"] * 2

    def test_a_quota_has_to_allow_all_instances_that_train(self, site: Site) -> None:
        site.settings["training_instance_count"] = 2
        message = site.refusal(QuotaTooLow)
        assert "ml.g5.2xlarge for training job usage" in message and "is 1 and 2 are needed" in message
        site.quotas.applied["L-2D6DEB3C"] = 2.0
        assert site.run()["training"]["instanceCount"] == 2

    def test_a_type_of_which_too_few_are_allowed_is_left_out(self, two_types: Site) -> None:
        two_types.settings["training_instance_count"] = 2
        two_types.quotas.applied["L-A"] = 2.0
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == ["ml.g6.2xlarge"]
        assert any("ml.g5.2xlarge is left out" in one and "2 are needed" in one for one in plan["warnings"])
        assert plan["hosting"]["instanceTypes"] == BOTH

    def test_no_quota_for_any_type_is_refused_and_every_quota_is_named(self, two_types: Site) -> None:
        two_types.quotas.applied |= {"L-9614C779": 0.0, "L-B": 0.0}
        message = two_types.refusal(QuotaTooLow)
        assert all(f'"{one} for endpoint usage"' in message for one in BOTH)
        assert "training job usage" not in message

    def test_two_runs_of_several_instances_need_room_for_all_of_both(self, site: Site) -> None:
        site.ledger.with_run("other")
        site.settings["training_instance_count"] = 2
        site.quotas.applied |= {"L-2D6DEB3C": 3.0, "L-9614C779": 2.0}
        assert "4 are needed" in site.refusal(RunInFlight)
        site.quotas.applied["L-2D6DEB3C"] = 4.0
        assert site.run()["training"]["instanceCount"] == 2

    def test_cards_that_would_be_idle_are_told_of_a_run_that_trains(self, site: Site) -> None:
        site.settings |= {"training_instance_types": ["ml.g5.12xlarge"], "training_instance_count": 2}
        site.quotas.names = {"L-A": "ml.g5.12xlarge for training job usage"}
        site.quotas.applied["L-A"] = 2.0
        # Three passes over the double's short corpus leave a step one sequence.
        assert any("1 card is as fast, and the others are paid for" in one for one in site.run()["warnings"])
        site.settings["training_instance_types"] = ["ml.g5.2xlarge"]
        site.settings["training_instance_count"] = 1
        assert not any("paid for" in one for one in site.run()["warnings"])

    def test_a_second_run_takes_the_type_that_has_room_for_two(self, two_types: Site) -> None:
        two_types.ledger.with_run("other")
        two_types.refusal(RunInFlight)
        two_types.quotas.applied |= {"L-A": 2.0, "L-B": 2.0}
        assert two_types.run()["training"]["instanceTypes"] == ["ml.g6.2xlarge"]


class TestImages:
    def test_both_images_are_looked_for_in_their_registry(self, site: Site) -> None:
        site.run()
        asked = site.ecr.called("batch_get_image")
        assert [(one["registryId"], one["repositoryName"], one["imageIds"]) for one in asked] == [
            ("763104351884", "training", [{"imageTag": "1"}]),
            ("763104351884", "vllm", [{"imageTag": "2"}]),
        ]

    @pytest.mark.parametrize("tag", ["1", "2"])
    def test_one_that_does_not_exist_is_refused_before_anything_is_staged(self, site: Site, tag: str) -> None:
        site.ecr.missing = {tag}
        assert f":{tag} does not exist. Deploy a newer version" in site.refusal(ImageNotFound)

    def test_a_registry_that_may_not_be_asked_is_a_warning(self, site: Site) -> None:
        site.ecr.troubles["batch_get_image"] = [refusal("AccessDeniedException")] * 2
        assert [w.endswith("could not be asked (AccessDeniedException).") for w in site.run()["warnings"]] == [True] * 2

    def test_a_repository_that_does_not_exist_is_refused(self, site: Site) -> None:
        site.ecr.troubles["batch_get_image"] = [refusal("RepositoryNotFoundException")]
        assert "has no repository training" in site.refusal(ImageNotFound)

    def test_what_is_no_address_in_ecr_is_refused(self, site: Site) -> None:
        site.settings["hosting_image"] = "vllm/vllm-openai:latest"
        assert "vllm/vllm-openai:latest is not the address of an image in Amazon ECR" in site.refusal(ImageNotFound)

    @pytest.mark.parametrize("failures", [[], [{"failureCode": "UnableToAccessUpstreamRegistry"}]])
    def test_an_answer_without_the_image_and_without_a_known_reason_is_a_warning(self, failures: list[Any]) -> None:
        class Odd:
            def batch_get_image(self, **_: Any) -> dict[str, Any]:
                return {"images": [], "failures": failures}

        address = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:2"
        problem, warning = images.problem(lambda region: Odd(), address)
        assert (problem, "was not answered" in warning) == ("", True)


class TestAnEarlierAdapter:
    def test_nothing_is_trained_or_reserved_for_training(self, site: Site) -> None:
        plan = with_adapter(site).run({"adapterUri": ADAPTER_URI})
        assert plan["adapterUri"] == plan["hosting"]["trialAdapterUri"] == ADAPTER_URI
        assert plan["training"]["maxRuntimeSeconds"] == plan["budget"]["ledgerDetails"]["max_training_seconds"] == 0
        assert plan["budget"]["worstCaseCents"] == 639 - 359 - 14

    def test_a_missing_slash_at_its_end_is_added(self, site: Site) -> None:
        assert with_adapter(site).run({"adapterUri": ADAPTER_URI[:-1]})["adapterUri"] == ADAPTER_URI

    def test_no_training_quota_and_no_training_image_are_needed(self, site: Site) -> None:
        site.quotas.applied["L-2D6DEB3C"] = 0.0
        site.ecr.missing = {"1"}
        assert with_adapter(site).run({"adapterUri": ADAPTER_URI})["warnings"] == []

    def test_the_types_of_the_endpoint_are_not_taken_for_those_of_training(self, two_types: Site) -> None:
        two_types.settings["training_instance_types"] = BOTH[:1]
        plan = with_adapter(two_types).run({"adapterUri": ADAPTER_URI})
        assert (plan["training"]["instanceTypes"], plan["hosting"]["instanceTypes"]) == (BOTH[:1], BOTH)

    def test_it_needs_no_spot_instance_whatever_the_setting_says(self, site: Site) -> None:
        site.settings |= {"spot": True, "checkpoint_minutes": 0}
        assert with_adapter(site).run({"adapterUri": ADAPTER_URI})["training"]["spot"] is False

    @pytest.mark.parametrize(
        ("change", "words"),
        [({"adapter_config": None}, "it does not exist"), ({"adapter_config": b"{"}, "it is not a JSON object"),
         ({"adapter_config": [16]}, "it is not a JSON object"), ({"safetensors": None}, "adapter_model.safetensors is missing or empty"),
         ({"safetensors": b"\0" * 8}, "adapter_model.safetensors is missing or empty"), ({"metrics": None}, "it does not exist"),
         ({"metrics": {"evaluation": {}}}, "metrics.json holds no held-out losses"), ({"plan.json": None}, "plan.json: it does not exist"),
         ({"adapter_config": {"r": 32}}, "has rank 32, and the endpoint makes room for 16"),
         ({"adapter_config": {}}, "has rank None"),
         ({"plan.json": {"baseModel": {"weightsUri": "s3://gated/other/"}}}, "was trained on the weights s3://gated/other/")],
    )  # fmt: skip
    def test_one_that_hosting_could_not_serve_is_refused_before_it_is_paid_for(
        self, site: Site, change: dict[str, Any], words: str
    ) -> None:
        with_adapter(site, **change)
        with pytest.raises(AdapterRejected, match=words):
            site.run({"adapterUri": ADAPTER_URI})

    def test_one_in_another_bucket_is_refused(self, site: Site) -> None:
        uri = ADAPTER_URI.replace("s3://bucket/", "s3://elsewhere/")
        assert "is not in the project's bucket" in site.refusal(AdapterRejected, {"adapterUri": uri})

    @pytest.mark.parametrize("value", ["", 5, None, "runs/a/training/b/output/model/", "s3://bucket/runs/a/report/"])
    def test_what_is_no_such_folder_is_refused_with_its_form(self, site: Site, value: Any) -> None:
        assert "s3://BUCKET/runs/RUN/training/JOB/output/model/" in site.refusal(InvalidInput, {"adapterUri": value})

    def test_epochs_beside_it_are_refused_because_nothing_is_trained(self, site: Site) -> None:
        assert "give one of them" in site.refusal(InvalidInput, {"adapterUri": ADAPTER_URI, "epochs": 2})


class TestSmoke:
    def test_it_takes_one_step_four_prompts_and_the_shortest_times(self, site: Site) -> None:
        site.data["medicalprompts.jsonl"] = json_lines(*({**GOOD, "id": f"p{n}"} for n in range(9)))
        plan = site.begin({"smoke": True})
        assert (plan["smoke"], plan["training"]["hyperparameters"]["max_steps"]) == (True, "1")
        assert plan["training"]["maxRuntimeSeconds"] == MINIMUM_TRAINING_SECONDS
        assert plan["hosting"]["deadlineSeconds"] == MINIMUM_DEADLINE_SECONDS
        assert plan["budget"]["worstCaseCents"] == 304
        staged = site.staged["input/prompts.jsonl"].splitlines()
        assert [json.loads(line)["id"] for line in staged] == [f"p{n}" for n in range(SMOKE_PROMPTS)]

    def test_a_usual_run_has_no_limit_of_steps(self, site: Site) -> None:
        assert "max_steps" not in site.run()["training"]["hyperparameters"]

    @pytest.mark.parametrize("value", [1, "true", None])
    def test_it_is_true_or_false(self, site: Site, value: Any) -> None:
        assert "`smoke` must be true or false" in site.refusal(InvalidInput, {"smoke": value})


def test_the_hosting_role_may_read_the_placeholder_of_the_trial(site: Site) -> None:
    plan = site.begin()
    assert plan["hosting"]["trialAdapterUri"].startswith(f"s3://bucket/{KEPT}training/")
    assert "training/trial/adapter_config.json" in site.staged
