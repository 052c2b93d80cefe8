"""A run that can start: its plan, its staged input, what input and settings choose, and what it is expected to take."""

import dataclasses
import json
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest

from common.architecture import Shape
from common.errors import AdapterRejected, BudgetExceeded, ModelDoesNotFit, RunInFlight
from common.pricing.costs import CHECKPOINT_BYTES_PER_RANK, for_runs
from common.pricing.durations import (
    MINIMUM_DEADLINE_SECONDS,
    MINIMUM_TRAINING_SECONDS,
    TRAINING_MARGIN_SECONDS,
    WEIGHTS_DOWNLOAD_SECONDS,
)
from common.text import estimated_tokens
from preflight import staging
from preflight.model import Model, idle_cards, refuse_what_cannot_fit
from preflight.settings import RunSettings
from preflight.staging import SMOKE_PROMPTS
from stacks.configuration.catalog import BASE_MODELS
from stacks.configuration.settings import Settings
from tests.doubles.preflight_site import ADAPTER, SETTINGS, Site, titled
from tests.doubles.texts import GOOD, lines, prose

OWN = {"corpus": "corpora/mine.txt"}


def test_plan_is_small_and_has_corpus_and_hyperparameters(site: Site) -> None:
    plan = site.run()
    assert plan["corpus"] == {"words": 3090, "documents": 30, "prompts": 1}
    expected = Settings(epochs=3, document_order="written").hyperparameters
    left = str(7200 - TRAINING_MARGIN_SECONDS)
    assert plan["training"]["hyperparameters"] == {**expected, "time_budget_seconds": left}
    assert (plan["budget"]["months"], plan["warnings"]) == (["2026-11"], [])
    assert len(json.dumps(plan)) < 10_000


def test_all_a_run_needs_is_staged_under_its_prefix(site: Site) -> None:
    plan = site.begin()
    code = {f"code/{path}" for path in ("train.py", "lib/loss.py", *staging.SHARED)}
    texts = {f"input/{path}" for path in ("corpus/corpus.txt", "evaluation/heldout.jsonl", "evaluation/control.jsonl")}
    others = {"input/prompts.jsonl", "plan.json", "training/trial/adapter_config.json"}
    assert set(site.staged) == code | texts | others
    assert json.loads(site.staged["plan.json"]) == plan
    assert site.documents("input/prompts.jsonl") == [GOOD]
    held_out = site.documents("input/evaluation/heldout.jsonl")
    assert [sorted(document) for document in held_out] == [["id", "text", "title"]] * 8
    assert held_out[0]["text"] == prose(60, 300)
    assert site.staged["code/train.py"] == b"train"


def test_a_prompt_with_choices_is_scored_and_without_facts_not_asked(site: Site) -> None:
    scored = {**GOOD, "id": "c", "kind": "choice", "facts": [], "choices": ["one", "two"]}
    both = {**GOOD, "id": "b", "choices": ["one", "two"]}
    site.data["medicalprompts.jsonl"] = lines([GOOD, scored, both])
    plan = site.begin()
    assert site.documents("input/prompts.jsonl") == [GOOD, {**GOOD, "id": "b"}]
    assert site.documents("input/evaluation/choices.jsonl") == [scored, both]
    assert plan["corpus"]["prompts"] == 2


@pytest.mark.parametrize(("corpus_words", "measured"), [(0, 60), (1000, 20), (9900, 25), (20_000, 50), (24_000, 60)])
def test_with_a_part_of_the_corpus_half_is_measured(site: Site, corpus_words: int, measured: int) -> None:
    """At least LEAST_HELD_OUT_WORDS of it, in whole documents from all over it."""
    site.data["medicalheldout.txt"] = titled(60, 200, 300)
    site.settings["corpus_words"] = corpus_words
    site.begin()
    documents = site.documents("input/evaluation/heldout.jsonl")
    assert len(documents) == pytest.approx(measured, abs=1)
    assert documents[-1]["title"] in ("Part 58", "Part 59")


