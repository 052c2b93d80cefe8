"""The other way to ask an adapter: vLLM's header works, but InvokeEndpoint has no field that would send it."""

from __future__ import annotations

import http.client
import json

from verification.conformance.contract import Contract
from verification.conformance.serving.journey import DOMAIN, Site

ADAPTER_HEADER = "X-Amzn-SageMaker-Adapter-Identifier"
_PROMPT = "Genomic characterization is essential for"


def check(site: Site, against: str) -> Contract:
    """Whether the header names the adapter on /invocations, and whether InvokeEndpoint still lacks it.

    If this breaks because InvokeEndpoint has the header now, it would be the shorter way: no routing image is needed then.
    """
    problems = []
    answered = [_model_of(site, headers) for headers in ({}, {ADAPTER_HEADER: DOMAIN})]
    if answered != ["base", DOMAIN]:
        problems.append(f"without and with the header, /invocations was answered as {answered}")
    members = site.runtime.meta.service_model.operation_model("InvokeEndpoint").input_shape.members
    headers = {str(shape.serialization.get("name", "")).lower() for shape in members.values()}
    if ADAPTER_HEADER.lower() in headers:
        problems.append(f"InvokeEndpoint can send {ADAPTER_HEADER} now: ask by it, and leave the route out")
    figures = f"{ADAPTER_HEADER} is none of InvokeEndpoint's {len(headers)} members"
    return Contract("why the route: the header that names an adapter", 3, against, tuple(problems), figures)


def _model_of(site: Site, headers: dict[str, str]) -> str:
    """The model that answers a request to the container's own /invocations."""
    connection = http.client.HTTPConnection("127.0.0.1", site.host.port_of(site.run), timeout=60)
    try:
        body = json.dumps({"model": "nobody", "prompt": _PROMPT, "max_tokens": 2, "temperature": 0.0})
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json", **headers})
        return str(json.loads(connection.getresponse().read()).get("model"))
    finally:
        connection.close()
