"""Which model answers a request: the contract of vLLM's server behind InvokeEndpoint.

Read in vllm/entrypoints/serve/sagemaker/api_router.py (0.30.0 and 0.32.0), in model-hosting-container-standards (0.1.14 and
0.1.16) and in the routing middleware of AWS's images (aws/deep-learning-containers, e0ecede), and held against a running
vLLM by verification/conformance/serving.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # the header that carries InvokeEndpoint's CustomAttributes
INVOCATIONS, COMPLETIONS = "/invocations", "/v1/completions"
CHAT_COMPLETIONS = "/v1/chat/completions"
_ROUTE = re.compile(r"route=(/[^\s,]+)")


def path_of(path: str, custom_attributes: str) -> str:
    """Return the path that answers a request to `path`: /invocations follows a `route=` in the custom attributes."""
    route = _ROUTE.search(custom_attributes)
    return route[1] if path == INVOCATIONS and route else path


def model_asked(path: str, request: Mapping[str, Any], base: str) -> Any:
    """Return the model that a request asks for, by the path that answers it (see `path_of`).

    /invocations overwrites the body's `model` with a header that InvokeEndpoint cannot send, so that the base model answers
    whatever the body says. On /v1/completions and /v1/chat/completions the body's `model` counts, and none means the base model.
    """
    asked = None if path == INVOCATIONS else request.get("model")
    return base if asked in (None, "") else asked
