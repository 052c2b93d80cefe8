"""The HTTP server that every AWS call of a rehearsal reaches.

It records each call, refuses what its role may not do, lets the faults in force act on it, and passes it on: to the SageMaker
stand-in for the services that this plays, to moto for all others.
"""

import io
import json
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from moto.core.request import Request
from moto.core.routing import NotFound, get_service_router
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from rehearsal.calls import Call, Faults, ServiceError
from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES

from .rights import Rights

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
_SERVICE_OF_SIGNING_NAME = {"states": "stepfunctions", "servicequotas": "service-quotas"}
_REST = ("s3", "lambda", "scheduler")
# moto is not atomic between threads where AWS is: a transaction copies the table and puts the copy back, and an object
# that is replaced while it is written is lost.
_ONE_AT_A_TIME = {"dynamodb", "scheduler", "sns"}
_OPERATIONS_ONE_AT_A_TIME = {"PutObject"}
_READS = {"GetObject", "HeadObject"}

# Answers a call, given its region and its body as it came.
Player = Callable[[Call, str, bytes], Response]


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Print nothing; the calls that are recorded are the log."""


@cache
def moto() -> DomainDispatcherApplication:
    """moto's application. It builds a table of routes for each service at its first call, so one serves the whole process."""
    return DomainDispatcherApplication(create_backend_app)


class Gateway:
    """A running server. `stop` ends it.

    Without `rights` everybody may do everything. `players` answer the calls of a service, or of one operation ("lambda:Invoke"), instead of moto,
    and `on_done` is called with each call that moto has done, whatever its caller hears.
    """

    def __init__(self, clock: Callable[[], datetime], rights: Rights | None = None) -> None:
        self.clock, self._rights = clock, rights
        self.faults, self.players = Faults(), dict[str, Player]()
        self.on_done: Callable[[Call], None] = lambda call: None
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # Polled often, so that the end of a test is not delayed.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="gateway").start()

    def stop(self) -> None:
        """End the server and let go the calls that a fault holds."""
        self.faults.clear()
        self._server.shutdown()
        self._server.server_close()

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
        """Answer one request."""
        request = Request(environ)
        signed = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        if signed is None:  # not an AWS call
            return Response.from_app(moto(), environ)(environ, start_response)
        access_key, region, signing_name = signed.groups()
        service = _SERVICE_OF_SIGNING_NAME.get(signing_name, signing_name)
        body = request.get_data()
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        call = Call(self.clock(), access_key, *_operation_of(request, service, body))
        with self._lock:
            self._calls.append(call)
        try:
            if self._rights is not None:
                self._rights.authorize(call)
            answer = self.faults.perform(call, lambda: self._forward(call, region, body, environ))
        except ServiceError as error:
            answer = _refusal(service, error)
        call.status = answer.status_code
        if call.status >= 400:
            call.error, call.message = _error_in(answer)
        return answer(environ, start_response)

    def _forward(self, call: Call, region: str, body: bytes, environ: dict[str, Any]) -> Response:
        player = self.players.get(f"{call.service}:{call.operation}") or self.players.get(call.service)
        if player is not None:
            try:
                return player(call, region, body)
            except ServiceError:
                raise
            except Exception as error:  # a fault of the simulation itself must be seen, not hang the caller
                raise ServiceError("InternalFailure", f"bug in the rehearsal: {error!r}") from error
        turn: AbstractContextManager[Any] = nullcontext()
        if call.service in _ONE_AT_A_TIME or call.operation in _OPERATIONS_ONE_AT_A_TIME:
            turn = self._turns[call.service]
        with turn:
            answer = Response.from_app(moto(), environ, buffered=True)
        missing = call.service == "s3" and call.operation in _READS and answer.status_code == 404
        if missing and self._rights is not None and self._rights.hide(call):
            raise ServiceError("AccessDenied", "Access Denied", 403)
        if answer.status_code < 300:
            self.on_done(call)
        return answer


def _operation_of(request: Request, service: str, body: bytes) -> tuple[str, str, dict[str, Any]]:
    """The service and operation that a request asks for and its parameters, as far as they are easily read."""
    if target := request.headers.get("X-Amz-Target"):
        return service, target.rpartition(".")[2], _json(body)
    if invocation := _INVOCATION.fullmatch(request.path):
        members = {"EndpointName": unquote(invocation[1]), "Body": body.decode(errors="replace")}
        members["ContentType"] = request.headers.get("Content-Type", "application/octet-stream")
        attributes = request.headers.get(CUSTOM_ATTRIBUTES)
        return "sagemaker-runtime", "InvokeEndpoint", members | ({"CustomAttributes": attributes} if attributes else {})
    if service in _REST:
        try:
            operation, named = get_service_router(service).match(request)
        except NotFound:
            return service, f"{request.method} {request.path}", {}
        content = _json(body) if service != "s3" else {}
        return service, operation.name, {"path": request.path, **request.args.to_dict(), **named, **content}
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    return service, form.get("Action", "?"), form


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


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
    text, content = answer.get_data(as_text=True), _json(answer.get_data())
    found = re.search(r"<Code>([^<]*)</Code>", text)
    code = answer.headers.get("x-amzn-errortype") or str(content.get("__type", "")) or (found[1] if found else "")
    message = str(content.get("message") or content.get("Message") or "")
    return code.rpartition("#")[2].split(":")[0] or "?", message or text[:500]
