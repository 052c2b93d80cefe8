"""The HTTP side: one threaded server that speaks the AWS JSON 1.1 protocol and InvokeEndpoint's REST form."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from rehearsal.sagemaker.engines import Answer
from rehearsal.sagemaker.records import Clock
from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES

from .errors import ServiceError
from .faults import Call, Faults, Replacement

_CREDENTIAL = re.compile(r"Credential=([^/,]+)/[^/]+/([a-z0-9-]+)/")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
_SERVICES = {
    "SageMaker": "sagemaker",
    "AWSPriceListService": "pricing",
    "ServiceQuotasV20190624": "service-quotas",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}


@dataclass(frozen=True)
class Player:
    """Who answers the server's calls.

    Attributes:
        dispatch: answers (service, operation, request, region).
        invoke: answers (endpoint, body, content type, custom attributes, region).
        authorize: raises ServiceError for a call that its caller may not make.
    """

    dispatch: Callable[[str, str, Mapping[str, Any], str], Any]
    invoke: Callable[[str, bytes, str, str, str], Answer]
    faults: Faults
    calls: list[Call]
    clock: Clock
    authorize: Callable[[Call], None]


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"not JSON: {value!r}")


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing; the calls that are recorded are the log."""


def serve(application: Callable[[dict[str, Any], Any], Iterable[bytes]], name: str) -> BaseWSGIServer:
    """Start a server on this machine, in threads of which the first one has this name; the system chooses the port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    # Polled often, so that the end of a test is not delayed.
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True, name=name).start()
    return server


class Server:
    """The stand-in's server. Another stand-in may take it over, at the same address, by setting `player`."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self._server = serve(self._application, "sagemaker")

    @property
    def url(self) -> str:
        """The address for AWS_ENDPOINT_URL_*."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()

    def _application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        player = self.player
        signed = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        access_key, region = (signed[1], signed[2]) if signed else ("", "us-east-1")
        try:
            answer = _answered(player, request, access_key, region)
        except ServiceError as error:
            answer = Response(json.dumps(error.members), error.status, {"x-amzn-ErrorType": error.code})
        answer.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return answer(environ, start_response)


def _answered(player: Player, request: Request, access_key: str, region: str) -> Response:
    invocation = _INVOCATION.fullmatch(request.path)
    body = request.get_data()
    content_type = request.headers.get("Content-Type", "application/octet-stream")
    if invocation:
        endpoint, attributes = unquote(invocation[1]), request.headers.get(CUSTOM_ATTRIBUTES, "")
        members = {"EndpointName": endpoint, "Body": body.decode(errors="replace"), "ContentType": content_type}
        members |= {"CustomAttributes": attributes} if attributes else {}
        call = Call(player.clock(), access_key, "sagemaker-runtime", "InvokeEndpoint", members)
        answer = _performed(player, call, lambda: player.invoke(endpoint, body, content_type, attributes, region))
        if isinstance(answer, Answer):
            return Response(
                answer.body, 200, {"x-Amzn-Invoked-Production-Variant": "primary"}, None, answer.content_type
            )
    else:
        prefix, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        if prefix not in _SERVICES:
            unknown = f"The rehearsal does not play {prefix or request.path}."
            raise ServiceError("UnknownOperationException", unknown)
        service, members = _SERVICES[prefix], json.loads(body or b"{}")
        call = Call(player.clock(), access_key, service, operation, members)
        answer = _performed(player, call, lambda: player.dispatch(service, operation, members, region))
    if isinstance(answer, Replacement):
        answer = answer.answer
    if not isinstance(answer, bytes):
        answer = b"" if answer is None else json.dumps(answer, default=_jsonable).encode()
    return Response(answer, content_type="application/x-amz-json-1.1")


def _performed(player: Player, call: Call, operation: Callable[[], Any]) -> Any:
    """Perform a call and note in the log how it ended."""
    player.calls.append(call)
    try:
        player.authorize(call)
        answer = player.faults.perform(call, operation)
    except ServiceError as error:
        call.status, call.error, call.message = error.status, error.code, error.message
        raise
    except Exception as error:  # a fault of the stand-in itself must be seen, not hang the caller
        call.status, call.error, call.message = 500, "InternalFailure", f"the stand-in failed: {error!r}"
        raise ServiceError("InternalFailure", call.message) from error
    call.status = 200
    return answer