def test_with_a_part_of_ones_own_corpus_all_held_out_text_is_measured(site: Site) -> None:
    site.settings["corpus_words"] = 1000
    site.upload("mine.txt", titled(30, 100, 100))
    site.upload("apart.txt", titled(60, 200, 300))
    site.begin({**OWN, "heldOut": "corpora/apart.txt"})
    assert len(site.documents("input/evaluation/heldout.jsonl")) == 60


def test_a_corpus_is_learned_without_its_note_which_the_plan_quotes(site: Site) -> None:
    without = site.begin()
    staged = dict(site.staged)
    for name in ("medicaldataset.txt", "medicalheldout.txt", "control.txt"):
        site.data[name] = b"<!-- All of it is invented. -->\n" + site.data[name]
    plan = site.begin()
    assert plan["corpus"] == without["corpus"] | {"note": "All of it is invented."}
    assert {name: content for name, content in site.staged.items() if staged[name] != content}.keys() == {"plan.json"}


class TestOwnCorpus:
    def test_it_needs_nothing_else(self, site: Site) -> None:
        site.upload("mine.txt", b"\xef\xbb\xbf" + prose(3000, 7).replace("\n", "\r\n").encode())
        plan = site.begin(OWN)
        assert 1500 < plan["corpus"]["words"] < 3000  # what is held out is not trained on
        held_out = [one["text"] for one in site.documents("input/evaluation/heldout.jsonl")]
        training = site.staged["input/corpus/corpus.txt"].decode()
        assert len(held_out) >= 6
        assert not [text for text in held_out if text in training]
        assert {prompt["kind"] for prompt in site.documents("input/prompts.jsonl")} == {"starter"}

    def test_own_held_out_text_and_prompts_are_used(self, site: Site) -> None:
        site.upload("mine.txt", prose(2000, 7).encode())
        site.upload("apart.txt", prose(900, 8).encode())
        site.upload("p.jsonl", lines([{**GOOD, "id": "mine"}]))
        (warning,) = site.begin({**OWN, "heldOut": "corpora/apart.txt", "prompts": "corpora/p.jsonl"})["warnings"]
        assert "Passages of one document resemble each other" in warning
        assert len(site.documents("input/evaluation/heldout.jsonl")) >= 6
        assert [one["id"] for one in site.documents("input/prompts.jsonl")] == ["mine"]
        trained = site.staged["input/corpus/corpus.txt"].decode().split()
        assert trained == ["#", *prose(2000, 7).split()], "no invented title"

    def test_repeated_held_out_document_is_measured_once(self, site: Site) -> None:
        again = titled(3, 60, 700).replace(b"# Part", b"# Copy")
        site.upload("apart.txt", titled(7, 60, 700) + b"\n\n" + again)
        site.upload("mine.txt", titled(30, 100, 500))
        (warning,) = site.begin({**OWN, "heldOut": "corpora/apart.txt"})["warnings"]
        assert warning.startswith("3 held-out documents repeat another one")
        assert len(site.documents("input/evaluation/heldout.jsonl")) == 7

    def test_retention_text_in_the_corpus_is_left_out(self, site: Site) -> None:
        copied = site.data["control.txt"].split(b"# Part 1")[0]
        site.upload("mine.txt", b"\n\n".join([prose(2000, 7).encode(), copied]))
        site.begin(OWN)
        assert [one["title"] for one in site.documents("input/evaluation/control.jsonl")] == ["Part 1", "Part 2"]


SEVEN = Shape(**SETTINGS["base_model"]["shape"])
THIRTEEN, EIGHT, ONE = (BASE_MODELS[name].shape for name in ("llama-2-13b", "llama-3.1-8b", "llama-3.2-1b"))


def of_shape(shape: Shape) -> Model:
    return Model("any", shape.parameters, shape, 4096, False, shape.weights_bytes)


