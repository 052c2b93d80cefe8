"""The rehearsal's own server beside the real one: the same weights, the same adapter, the same requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from ask import questions
from common.contracts import run_folder
from verification.conformance.contract import Contract
from verification.conformance.serving.requests import BEYOND_CONTEXT, PROMPT, outcome
from verification.conformance.serving.site import DOMAIN, OWN_SERVER, Site

# In float32 two correct implementations differ by rounding only; what is left are ties between two tokens.
_EQUAL_FIRST_TOKENS, _EQUAL_ANSWERS = 0.95, 0.9
_PATIENCE = {"Delay": 1, "MaxAttempts": 300}  # until a server has loaded, or has ended
_CONVERSATIONS, _TOKENS = 12, 16
_USUAL: dict[str, Any] = {"model": "base", "prompt": PROMPT, "max_tokens": 4, "temperature": 0.0}
_GREEDY = {key: value for key, value in _USUAL.items() if key != "temperature"}
# Bodies that a run never sends, and one that it does: both servers have to answer each alike.
BODIES: dict[str, dict[str, Any] | bytes] = {
    "a usual request": _USUAL,
    "an unknown model": {**_GREEDY, "model": "nobody"},
    "a prompt beyond the context": {**_GREEDY, "prompt": BEYOND_CONTEXT},
    "no model": {key: value for key, value in _USUAL.items() if key != "model"},
    "an empty model": {**_USUAL, "model": ""},
    "a model that is no text": {**_GREEDY, "model": 3},
    "an empty prompt": {**_GREEDY, "prompt": ""},
    "a prompt that is no text": {**_GREEDY, "prompt": 5},
    "no tokens": {**_GREEDY, "max_tokens": 0},
    "half a token": {**_GREEDY, "max_tokens": 2.5},
    "more tokens than the context": {**_GREEDY, "max_tokens": 100_000},
    "tokens as text": {**_USUAL, "max_tokens": "4"},
    "a temperature above two": {**_USUAL, "temperature": 2.5},
    "a temperature that is no number": {**_USUAL, "temperature": "hot"},
    "a top_p of nothing": {**_GREEDY, "top_p": 0},
    "a seed that is no number": {**_GREEDY, "seed": "one"},
    "an unknown member": {**_USUAL, "zzz": 1},
    "a list": b"[1]",
    "nothing": b"",
    "no prompt": {"model": "base", "max_tokens": 4},
    "a temperature below zero": {**_USUAL, "temperature": -1.0},
    "no JSON": b"this is no JSON",
}


def check(site: Site) -> list[Contract]:
    """Whether both servers refuse alike, and whether their greedy answers agree."""
    site.cloud.sagemaker.market.set_quota("L-9614C779", 8.0)
    real, own = f"{site.run}-exact", f"{site.run}-exact-own"
    with _endpoint(site, real, {}), _endpoint(site, own, {OWN_SERVER: "true"}):
        prompts = site.lines(run_folder.PROMPTS)
        # By another route, and written by the model's own chat template on both sides.
        talks = [{**one, "messages": _conversation(one["prompt"])} for one in prompts[:_CONVERSATIONS]]
        return [
            _alike(site, real, own),
            _equal(site, (real, own), "greedy answers are those of transformers and PEFT", prompts),
            _equal(site, (real, own), "conversations go by their route and the chat template", talks),
            _apart(site, real, prompts),
        ]


@contextmanager
def _endpoint(site: Site, name: str, variables: dict[str, str]) -> Iterator[None]:
    """Another endpoint of the run's own model, but in float32 and with further variables."""
    client = site.cloud.client("sagemaker")
    model = client.describe_model(ModelName=site.run)
    container: dict[str, Any] = model["PrimaryContainer"]
    container["Environment"] = {**container["Environment"], "SM_VLLM_DTYPE": "float32", **variables}
    variant = client.describe_endpoint_config(EndpointConfigName=site.run)["ProductionVariants"][0]
    role = model["ExecutionRoleArn"]
    with ExitStack() as made:
        client.create_model(
            ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container, EnableNetworkIsolation=True
        )
        made.callback(client.delete_model, ModelName=name)
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{**variant, "ModelName": name}])
        made.callback(client.delete_endpoint_config, EndpointConfigName=name)
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)
        made.callback(client.get_waiter("endpoint_deleted").wait, EndpointName=name, WaiterConfig=_PATIENCE)
        made.callback(client.delete_endpoint, EndpointName=name)
        client.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=_PATIENCE)
        yield


