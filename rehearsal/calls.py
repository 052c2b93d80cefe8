"""AWS calls as the rehearsal records them, errors as AWS sends them, and the faults that a test puts on calls."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Response

# The HTTP status of an error where none is given; any other code has 400.
_STATUSES: Mapping[str, int] = {
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ModelError": 424,
}


class ServiceError(Exception):
    """An answer that is an error, by AWS's code, such as "ValidationException".

    The text is the code when left out, and the HTTP status the usual one of the code; `extra` are further members of the error's body
    (ModelError has OriginalStatusCode).
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        status: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.code, self.message = code, message or code
        self.status = status or _STATUSES.get(code, 400)
        self.extra = dict(extra or {})
        super().__init__(f"{self.code}: {self.message}")

    @property
    def members(self) -> dict[str, object]:
        """The members of the error's body, where a service answers in JSON."""
        return {"__type": self.code, "message": self.message, "Message": self.message, **self.extra}


def invalid(message: str) -> ServiceError:
    """Return the ValidationException that SageMaker uses for nearly every refusal."""
    return ServiceError("ValidationException", message)


def json_answer(content: Mapping[str, Any] | None) -> Response:
    """A service's answer in JSON, with moments as seconds; empty for None."""
    text = "" if content is None else json.dumps(content, default=lambda moment: round(moment.timestamp(), 3))
    return Response(text, content_type="application/x-amz-json-1.1")


@dataclass
class Call:
    """One request to AWS. `status`, `error` and `message` are filled in when it is answered."""

    time: datetime
    access_key: str
    service: str
    operation: str
    request: Mapping[str, Any]
    status: int | None = None
    error: str | None = None
    message: str | None = None


@dataclass(kw_only=True)
class Fault:
    """What happens to the calls of one operation ("*" for every one): an error, or a malformed answer, bytes as they are and else as JSON.

    It meets the next `times` calls (None for all), of one access key id only where `by` names it, and only those of which `when` is true.
    `before` is called before the operation, which is held until `release()` where it is to `hang`; `after` performs the operation
    and loses its answer, so that the caller cannot know that it worked.
    """

    operation: str
    error: str | None = None
    message: str | None = None
    status: int | None = None
    answer: Any = None
    times: int | None = 1
    after: bool = False
    hang: bool = False
    when: Callable[[Mapping[str, Any]], bool] = lambda request: True
    before: Callable[[Call], None] = lambda call: None
    by: str | None = None
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let the calls that hang here go on."""
        self._released.set()

    @property
    def ends_the_call(self) -> bool:
        """Whether the caller gets something else than the operation's own answer."""
        return self.error is not None or self.answer is not None

    def claims(self, call: Call) -> bool:
        """Count the call if the fault is for it."""
        named = self.operation in (call.operation, "*") and self.by in (call.access_key, None)
        if not named or self.hits == self.times or not self.when(call.request):
            return False
        self.hits += 1
        return True

    def come_before(self, call: Call) -> None:
        """Do what is to happen before the operation."""
        self.reached.set()
        self.before(call)
        if self.hang:
            self._released.wait()


class Faults:
    """The faults in force. Thread-safe; a call meets them in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, **attributes: Any) -> Fault:
        """Add a fault and return it. The arguments are the attributes of `Fault`."""
        fault = Fault(**attributes)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault and let go what hangs."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    def _claim(self, call: Call) -> list[Fault]:
        claimed: list[Fault] = []
        with self._lock:
            for fault in self._faults:
                if fault.claims(call):
                    claimed.append(fault)
                    if fault.ends_the_call:
                        break
        return claimed

    def perform(self, call: Call, operation: Callable[[], Response]) -> Response:
        """Run `operation` as the faults in force allow and return what the caller gets. Raises ServiceError, of a fault or of the operation."""
        claimed = self._claim(call)
        for fault in claimed:
            fault.come_before(call)
        if not claimed or not claimed[-1].ends_the_call:
            return operation()
        ending = claimed[-1]
        if ending.after:
            operation()
        if ending.error is not None:
            raise ServiceError(ending.error, ending.message, ending.status)
        content = ending.answer if isinstance(ending.answer, bytes) else json.dumps(ending.answer)
        return Response(content, content_type="application/json")
