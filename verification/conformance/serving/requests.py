"""What the deployed Ask code makes of the real server's answers, and the same requests to our own server."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from ask import questions
from common.errors import AdapterNotServed, CaptuneError, EndpointAnsweredBadly
from verification.conformance.contract import Contract
from verification.conformance.serving.journey import DOMAIN, Site

_PROMPT = "Genomic characterization is essential for"
_BEYOND = "gene " * 5000
# Bodies that a run never sends, and one that it does: what the server makes of each must be what our own server makes of it.
BODIES: dict[str, dict[str, Any] | bytes] = {
    "a usual request": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "temperature": 0.0},
    "an unknown model": {"model": "nobody", "prompt": _PROMPT, "max_tokens": 4},
    "a prompt beyond the context": {"model": "base", "prompt": _BEYOND, "max_tokens": 4},
    "no model": {"prompt": _PROMPT, "max_tokens": 4, "temperature": 0.0},
    "an empty model": {"model": "", "prompt": _PROMPT, "max_tokens": 4, "temperature": 0.0},
    "a model that is no text": {"model": 3, "prompt": _PROMPT, "max_tokens": 4},
    "an empty prompt": {"model": "base", "prompt": "", "max_tokens": 4},
    "a prompt that is no text": {"model": "base", "prompt": 5, "max_tokens": 4},
    "no tokens": {"model": "base", "prompt": _PROMPT, "max_tokens": 0},
    "half a token": {"model": "base", "prompt": _PROMPT, "max_tokens": 2.5},
    "more tokens than the context": {"model": "base", "prompt": _PROMPT, "max_tokens": 100_000},
    "tokens as text": {"model": "base", "prompt": _PROMPT, "max_tokens": "4", "temperature": 0.0},
    "a temperature above two": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "temperature": 2.5},
    "a temperature that is no number": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "temperature": "hot"},
    "a top_p of nothing": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "top_p": 0},
    "a seed that is no number": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "seed": "one"},
    "a member that nobody knows": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "temperature": 0.0, "zzz": 1},
    "a list": b"[1]",
    "nothing": b"",
    "no prompt": {"model": "base", "max_tokens": 4},
    "a temperature below zero": {"model": "base", "prompt": _PROMPT, "max_tokens": 4, "temperature": -1.0},
    "no JSON": b"this is no JSON",
}


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
            told = json.loads(error.response.get("OriginalMessage") or "{}")
        except ValueError:
            told = {}
        return status, str((told.get("error") or {}).get("type"))


def check(site: Site, against: str) -> list[Contract]:
    """The contract of the route, and what Ask calls each refusal."""
    return [_route(site, against), _refusals(site, against)]


def _route(site: Site, against: str) -> Contract:
    body = {"model": DOMAIN, "prompt": _PROMPT, "max_tokens": 4, "temperature": 0.0}
    problems = []
    routed, plain = outcome(site, body, site.run), outcome(site, body, site.run, route="")
    if routed != (200, DOMAIN):
        problems.append(f"routed, it was answered as {routed}")
    if plain != (200, "base"):
        problems.append(f"without the route, a request for {DOMAIN} was answered as {plain}, not by the base model")
    kept = questions.ROUTE
    try:
        questions.ROUTE = "none"
        site.ask(DOMAIN, _PROMPT)
        problems.append("Ask without the route took the base model's answer for the tuned one's")
    except AdapterNotServed:
        pass
    except CaptuneError as error:
        problems.append(f"Ask without the route ends as {type(error).__name__}")
    finally:
        questions.ROUTE = kept
    figures = "a body's model counts on the routed path only; Ask without the route ends as AdapterNotServed"
    return Contract("only a routed request names its model", 3, against, tuple(problems), figures)


def _refusals(site: Site, against: str) -> Contract:
    problems = []
    for what, model, prompt, expected in (
        ("an unknown model", "nobody", _PROMPT, EndpointAnsweredBadly),
        ("a prompt beyond the context", "base", _BEYOND, EndpointAnsweredBadly),
    ):
        try:
            site.ask(model, prompt)
            problems.append(f"{what} was answered")
        except CaptuneError as error:
            if type(error) is not expected:
                problems.append(f"Ask calls {what} {type(error).__name__}, not {expected.__name__}")
    return Contract("Ask calls each refusal by its name", 2, against, tuple(problems))