def _alike(site: Site, real: str, own: str) -> Contract:
    problems, seen = [], []
    for what, body in BODIES.items():
        for route in (questions.ROUTE, ""):
            theirs, ours = (outcome(site, body, name, route) for name in (real, own))
            seen.append(theirs)
            if theirs != ours:
                way = "" if route else ", not routed"
                problems.append(f"{what}{way}: the real server answers {theirs}, ours {ours}")
    name = "the rehearsal's server answers and refuses like the real one"
    return site.contract(name, len(seen), problems, f"{len(set(seen))} different outcomes")


def _equal(site: Site, endpoints: Sequence[str], name: str, prompts: list[dict[str, Any]]) -> Contract:
    """Whether both servers give the same greedy answers, and the tuned model others than the base model."""
    base, tuned = (
        list(zip(*(site.greedy(model, prompts, endpoint, _TOKENS) for endpoint in endpoints), strict=True))
        for model in ("base", DOMAIN)
    )
    pairs = base + tuned
    first, whole = _share([(_head(one), _head(other)) for one, other in pairs]), _share(pairs)
    differing = sum(one != other for (one, _), (other, _) in zip(base, tuned, strict=True))
    problems = [f"only {first:.0%} of the first words are equal"] if first < _EQUAL_FIRST_TOKENS else []
    problems += [f"only {whole:.0%} of the answers are equal"] if whole < _EQUAL_ANSWERS else []
    if 4 * differing <= len(prompts):  # where the route loses the adapter, none differs
        problems.append(f"only {differing} of {len(prompts)} answers of the tuned model differ from the base model's")
    figures = f"float32: {first:.1%} of first words and {whole:.1%} of whole answers equal"
    figures += f"; {differing} of {len(prompts)} of the tuned model's differ from the base model's"
    return site.contract(name, len(pairs), problems, figures)


def _conversation(prompt: str) -> list[dict[str, str]]:
    """A prompt as the last turn of a conversation of all three roles."""
    return [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "What is a gene?"},
        {"role": "assistant", "content": "A stretch of DNA that codes for a product."},
        {"role": "user", "content": prompt},
    ]


def _apart(site: Site, endpoint: str, prompts: list[dict[str, Any]]) -> Contract:
    """Whether a model answers beside the other one in a batch as it does alone: a run asks both at once."""
    models = ("base", DOMAIN)

    def greedy(model: str) -> list[str]:
        return site.greedy(model, prompts, endpoint, _TOKENS)

    alone = [greedy(model) for model in models]
    with ThreadPoolExecutor(len(models)) as pool:
        together = list(pool.map(greedy, models))
    shares = [_share(list(zip(*answers, strict=True))) for answers in zip(alone, together, strict=True)]
    problems = [
        f"only {share:.0%} of the answers of {model} are the same beside the other model"
        for model, share in zip(models, shares, strict=True)
        if share < _EQUAL_ANSWERS
    ]
    figures = " and ".join(f"{share:.1%} of {model}'s" for model, share in zip(models, shares, strict=True))
    figures += " answers are the same alone and beside the other"
    return site.contract("both models keep apart in one batch", len(models) * len(prompts), problems, figures)


def _share(pairs: Sequence[tuple[str, str]]) -> float:
    return sum(one == other for one, other in pairs) / len(pairs)


def _head(text: str) -> str:
    return (text.split() or [""])[0]