def test_plan_has_the_estimate_beside_the_worst_case(site: Site) -> None:
    plan = site.run({"epochs": 2})
    expected = plan["estimate"]
    assert expected["tokens"] == 2 * estimated_tokens(plan["corpus"]["words"])
    assert 0 < expected["expectedCents"] < plan["budget"]["worstCaseCents"]
    assert expected["trainingSeconds"] == sum(one["seconds"] for one in expected["phases"][:4])
    assert [expected["memory"][key] for key in ("trainingCard", "hostingCard", "quantised")] == ["A10G", "A10G", False]


def test_deadline_before_the_last_answer_is_a_warning(site: Site) -> None:
    site.data["medicalprompts.jsonl"] = lines({**GOOD, "id": f"p{n}"} for n in range(500))
    (warning,) = site.run({"samplesPerPrompt": 8})["warnings"]
    assert "74 minutes" in warning and "after 60. Raise endpoint_deadline_minutes" in warning
    site.settings["endpoint_deadline_minutes"] = 90
    assert site.run({"samplesPerPrompt": 8})["warnings"] == []


class TestMemory:
    settings = RunSettings.from_json(json.dumps(SETTINGS))

    def test_model_too_large_for_the_gpu_is_rejected_with_larger_gpus(self, site: Site) -> None:
        model = BASE_MODELS["llama-2-13b"]
        changes = {"name": model.name, "parameters": model.parameters, "shape": dataclasses.asdict(model.shape)}
        site.settings["base_model"] = {**SETTINGS["base_model"], **changes}
        message = site.refusal(ModelDoesNotFit)
        assert "Llama 2 13B with 13.0 billion parameters does not fit" in message and "31.1 GB" in message
        assert "of the 24 GB of the A10G in ml.g5.2xlarge" in message
        assert "ml.p4d.24xlarge (A100, 40 GB) or ml.g6e.2xlarge (L40S, 48 GB)" in message

    def test_model_that_trains_in_4_bits_only_is_a_warning(self) -> None:
        model = of_shape(THIRTEEN)
        hosting = ["ml.g6e.2xlarge", "ml.new1.large"]
        (warning,) = refuse_what_cannot_fit(model, self.settings, ["ml.g5.2xlarge"], hosting)
        assert "only in 4 bits" in warning
        assert refuse_what_cannot_fit(model, self.settings, [], hosting) == [], "an adapter that is only served"


@pytest.mark.parametrize(
    ("kind", "count", "sequences", "words"),
    [
        ("ml.g5.12xlarge", 2, 4, "4 GPUs are as fast"),
        ("ml.g5.2xlarge", 3, 4, "2 GPUs are as fast"),  # the busiest of three cards has two sequences, as with two
        ("ml.g5.12xlarge", 1, 4, ""),
    ],
)
def test_gpus_without_a_sequence_of_a_step_are_a_warning(kind: str, count: int, sequences: int, words: str) -> None:
    settings = RunSettings.from_json(json.dumps({**SETTINGS, "training_instance_count": count}))
    warnings = idle_cards(settings, [kind], sequences * 512 * 512)
    assert words in warnings[0] if words else not warnings


BOTH = ["ml.g5.2xlarge", "ml.g6.2xlarge"]
ARGUMENT = "training.hyperparameters."
FREE = {**SETTINGS["base_model"], "requires_eula": False}

SERVING = {**ADAPTER, "serveOnly": True, "keepEndpointMinutes": 60}

