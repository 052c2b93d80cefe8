"""The rehearsal's own server beside the real one: the same weights, the same adapter, the same requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ask import questions
from common.contracts import run_folder
from verification.conformance.contract import Contract
from verification.conformance.serving.journey import DOMAIN, Site
from verification.conformance.serving.requests import BODIES, outcome
from rehearsal.sagemaker.engines import Answer, Context
from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.records import Endpoint

# In float32 two right implementations differ by rounding only; what is left are ties between two tokens.
_EQUAL_FIRST_TOKENS, _EQUAL_ANSWERS = 0.95, 0.9
_PATIENCE_SECONDS = 300
_CONVERSATIONS = 12


class _Either:
    """A hosting engine for both servers: endpoints whose name ends in -own get ours, all others the one of the run."""

    def __init__(self, real: ModelHost) -> None:
        self._real, self._own = real, ModelHost()

    def attach(self, context: Context) -> None:
        self._own.attach(context)

    def _of(self, endpoint: Endpoint) -> ModelHost:
        return self._own if endpoint.name.endswith("-own") else self._real

    def start(self, endpoint: Endpoint) -> None:
        self._of(endpoint).start(endpoint)

    def observed(self, endpoint: Endpoint) -> None:
        self._of(endpoint).observed(endpoint)

    def stop(self, endpoint: Endpoint) -> None:
        self._of(endpoint).stop(endpoint)

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        return self._of(endpoint).invoke(endpoint, body, content_type, custom_attributes)

    def close(self) -> None:
        self._own.close()


def check(site: Site, against: str) -> list[Contract]:
    """Whether both servers refuse alike, and whether their greedy answers agree."""
    api = site.cloud.sagemaker.control.hosting
    engine = _Either(site.host)
    engine.attach(site.host.context)
    before, api._engine = api._engine, engine
    site.cloud.sagemaker.market.set_quota("L-9614C779", 8.0)
    names = [f"{site.run}-exact", f"{site.run}-exact-own"]
    try:
        for name in names:
            _deploy(site, name)
        return [
            _alike(site, names, against),
            _equal(site, names, against),
            _talks(site, names, against),
            _apart(site, names[0], against),
        ]
    finally:
        for name in names:
            _remove(site, name)
        engine.close()
        api._engine = before


def _deploy(site: Site, name: str) -> None:
    """An endpoint of the run's own model, but in float32."""
    client = site.cloud.client("sagemaker")
    model = client.describe_model(ModelName=site.run)
    container: dict[str, Any] = model["PrimaryContainer"]
    container["Environment"] = {**container["Environment"], "SM_VLLM_DTYPE": "float32"}
    client.create_model(
        ModelName=name, ExecutionRoleArn=model["ExecutionRoleArn"], PrimaryContainer=container,
        EnableNetworkIsolation=True,
    )  # fmt: skip
    variant = client.describe_endpoint_config(EndpointConfigName=site.run)["ProductionVariants"][0]
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{**variant, "ModelName": name}])
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    for _ in range(_PATIENCE_SECONDS * 5):
        described = client.describe_endpoint(EndpointName=name)
        if described["EndpointStatus"] != "Creating":
            break
        threading.Event().wait(0.2)
    if described["EndpointStatus"] != "InService":
        raise RuntimeError(f"{name} became {described['EndpointStatus']}: {described.get('FailureReason')}")


def _remove(site: Site, name: str) -> None:
    client = site.cloud.client("sagemaker")
    if any(one["EndpointName"] == name for one in client.list_endpoints()["Endpoints"]):
        client.delete_endpoint(EndpointName=name)
        while any(one["EndpointName"] == name for one in client.list_endpoints()["Endpoints"]):
            threading.Event().wait(0.1)
    if any(one["EndpointConfigName"] == name for one in client.list_endpoint_configs()["EndpointConfigs"]):
        client.delete_endpoint_config(EndpointConfigName=name)
    if any(one["ModelName"] == name for one in client.list_models()["Models"]):
        client.delete_model(ModelName=name)


def _alike(site: Site, names: list[str], against: str) -> Contract:
    problems, seen = [], []
    for what, body in BODIES.items():
        for route in (questions.ROUTE, ""):
            real, own = (outcome(site, body, name, route) for name in names)
            seen.append(real)
            if real != own:
                problems.append(f"{what}{'' if route else ', not routed'}: the real server answers {real}, ours {own}")
    kinds = len(set(seen))
    return Contract(
        "the rehearsal's server answers and refuses like the real one", len(seen), against, tuple(problems),
        f"{kinds} different outcomes",
    )  # fmt: skip


