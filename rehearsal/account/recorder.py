"""A record of every AWS call that reaches moto, with the role that made it; and faults on those calls.

The access key id of every client in the rehearsal is the name of the role that it acts as, so that a call shows who
made it.
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from moto.core.request import Request
from moto.core.routing import NotFound, get_service_router
from werkzeug.wrappers import Response

from rehearsal.sagemaker.api.errors import ServiceError
from rehearsal.sagemaker.api.faults import Call, Faults, Replacement

from .rights import Rights

_SCOPE = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request")
_API_OF_SIGNING_NAME = {"states": "stepfunctions"}
_REST = ("s3", "lambda", "scheduler")
# moto is not atomic between threads where AWS is: a transaction copies the table and puts the copy back, and an object
# that is replaced while it is written is lost.
_ONE_AT_A_TIME = {"dynamodb", "scheduler", "sns"}
_OPERATIONS_ONE_AT_A_TIME = {"PutObject"}
_READS = {"GetObject", "HeadObject"}

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def operation_of(request: Request, service: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the operation that a request asks for and its parameters, as far as they are easily read."""
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2], _json(body)
    if service in _REST:
        try:
            operation, named = get_service_router(service).match(request)
        except NotFound:
            return f"{request.method} {request.path}", {}
        content = _json(body) if service != "s3" else {}
        return operation.name, {"path": request.path, **request.args.to_dict(), **named, **content}
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

    def __init__(self, application: Application, clock: Callable[[], Any], rights: Rights) -> None:
        self.application, self.clock, self.rights = application, clock, rights
        self.faults = Faults()
        self.on_done: Callable[[Call], None] = lambda call: None  # a call that moto has done, whatever its caller hears
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
        request = Request(environ)
        match = _SCOPE.search(request.headers.get("Authorization", ""))
        if match is None:  # not an AWS call
            return self.application(environ, start_response)
        role, signing_name = match.groups()
        service = _API_OF_SIGNING_NAME.get(signing_name, signing_name)
        body = request.get_data()
        call = Call(self.clock(), role, service, *operation_of(request, service, body))
        with self._lock:
            self._calls.append(call)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        answer: Response | Replacement
        try:
            self.rights.authorize(call)
            answer = self.faults.perform(call, lambda: self._forward(call, environ))
        except ServiceError as error:
            answer = _refusal(service, error)
        if isinstance(answer, Replacement):
            content = answer.answer if isinstance(answer.answer, bytes) else json.dumps(answer.answer)
            answer = Response(content, 200, content_type="application/json")
        call.status = answer.status_code
        if call.status >= 400:
            call.error, call.message = _error_in(answer)
        return answer(environ, start_response)

    def _forward(self, call: Call, environ: dict[str, Any]) -> Response:
        turn: AbstractContextManager[Any] = nullcontext()
        if call.service in _ONE_AT_A_TIME or call.operation in _OPERATIONS_ONE_AT_A_TIME:
            turn = self._turns[call.service]
        with turn:
            answer = Response.from_app(self.application, environ, buffered=True)
        if call.service == "s3" and call.operation in _READS and answer.status_code == 404 and self.rights.hide(call):
            raise ServiceError("AccessDenied", "Access Denied", 403)
        if answer.status_code < 300:
            self.on_done(call)
        return answer


def _refusal(service: str, error: ServiceError) -> Response:
    """An error in the form in which the service writes it."""
    headers = {"x-amzn-requestid": str(uuid4()), "x-amz-request-id": "FAULT"}
    if service in ("s3", "sns", "iam", "sts", "cloudformation"):
        content = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
        if service != "s3":
            content = f"<ErrorResponse>{content}</ErrorResponse>"
        return Response(content, error.status, headers, content_type="text/xml")
    headers["x-amzn-errortype"] = error.code
    return Response(json.dumps(error.members), error.status, headers, content_type="application/json")


def _error_in(answer: Response) -> tuple[str, str]:
    """The code and the message of an error that a service answered."""
    text, content = answer.get_data(as_text=True), _json(answer.get_data())
    found = re.search(r"<Code>([^<]*)</Code>", text)
    code = answer.headers.get("x-amzn-errortype") or str(content.get("__type", "")) or (found[1] if found else "")
    message = str(content.get("message") or content.get("Message") or "")
    return code.rpartition("#")[2].split(":")[0] or "?", message or text[:500]
