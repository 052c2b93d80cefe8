"""The real model server in the loop: vLLM, started as the template says, queried by the deployed Ask code through InvokeEndpoint.

In one rehearsed run of the synthesized project, the real vLLM serves the adapter that the run trained. Its endpoint is kept for a
while and asked what a run never asks; then the rehearsal's own server, transformers and PEFT, is asked the same.
"""

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from ask import questions
from common.contracts import run_folder
from common.errors import AdapterNotServed, CaptuneError, EndpointAnsweredBadly
from rehearsal.models.weights import ensure_weights
from rehearsal.programs import FOREIGN
from rehearsal.sagemaker.real.hosting import arguments_of
from rehearsal.sagemaker.vllm import environment as vllm_environment
from verification.conformance.contracts import Contract, Setting
from verification.conformance.serving.site import DOMAIN, OWN_SERVER, Site, deployed_run, removed, served

_FOLDER = FOREIGN / "conformance" / "serving"
_ENVIRONMENTS = {vllm_environment.DEPLOYED: "vllm", vllm_environment.NEWEST: "vllm-newest"}  # below .rehearsal/


def run(setting: Setting) -> list[Contract]:
    """Return what the real server showed.

    Raises:
        CannotRun: vLLM or the weights of the rehearsal's model cannot be had on this machine.
    """
    python = vllm_environment.make(FOREIGN / _ENVIRONMENTS[setting.vllm], setting.vllm)
    weights = ensure_weights(FOREIGN / "weights")
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with served(setting, _FOLDER, weights, python) as site:
        contracts = [flags(site), deployed_run(site)]
        if site.execution.status == "SUCCEEDED" and setting.plant is None:
            setting.say("asking both models")
            contracts += [route(site), refusals(site), header(site)]
            setting.say("asking transformers and PEFT the same, in float32 on both sides")
            contracts += agreement(site)
            contracts.append(removed(site))
    return contracts


ADAPTER_HEADER = "X-Amzn-SageMaker-Adapter-Identifier"
PROMPT = "Genomic characterization is essential for"
BEYOND_CONTEXT = "gene " * 5000
# In float32 two correct implementations differ by rounding only; what is left are ties between two tokens.
_EQUAL_FIRST_TOKENS, _EQUAL_ANSWERS = 0.95, 0.9
# vLLM 0.27.1 fails over a list (AttributeError in its validation) where 0.32.0 and ours refuse it with 400. A run sends no list.
_FAILS_IN_OLDER = ("a list", (500, "InternalServerError"))
_STRICTER = "an unknown member"  # vLLM ignores it; ours refuses it by its name, so that nobody expects anything of it
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

# vLLM's parser, in vLLM's own environment: which of the flags it does not know, and what it reads of the named ones.
_PARSE = """
import json, sys
try:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
except ModuleNotFoundError:  # its place in newer versions
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
known, unknown = make_arg_parser(FlexibleArgumentParser()).parse_known_args(sys.argv[2:])
read = {name: getattr(known, name, None) for name in sys.argv[1].split(",")}
print("PARSED " + json.dumps({"unknown": unknown, "read": read}, default=str))
"""
_TEXT_FLAGS = ("served_model_name", "max_lora_rank", "max_model_len", "max_num_seqs", "dtype")