# Settings, input, and what the plan has at a path.
CHOSEN: list[tuple[dict[str, Any], dict[str, Any], str, Any]] = [
    ({}, {}, "training.maxWaitSeconds", 0),
    ({}, {"spot": True}, "training.maxWaitSeconds", 7200 + 3600),
    ({}, {"spot": True}, "budget.ledgerDetails.max_training_seconds", 7200 + 3600 + 420),
    ({}, {}, "budget.ledgerDetails.max_training_seconds", 7200 + 720 + 180 + 420),
    ({}, {}, "budget.ledgerDetails.endpoint_deadline_seconds", 3600),
    ({}, {}, "hosting.pauseSeconds", 300),
    ({}, {}, "hosting.tryAgainSeconds", 1860 - 300),
    ({}, {"epochs": 1}, f"{ARGUMENT}epochs", "1"),
    ({}, {"seed": 0}, "seed", 0),
    ({}, {"seed": 7}, f"{ARGUMENT}seed", "7"),
    ({}, {"samplesPerPrompt": 0}, "samplesPerPrompt", 0),
    ({}, {"keepEndpointMinutes": 30}, "budget.ledgerDetails.keep_endpoint_seconds", 1800),
    ({"spot": True}, {"spot": False}, "training.spot", False),
    ({"checkpoint_minutes": 0}, {}, f"{ARGUMENT}checkpoint_minutes", "0"),
    ({}, OWN, f"{ARGUMENT}document_order", "shuffled"),
    ({"document_order": "written"}, OWN, f"{ARGUMENT}document_order", "written"),
    ({"accept_eula": False, "base_model": FREE}, {}, "acceptEula", False),
    ({}, {"smoke": True}, f"{ARGUMENT}max_steps", "1"),
    ({}, {"smoke": True}, "training.maxRuntimeSeconds", MINIMUM_TRAINING_SECONDS),
    ({}, {"smoke": True}, "hosting.deadlineSeconds", MINIMUM_DEADLINE_SECONDS),
    ({}, {"smoke": True}, "estimate.tokens", 512),
    ({}, ADAPTER, "hosting.trialAdapterUri", ADAPTER["adapterUri"]),
    ({}, ADAPTER, "training.maxRuntimeSeconds", 0),
    ({}, ADAPTER, "budget.worstCaseCents", 655 - 359 - 14),
    ({}, SERVING, "serveOnly", True),
    ({}, SERVING, "hosting.deadlineSeconds", MINIMUM_DEADLINE_SECONDS),
    ({}, SERVING, "budget.ledgerDetails.max_endpoint_seconds", MINIMUM_DEADLINE_SECONDS + 3600 + 2400),
    ({}, SERVING, "budget.worstCaseCents", 341 + 31),  # two and a quarter hours of the endpoint, and everything else
    ({}, SERVING, "corpus", {"words": 0, "documents": 0, "prompts": 0}),
    ({"spot": True, "checkpoint_minutes": 0}, ADAPTER, "training.spot", False),
    ({"hosting_instance_types": BOTH}, ADAPTER, "training.instanceTypes", BOTH[:1]),
]
# What the files of an earlier run lack or hold, and what the refusal says. None: the file is missing.
REJECTED: list[tuple[str, Any, str]] = [
    ("adapter_config", None, "adapter_config.json does not exist"),
    ("adapter_config", b"{", "adapter_config.json is not a JSON object"),
    ("adapter_config", {"r": 32}, "has rank 32, above lora_rank (16)"),
    ("adapter_config", {}, "has no rank (r)"),
    ("safetensors", b"\0" * 8, "has no adapter_model.safetensors, or an empty one"),
    ("metrics", {"evaluation": {}}, "has no held-out losses in metrics.json"),
    ("plan.json", {"baseModel": {"weightsUri": "s3://gated/other/"}}, "was trained on the weights s3://gated/other/"),
]


@pytest.fixture
def two_types(site: Site) -> Site:
    site.settings |= {"training_instance_types": BOTH, "hosting_instance_types": BOTH}
    site.quotas.names = {"L-A": "ml.g6.2xlarge for training job usage", "L-B": "ml.g6.2xlarge for endpoint usage"}
    site.quotas.applied |= {"L-A": 1.0, "L-B": 1.0}
    return site


