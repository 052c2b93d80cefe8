"""What AWS's vLLM images add to the server: a request to /invocations goes where its custom attributes route it.

Runs inside vLLM's own process, where nothing of the rehearsal but this module and `routing` can be imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .routing import CUSTOM_ATTRIBUTES, path_of

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class RouteMiddleware:
    """An ASGI application around vLLM's."""

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
