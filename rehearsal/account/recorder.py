"""A record of every AWS call that reaches moto, with the role that made it; and faults on those calls.

The access key id of every client in the rehearsal is the name of the role that it acts as, so that a call tells who
made it.
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import botocore.session

from rehearsal.sagemaker.api.errors import ConnectionDropped, ServiceError
from rehearsal.sagemaker.api.faults import Call, Faults, Replacement

_SCOPE = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request")
_API_OF_SIGNING_NAME = {"states": "stepfunctions", "monitoring": "cloudwatch"}
_REST = ("s3", "lambda", "scheduler")
# moto is not atomic between threads where AWS is: a transaction copies the table and puts the copy back, and an object
# that is replaced while it is written is lost.
_ONE_AT_A_TIME = {"dynamodb", "scheduler", "sns"}
_OPERATIONS_ONE_AT_A_TIME = {"PutObject"}
_READS = {"GetObject", "HeadObject"}

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@cache
def _routes(api: str) -> list[tuple[str, re.Pattern[str], frozenset[str], str]]:
    routes = []
    model = botocore.session.get_session().get_service_model(api)
    for name in model.operation_names:
        operation = model.operation_model(name)
        http, shape = operation.http, operation.input_shape
        path, _, query = str(http["requestUri"]).partition("?")
        pattern = re.escape(path)
        pattern = re.sub(r"\\{\w+\\\+\\}", "(.+)", pattern)  # {Key+} may hold slashes
        pattern = re.sub(r"\\{\w+\\}", "([^/]+)", pattern)
        keys = {key for key, _ in parse_qsl(query, keep_blank_values=True)}
        members = [shape.members[member] for member in shape.required_members] if shape else []
        keys |= {one.serialization["name"] for one in members if one.serialization.get("location") == "querystring"}
        routes.append((str(http["method"]), re.compile(pattern + "/?$"), frozenset(keys), str(name)))
    # An operation told by a query key before one without; a longer path before a shorter.
    return sorted(routes, key=lambda route: (-len(route[2]), -len(route[1].pattern)))


def operation_of(environ: Mapping[str, Any], service: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the operation that a request asks for and its parameters, as far as they are easily read."""
    target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
    if target:
        return target.rpartition(".")[2], _json(body)
    if service in _REST:
        path, query = unquote(str(environ.get("PATH_INFO", ""))), str(environ.get("QUERY_STRING", ""))
        keys = dict(parse_qsl(query, keep_blank_values=True))
        copies = "HTTP_X_AMZ_COPY_SOURCE" in environ  # the only difference between putting and copying
        for method, pattern, needed, name in _routes(service):
            if service == "s3" and ("Copy" in name) != copies and method == "PUT":
                continue
            if method == environ.get("REQUEST_METHOD") and needed <= keys.keys() and pattern.match(path):
                parameters: dict[str, Any] = {"path": path, **keys}
                return name, parameters | (_json(body) if service != "s3" else {})
        return f"{environ.get('REQUEST_METHOD')} {path}", {}
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    return form.get("Action", "?"), form


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Recorder:
    """A WSGI application around moto's: it records each call and lets the faults in force act on it."""

    def __init__(self, application: Application, clock: Callable[[], Any]) -> None:
        self.application = application
        self.clock = clock
        self.faults = Faults()
        self.on_answer: Callable[[Call], None] = lambda call: None
        self.authorize: Callable[[Call], None] = lambda call: (
            None
        )  # raises ServiceError for a call that its role may not make
        self.hides: Callable[[Call], bool] = lambda call: (
            False
        )  # whether S3 must not tell the caller that an object is missing
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in the order in which they came."""
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        """Forget calls and faults."""
        self.faults.clear()
        with self._lock:
            self._calls.clear()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match = _SCOPE.search(str(environ.get("HTTP_AUTHORIZATION", "")))
        if match is None:  # not an AWS call
            return self.application(environ, start_response)
        role, signing_name = match.groups()
        service = _API_OF_SIGNING_NAME.get(signing_name, signing_name)
        body = _read(environ)
        operation, parameters = operation_of(environ, service, body)
        call = Call(self.clock(), role, service, operation, parameters)
        with self._lock:
            self._calls.append(call)

        def forward() -> tuple[str, list[tuple[str, str]], bytes]:
            turn: AbstractContextManager[Any] = nullcontext()
            if service in _ONE_AT_A_TIME or operation in _OPERATIONS_ONE_AT_A_TIME:
                turn = self._turns[service]
            with turn:
                answer = _ask(self.application, environ, body)
            if service == "s3" and operation in _READS and answer[0].startswith("404") and self.hides(call):
                raise ServiceError("AccessDenied", "Access Denied", 403)
            return answer

        try:
            self.authorize(call)
            answer = self.faults.perform(call, forward)
        except ServiceError as error:
            answer = _error_answer(service, error)
        except ConnectionDropped:
            call.error = "ConnectionDropped"
            raise ConnectionAbortedError from None  # the server closes the connection without an answer
        if isinstance(answer, Replacement):
            payload = answer.answer if isinstance(answer.answer, bytes) else json.dumps(answer.answer).encode()
            answer = ("200 OK", [("Content-Type", "application/json")], payload)
        status, headers, payload = answer
        call.status = int(status.split()[0])
        if call.status >= 400:
            call.error, call.message = _error_code(headers, payload)
        start_response(status, headers)
        self.on_answer(call)
        return [payload]


def _read(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # chunked: botocore's uploads may come without a length
        return bytes(stream.read())
    return bytes(stream.read(int(environ.get("CONTENT_LENGTH") or 0)))


def _ask(application: Application, environ: dict[str, Any], body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    answer: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        answer[:] = [status, headers]
        return lambda data: None

    chunks: Iterator[bytes] | Iterable[bytes] = application(environ, start_response)
    try:
        payload = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return answer[0], answer[1], payload


def _error_answer(service: str, error: ServiceError) -> tuple[str, list[tuple[str, str]], bytes]:
    status = f"{error.status} {'Bad Request' if error.status < 500 else 'Internal Server Error'}"
    request_id = [("x-amzn-requestid", str(uuid4())), ("x-amz-request-id", "FAULT")]
    if service in ("s3", "sns", "iam", "sts", "cloudformation"):
        head = f"<Code>{error.code}</Code><Message>{error.message}</Message>"
        xml = f"<Error>{head}</Error>" if service == "s3" else f"<ErrorResponse><Error>{head}</Error></ErrorResponse>"
        return status, [("Content-Type", "text/xml"), *request_id], xml.encode()
    headers = [("Content-Type", "application/json"), ("x-amzn-errortype", error.code), *request_id]
    content = {"__type": error.code, "message": error.message, "Message": error.message}
    return status, headers, json.dumps(content | error.extra).encode()


def _error_code(headers: list[tuple[str, str]], payload: bytes) -> tuple[str, str]:
    text = payload.decode("utf-8", "replace")
    given = next((value for key, value in headers if key.lower() == "x-amzn-errortype"), "")
    content = _json(payload)
    found = re.search(r"<Code>([^<]*)</Code>", text)
    code = given or str(content.get("__type", "")) or (found.group(1) if found else "")
    message = str(content.get("message") or content.get("Message") or "")
    return code.rpartition("#")[2].split(":")[0] or "?", message or text[:500]
