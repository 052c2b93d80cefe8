"""The HTTP side: one threaded server that speaks the AWS JSON 1.1 protocol and InvokeEndpoint's REST form."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from rehearsal.sagemaker.clock import Clock
from rehearsal.sagemaker.engines import Answer
from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES

from .errors import ConnectionDropped, ServiceError
from .faults import Call, Faults, Replacement

_CREDENTIAL = re.compile(r"Credential=([^/,]+)/[^/]+/([a-z0-9-]+)/")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
_SERVICES = {
    "SageMaker": "sagemaker",
    "AWSPriceListService": "pricing",
    "ServiceQuotasV20190624": "service-quotas",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}
LARGEST_BODY = 25 * 1024 * 1024  # InvokeEndpoint's limit

Authorize = Callable[[Call], None]
Dispatch = Callable[[str, str, Mapping[str, Any], str], Any]
Invoke = Callable[[str, bytes, str, str, str], Answer]


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"not JSON: {value!r}")


class Server(ThreadingHTTPServer):
    """The stand-in's server.

    Args:
        dispatch: answers (service, operation, request, region).
        invoke: answers (endpoint, body, content type, custom attributes, region).
        authorize: raises ServiceError for a call that its caller may not make.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, dispatch: Dispatch, invoke: Invoke, faults: Faults, calls: list[Call], clock: Clock, authorize: Authorize
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.play(dispatch, invoke, faults, calls, clock, authorize)

    def play(
        self, dispatch: Dispatch, invoke: Invoke, faults: Faults, calls: list[Call], clock: Clock, authorize: Authorize
    ) -> None:
        """Let another stand-in answer from now on, at the same address."""
        self.dispatch, self.invoke, self.faults = dispatch, invoke, faults
        self.calls, self.clock, self.authorize = calls, clock, authorize

    @property
    def url(self) -> str:
        """The address for AWS_ENDPOINT_URL_*."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet when a client goes away, which aborted executions do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is two writes; with Nagle's algorithm each call waits 40 ms
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; `StandIn.calls` is the log."""

    def _send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_error(self, error: ServiceError, content_type: str) -> None:
        members = {"__type": error.code, "message": error.message, "Message": error.message} | error.extra
        self._send(error.status, json.dumps(members).encode(), content_type, {"x-amzn-ErrorType": error.code})

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        """Answer any operation of any of the services."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > LARGEST_BODY:
            self.close_connection = True
            self._send_error(ServiceError("ValidationError", "The request is too large.", 413), "application/json")
            return
        body = self.rfile.read(size)
        found = _CREDENTIAL.search(self.headers.get("Authorization") or "")
        access_key, region = (found[1], found[2]) if found else ("", "us-east-1")
        invocation = _INVOCATION.fullmatch(self.path.split("?")[0])
        if invocation:
            self._invocation(unquote(invocation[1]), body, access_key, region)
        else:
            self._operation(body, access_key, region)

    def _settled(self, call: Call, operation: Callable[[], Any]) -> Any:
        """Perform a call and note in the log how it ended."""
        try:
            self.server.authorize(call)
            answer = self.server.faults.perform(call, operation)
        except ServiceError as error:
            call.status, call.error, call.message = error.status, error.code, error.message
            raise
        except ConnectionDropped:
            call.error = "ConnectionDropped"
            raise
        call.status = 200
        return answer

    def _operation(self, body: bytes, access_key: str, region: str) -> None:
        content_type = "application/x-amz-json-1.1"
        prefix, _, name = (self.headers.get("X-Amz-Target") or "").partition(".")
        try:
            if prefix not in _SERVICES:
                raise ServiceError("UnknownOperationException", f"The rehearsal does not play {prefix or self.path}.")
            try:
                request = json.loads(body or b"{}")
            except ValueError:
                raise ServiceError("SerializationException", "The request is not JSON.") from None
            service = _SERVICES[prefix]
            call = Call(self.server.clock(), access_key, service, name, request)
            self.server.calls.append(call)
            answer = self._settled(call, lambda: self.server.dispatch(service, name, request, region))
        except ServiceError as error:
            self._send_error(error, content_type)
        except ConnectionDropped:
            self._drop()
        except Exception as error:  # a fault of the stand-in itself must be seen, not hang the caller
            self._send_error(ServiceError("InternalFailure", f"the stand-in failed: {error!r}"), content_type)
        else:
            if isinstance(answer, Replacement):
                answer = answer.answer
            whole = answer if isinstance(answer, bytes) else b""
            if answer is not None and not isinstance(answer, bytes):
                whole = json.dumps(answer, default=_jsonable).encode()
            self._send(200, whole, content_type)

    def _invocation(self, endpoint: str, body: bytes, access_key: str, region: str) -> None:
        content_type = self.headers.get("Content-Type") or "application/octet-stream"
        request = {
            "EndpointName": endpoint,
            "Body": body.decode(errors="replace"),
            "ContentType": content_type,
        }
        custom_attributes = self.headers.get(CUSTOM_ATTRIBUTES) or ""
        if custom_attributes:
            request["CustomAttributes"] = custom_attributes
        call = Call(self.server.clock(), access_key, "sagemaker-runtime", "InvokeEndpoint", request)
        self.server.calls.append(call)
        try:
            answer = self._settled(
                call, lambda: self.server.invoke(endpoint, body, content_type, custom_attributes, region)
            )
        except ServiceError as error:
            self._send_error(error, "application/json")
        except ConnectionDropped:
            self._drop()
        except Exception as error:
            self._send_error(ServiceError("InternalFailure", f"the stand-in failed: {error!r}"), "application/json")
        else:
            if isinstance(answer, Replacement):
                whole = answer.answer if isinstance(answer.answer, bytes) else json.dumps(answer.answer).encode()
                answer = Answer(200, whole)
            variant = {"x-Amzn-Invoked-Production-Variant": "primary"}
            self._send(200, answer.body, answer.content_type, variant)