def _equal(site: Site, names: list[str], against: str) -> Contract:
    prompts = site.lines(run_folder.PROMPTS)
    base, tuned = _pairs(site, names, prompts)
    pairs = base + tuned
    first = sum(_head(one) == _head(other) for one, other in pairs) / len(pairs)
    whole = sum(one == other for one, other in pairs) / len(pairs)
    problems = []
    if first < _EQUAL_FIRST_TOKENS:
        problems.append(f"only {first:.0%} of the first words are equal")
    if whole < _EQUAL_ANSWERS:
        problems.append(f"only {whole:.0%} of the answers are equal")
    figures = f"float32: {first:.1%} of first words and {whole:.1%} of whole answers equal"
    return Contract("greedy answers are those of transformers and PEFT", len(pairs), against, tuple(problems), figures)


def _talks(site: Site, names: list[str], against: str) -> Contract:
    """Whether a conversation comes to both models by its route, and is written by the model's own chat template on both sides."""
    asked = [
        {**prompt, "messages": _conversation(prompt["prompt"])}
        for prompt in site.lines(run_folder.PROMPTS)[:_CONVERSATIONS]
    ]
    base, tuned = _pairs(site, names, asked)
    pairs = base + tuned
    equal = sum(one == other for one, other in pairs) / len(pairs)
    differing = sum(one != other for (one, _), (other, _) in zip(base, tuned, strict=True))
    problems = []
    if equal < _EQUAL_ANSWERS:
        problems.append(f"only {equal:.0%} of the answers are equal")
    if 4 * differing <= len(asked):  # a route that loses the adapter gives none
        problems.append(f"only {differing} of {len(asked)} answers of the tuned model differ from the base model's")
    figures = f"float32: {equal:.1%} of answers equal; {differing} of {len(asked)} of the tuned model's differ from the base model's"
    return Contract(
        "conversations go by their route and the chat template", len(pairs), against, tuple(problems), figures
    )


def _conversation(prompt: str) -> list[dict[str, str]]:
    """A prompt as the last turn of a conversation of all three roles."""
    return [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "What is a gene?"},
        {"role": "assistant", "content": "A stretch of DNA that codes for a product."},
        {"role": "user", "content": prompt},
    ]


def _apart(site: Site, endpoint: str, against: str) -> Contract:
    """Whether a model answers beside the other one in a batch as it does alone: a run asks both at once."""
    prompts = site.lines(run_folder.PROMPTS)
    models = ("base", DOMAIN)
    alone = {model: _greedy(site, endpoint, model, prompts) for model in models}
    with ThreadPoolExecutor(2) as pool:
        beside = dict(zip(models, pool.map(lambda model: _greedy(site, endpoint, model, prompts), models), strict=True))
    problems, shares = [], []
    for model in models:
        share = sum(one == other for one, other in zip(alone[model], beside[model], strict=True)) / len(prompts)
        shares.append(f"{share:.1%} of {model}'s")
        if share < _EQUAL_ANSWERS:
            problems.append(f"only {share:.0%} of the answers of {model} are the same beside the other model")
    figures = f"{' and '.join(shares)} answers are the same alone and beside the other"
    return Contract("both models keep apart in one batch", 2 * len(prompts), against, tuple(problems), figures)


def _pairs(site: Site, names: list[str], prompts: list[dict[str, Any]]) -> list[list[tuple[str, str]]]:
    """The base model's answers and the tuned one's, each by the real server and by ours."""
    return [
        list(zip(*(_greedy(site, name, model, prompts) for name in names), strict=True)) for model in ("base", DOMAIN)
    ]


def _greedy(site: Site, endpoint: str, model: str, prompts: list[dict[str, Any]]) -> list[str]:
    asked = [{**prompt, "kind": "question"} for prompt in prompts]  # a starter would be sampled as well
    settings = questions.Settings(endpoint, model, 0, 42, 16)
    answers = questions.ask_all(site.runtime, asked, [], settings, 600.0, lambda lines: None)
    return [str(answer["greedy"]) for answer in answers]


def _head(text: str) -> str:
    return (text.split() or [""])[0]
