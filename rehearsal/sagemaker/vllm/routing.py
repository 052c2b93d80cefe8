"""Which model answers a request: the contract of vLLM's server behind InvokeEndpoint.

Read in vllm/entrypoints/serve/sagemaker/api_router.py (0.30.0 and 0.32.0), in model-hosting-container-standards (0.1.14 and
0.1.16) and in the routing middleware of AWS's images (aws/deep-learning-containers, e0ecede), and compared with a running
vLLM by verification/conformance/serving. This module is also loaded by vLLM's own process, where nothing else of the rehearsal can be
imported.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # the header that carries InvokeEndpoint's CustomAttributes
INVOCATIONS, COMPLETIONS = "/invocations", "/v1/completions"
CHAT_COMPLETIONS = "/v1/chat/completions"
_ROUTE = re.compile(r"route=(/[^\s,]+)")
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


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


class RouteMiddleware:
    """An ASGI application around vLLM's, with what AWS's images add: a request to /invocations goes where it is routed."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on, to the path that its custom attributes name."""
        if scope["type"] == "http":
            headers = {name.lower(): value for name, value in scope["headers"]}
            attributes = headers.get(CUSTOM_ATTRIBUTES.lower().encode(), b"").decode("latin-1")
            path = path_of(scope["path"], attributes)
            scope = {**scope, "path": path, "raw_path": path.encode()} if path != scope["path"] else scope
        await self._app(scope, receive, send)