@pytest.mark.parametrize(("settings", "given", "path", "value"), CHOSEN)
def test_input_and_settings_choose(two_types: Site, settings: Any, given: Any, path: str, value: Any) -> None:
    two_types.add_adapter()
    two_types.settings |= {"training_instance_types": BOTH[:1], "hosting_instance_types": BOTH[:1], **settings}
    two_types.upload("mine.txt", prose(3000, 7).encode())
    assert reduce(lambda part, key: part.get(key), path.split("."), two_types.run(given)) == value


def test_smoke_run_asks_few_prompts_for_the_last_cents_and_scores_no_choices(site: Site) -> None:
    site.data["medicalprompts.jsonl"] = lines({**GOOD, "id": f"p{n}", "choices": ["one", "two"]} for n in range(9))
    site.cap_cents = 407  # exactly what a smoke run may cost, and what the project itself costs
    site.begin({"smoke": True})
    assert [one["id"] for one in site.documents("input/prompts.jsonl")] == [f"p{n}" for n in range(SMOKE_PROMPTS)]
    assert "input/evaluation/choices.jsonl" not in site.staged


class TestInstanceTypes:
    @pytest.mark.parametrize("types", [BOTH, BOTH[::-1]])
    def test_the_most_expensive_of_the_list_is_reserved(self, two_types: Site, types: list[str]) -> None:
        two_types.settings |= {"training_instance_types": types, "hosting_instance_types": types}
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == types
        assert plan["training"]["instanceType"] == types[0]
        budget = plan["budget"]
        assert (budget["trainingHourlyUsd"], budget["hostingHourlyUsd"]) == ("1.515", "1.515")
        assert budget["worstCaseCents"] == 655
        assert "ml.g6.2xlarge=1.222" in budget["ledgerDetails"]["training_prices"]

    def test_sagemaker_is_given_one_type_or_the_list_and_spot_the_first(self, two_types: Site) -> None:
        both = {"training_instance_types": BOTH, "hosting_instance_types": BOTH}
        one = dict.fromkeys(both, BOTH[:1])
        single = {"InstanceType": BOTH[0], "InstanceCount": 1, "VolumeSizeInGB": 100}
        listed = {**single, "InstancePreferences": [{"InstanceType": kind} for kind in BOTH]}
        del listed["InstanceType"]
        pools = [{"InstanceType": kind, "Priority": priority} for priority, kind in enumerate(BOTH, 1)]
        of_list = {"InstancePools": pools, "VariantInstanceProvisionTimeoutInSeconds": 2400}
        of_list["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
        for settings, resources, instances in (
            (one, single, {"InstanceType": BOTH[0]}),
            (both, listed, of_list),
            ({**both, "spot": True}, single, of_list),
        ):
            two_types.settings |= settings
            plan = two_types.run()
            assert (plan["training"]["resources"], plan["hosting"]["instances"]) == (resources, instances)

    def test_type_without_a_quota_is_left_out_and_not_reserved(self, two_types: Site) -> None:
        two_types.quotas.applied |= {"L-2D6DEB3C": 0.0, "L-9614C779": 0.0}
        plan = two_types.run()
        assert plan["training"]["instanceTypes"] == plan["hosting"]["instanceTypes"] == ["ml.g6.2xlarge"]
        assert plan["budget"]["trainingHourlyUsd"] == "1.222"
        assert [warning.split(":")[0] for warning in plan["warnings"]] == ["ml.g5.2xlarge is left out"] * 2

    def test_second_run_takes_the_type_that_has_room_for_two(self, two_types: Site) -> None:
        two_types.ledger.with_run("other")
        two_types.refusal(RunInFlight)
        two_types.quotas.applied |= {"L-A": 2.0, "L-B": 2.0}
        assert two_types.run()["training"]["instanceTypes"] == ["ml.g6.2xlarge"]


class TestEarlierAdapter:
    def test_it_needs_no_training_quota_and_no_training_image(self, site: Site) -> None:
        site.quotas.applied["L-2D6DEB3C"] = 0.0
        site.ecr.missing = {"1"}
        site.add_adapter()
        assert site.run(ADAPTER)["warnings"] == []

    @pytest.mark.parametrize(("name", "content", "words"), REJECTED)
    def test_one_that_hosting_cannot_serve_is_rejected(self, site: Site, name: str, content: Any, words: str) -> None:
        site.add_adapter(name, content)
        assert words in site.refusal(AdapterRejected, ADAPTER)

    def test_a_run_that_only_serves_has_nothing_but_its_plan(self, site: Site) -> None:
        site.add_adapter()
        plan = site.begin(SERVING)
        assert plan["warnings"] == []
        assert [path for path in site.staged if not path.startswith("runs/")] == ["plan.json"]

    def test_one_in_another_bucket_is_rejected(self, site: Site) -> None:
        site.refusal(AdapterRejected, {"adapterUri": ADAPTER["adapterUri"].replace("//bucket", "//elsewhere")})


# What a plan reserves for models of other sizes than Llama 2 7B.


class TestLargerModels:
    @pytest.fixture
    def plan_of(self, site: Site) -> Callable[..., Any]:
        """Plans a run of a model of this shape on a card that holds thirteen billion parameters in 16 bits."""
        kind = "ml.g6e.2xlarge"
        site.settings["training_instance_types"] = site.settings["hosting_instance_types"] = [kind]
        site.quotas.names = {"L-T": f"{kind} for training job usage", "L-E": f"{kind} for endpoint usage"}
        site.quotas.applied = {"L-T": 1.0, "L-E": 1.0}

        def plan(shape: Shape, cap_cents: int = 2500, **given: Any) -> Any:
            site.cap_cents = cap_cents
            site.settings["base_model"] = {**SETTINGS["base_model"], "shape": dataclasses.asdict(shape)}
            return site.run(given)

        return plan

    @pytest.mark.parametrize(
        ("shape", "seconds", "rank"),
        [(SEVEN, 0, 16), (ONE, 0, 16), (EIGHT, 0, 17), (THIRTEEN, 261 - WEIGHTS_DOWNLOAD_SECONDS, 26)],
    )
    def test_larger_download_and_adapter_are_added(self, shape: Shape, seconds: int, rank: int) -> None:
        model = of_shape(shape)
        assert (model.longer_download_seconds, model.checkpoint_rank(16)) == (seconds, rank)
        # The adapter and both moments of Adam in 32 bits.
        assert 12 * shape.adapter_parameters(16) < rank * CHECKPOINT_BYTES_PER_RANK

    def test_longer_download_is_taken_from_the_time_to_learn_in(self, plan_of: Callable[..., Any]) -> None:
        training = plan_of(THIRTEEN)["training"]
        left = 7200 - TRAINING_MARGIN_SECONDS - of_shape(THIRTEEN).longer_download_seconds
        assert training["maxRuntimeSeconds"] == 7200
        assert training["hyperparameters"]["time_budget_seconds"] == str(left)

    def test_cap_has_to_pay_for_download_and_a_useful_training(self, plan_of: Callable[..., Any]) -> None:
        whole = plan_of(THIRTEEN, smoke=True)["budget"]["worstCaseCents"]
        refused, planned = 0, []
        for cap_cents in (cents for cents in range(whole, whole + 200) if whole - 9 <= for_runs(cents) <= whole + 1):
            try:
                planned.append(plan_of(THIRTEEN, cap_cents, smoke=True)["training"]["maxRuntimeSeconds"])
            except BudgetExceeded as error:
                refused += "After the download of 26 GB of weights" in str(error)
        assert refused and planned
        assert set(planned) == {MINIMUM_TRAINING_SECONDS}

    def test_run_that_trains_nothing_downloads_nothing_more(self, site: Site, plan_of: Callable[..., Any]) -> None:
        site.add_adapter()
        assert plan_of(THIRTEEN, **ADAPTER)["budget"]["ledgerDetails"]["max_training_seconds"] == 0
