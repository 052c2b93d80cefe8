"""Which arguments the real server takes, how a request names its model, and what the deployed Ask code makes of the answers."""

from __future__ import annotations

import http.client
import json
import subprocess
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from ask import questions
from common.errors import AdapterNotServed, CaptuneError, EndpointAnsweredBadly
from rehearsal.sagemaker.real.programs import arguments_of
from verification.conformance.contract import Contract
from verification.conformance.serving.site import DOMAIN, Site

ADAPTER_HEADER = "X-Amzn-SageMaker-Adapter-Identifier"
PROMPT = "Genomic characterization is essential for"
BEYOND_CONTEXT = "gene " * 5000


# vLLM's parser, in vLLM's own environment: which of the flags it does not know, and what it reads of the named ones.
_PARSE = """
import json, sys
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
    created = [call.request for call in site.cloud.sagemaker.calls if call.operation == "CreateModel"]
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
        problems = [f"the parser refused them: {' '.join(done.stderr.strip().splitlines()[-2:])}"]
    else:
        parsed = json.loads(line.removeprefix("PARSED "))
        read = {flag: value[0] if isinstance(value, list) else value for flag, value in parsed["read"].items()}
        problems = [f"the parser does not know {word}" for word in parsed["unknown"]]
        problems += [
            f"{flag} is read as {read[flag]}, not {value}"
            for flag, value in expected.items()
            if str(read[flag]) != value
        ]
    return site.contract(name, sum(word.startswith("--") for word in words), problems)


def outcome(site: Site, body: dict[str, Any] | bytes, endpoint: str, route: str = questions.ROUTE) -> tuple[int, str]:
    """(status, error type or the model that answered) of one request through InvokeEndpoint."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"CustomAttributes": route} if route else {}
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


def check(site: Site) -> list[Contract]:
    """The contract of the route, what Ask calls each refusal, and why no header replaces the route."""
    return [_route(site), _refusals(site), _header(site)]


def _error_of(site: Site, model: str, prompt: str) -> str:
    """The name of the error with which Ask ends, empty when it was answered."""
    try:
        site.ask(model, prompt)
    except CaptuneError as error:
        return type(error).__name__
    return ""


def _route(site: Site) -> Contract:
    body, problems = {"model": DOMAIN, "prompt": PROMPT, "max_tokens": 4, "temperature": 0.0}, []
    routed, plain = outcome(site, body, site.run), outcome(site, body, site.run, route="")
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


def _refusals(site: Site) -> Contract:
    asked = {"an unknown model": ("nobody", PROMPT), "a prompt beyond the context": ("base", BEYOND_CONTEXT)}
    errors = {what: _error_of(site, *words) for what, words in asked.items()}
    expected = EndpointAnsweredBadly.__name__
    problems = [
        f"{what} is {error or 'answered'}, not {expected}" for what, error in errors.items() if error != expected
    ]
    return site.contract("Ask calls each refusal by its name", len(asked), problems)


def _header(site: Site) -> Contract:
    """Whether vLLM's header names the adapter on /invocations, and whether InvokeEndpoint still has no field that would send it.

    If this breaks because InvokeEndpoint can send the header now, that is the shorter way: no routing image is needed then.
    """
    problems = []
    answered = [_model_of(site, headers) for headers in ({}, {ADAPTER_HEADER: DOMAIN})]
    if answered != ["base", DOMAIN]:
        problems.append(f"without and with the header, /invocations was answered as {answered}")
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