def flags(site: Site) -> Contract:
    """Whether vLLM's parser knows every flag that follows from the run's container, and reads from it what the container says."""
    name = "the template's SM_VLLM_ variables are flags of the server"
    created = [call.request for call in site.cloud.calls if call.operation == "CreateModel"]
    if not created:
        return site.contract(name, 0, ["the run created no model"])
    environment = created[0]["PrimaryContainer"]["Environment"]
    expected = {"enable_lora": "True"} | {flag: environment[f"SM_VLLM_{flag.upper()}"] for flag in _TEXT_FLAGS}
    words = arguments_of(environment)
    # In vLLM's environment, but without a GPU and without a model: parsing needs neither.
    command = [str(site.python), "-c", _PARSE, ",".join(expected), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    line = next((one for one in done.stdout.splitlines() if one.startswith("PARSED ")), None)
    if line is None:
        refusal = " ".join(done.stderr.strip().splitlines()[-2:])
        return site.contract(name, len(words), [f"the parser rejected them: {refusal}"])
    parsed = json.loads(line.removeprefix("PARSED "))
    read = {flag: str(value[0] if isinstance(value, list) else value) for flag, value in parsed["read"].items()}
    problems = [f"the parser does not know {word}" for word in parsed["unknown"]]
    problems += [
        f"{flag} is read as {read[flag]}, not {value}" for flag, value in expected.items() if read[flag] != value
    ]
    return site.contract(name, sum(word.startswith("--") for word in words), problems)


def outcome(site: Site, body: dict[str, Any] | bytes, endpoint: str, by: str = questions.ROUTE) -> tuple[int, str]:
    """(status, error type or the model that answered) of one request through InvokeEndpoint."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"CustomAttributes": by} if by else {}
    try:
        answer = site.runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=content, **more
        )
        return 200, str(json.loads(answer["Body"].read()).get("model"))
    except ClientError as error:
        status = int(error.response.get("OriginalStatusCode") or 0)
        try:
            original = json.loads(error.response.get("OriginalMessage") or "{}")
        except ValueError:
            original = {}
        return status, str((original.get("error") or {}).get("type"))


def _error_of(site: Site, model: str, prompt: str) -> str:
    """The name of the error with which Ask ends, empty when it was answered."""
    try:
        site.ask(model, prompt)
    except CaptuneError as error:
        return type(error).__name__
    return ""


def route(site: Site) -> Contract:
    """Whether a body's model counts on the routed path only, and Ask notices a lost route."""
    body, problems = {**_USUAL, "model": DOMAIN}, []
    routed, plain = outcome(site, body, site.run), outcome(site, body, site.run, by="")
    if routed != (200, DOMAIN):
        problems.append(f"routed, it was answered as {routed}")
    if plain != (200, "base"):
        problems.append(f"without the route, a request for {DOMAIN} was answered as {plain}, not by the base model")
    with patch.object(questions, "ROUTE", "none"):
        error = _error_of(site, DOMAIN, PROMPT)
    if error != AdapterNotServed.__name__:
        problems.append(
            f"Ask without the route ends as {error or 'a success: it took the base model for the tuned one'}"
        )
    figures = "a body's model counts on the routed path only; Ask without the route ends as AdapterNotServed"
    return site.contract("only a routed request names its model", 3, problems, figures)


def refusals(site: Site) -> Contract:
    """Whether Ask calls each refusal of the real server by its name."""
    asked = {"an unknown model": ("nobody", PROMPT), "a prompt beyond the context": ("base", BEYOND_CONTEXT)}
    errors = {what: _error_of(site, *words) for what, words in asked.items()}
    expected = EndpointAnsweredBadly.__name__
    problems = [
        f"{what} is {error or 'answered'}, not {expected}" for what, error in errors.items() if error != expected
    ]
    return site.contract("Ask calls each rejection by its name", len(asked), problems)


def header(site: Site) -> Contract:
    """Whether vLLM's header names the adapter on /invocations, and whether InvokeEndpoint still has no field that would send it.

    If this breaks because InvokeEndpoint can send the header now, that is the shorter way: no routing image is needed then.
    """
    answered = [_model_of(site, headers) for headers in ({}, {ADAPTER_HEADER: DOMAIN})]
    right = answered == ["base", DOMAIN]
    problems = [] if right else [f"without and with the header, /invocations was answered as {answered}"]
    members = site.runtime.meta.service_model.operation_model("InvokeEndpoint").input_shape.members
    headers = {str(shape.serialization.get("name", "")).lower() for shape in members.values()}
    if ADAPTER_HEADER.lower() in headers:
        problems.append(f"InvokeEndpoint can send {ADAPTER_HEADER} now: use it, and leave the route out")
    figures = f"{ADAPTER_HEADER} is none of InvokeEndpoint's {len(headers)} members"
    return site.contract("why the route: the header that names an adapter", 3, problems, figures)


def _model_of(site: Site, headers: dict[str, str]) -> str:
    """The model that answers a request to the container's own /invocations."""
    connection = http.client.HTTPConnection("127.0.0.1", site.host.port_of(site.run), timeout=60)
    try:
        body = json.dumps({"model": "nobody", "prompt": PROMPT, "max_tokens": 2, "temperature": 0.0})
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json", **headers})
        return str(json.loads(connection.getresponse().read()).get("model"))
    finally:
        connection.close()


# The rehearsal's own server beside the real one -----------------------------------------------------------------------


def agreement(site: Site) -> list[Contract]:
    """Whether both servers refuse alike, and whether their greedy answers agree."""
    site.cloud.sagemaker.market.quotas["ml.g5.2xlarge for endpoint usage"] = 8
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
    # The first sampled answer compiles, on a busy machine for longer than InvokeEndpoint waits.
    for name in (real, own):
        outcome(site, _GREEDY, name)
    for what, body in BODIES.items():
        for by in (questions.ROUTE, ""):
            theirs, ours = (outcome(site, body, name, by) for name in (real, own))
            seen.append(theirs)
            expected = (400, "BadRequestError") if what == _STRICTER else theirs
            if ours != expected and (what, theirs) != _FAILS_IN_OLDER:
                way = "" if by else ", not routed"
                problems.append(f"{what}{way}: the real server answers {theirs}, ours {ours}")
    name = "the rehearsal's server answers and rejects like the real one"
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
