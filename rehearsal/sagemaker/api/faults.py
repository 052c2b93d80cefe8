"""Faults on demand, and a record of every call: the levers of the failure matrix."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .errors import ConnectionDropped, ServiceError


@dataclass
class Call:
    """One request that reached the stand-in. `error` and `status` are filled in when it is answered."""

    time: datetime
    access_key: str
    service: str
    operation: str
    request: Mapping[str, Any]
    status: int | None = None
    error: str | None = None
    message: str | None = None


@dataclass
class Fault:
    """What happens to the calls of one operation. Made by `Faults.add`; `hits` counts its uses."""

    operation: str
    error: str | None
    message: str | None
    status: int | None
    answer: Any
    times: int | None
    skip: int
    after: bool
    drop: bool
    when: Callable[[Mapping[str, Any]], bool] | None
    before: Callable[[Call], None] | None
    hold: threading.Event | None
    by: str | None = None
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let the calls that hang here go on."""
        if self.hold is not None:
            self.hold.set()

    @property
    def ends_the_call(self) -> bool:
        """Whether the caller gets something else than the operation's own answer."""
        return self.error is not None or self.answer is not None or self.drop


@dataclass(frozen=True)
class Replacement:
    """An answer that takes the place of the real one; bytes go out as they are, anything else as JSON."""

    answer: Any


class Faults:
    """The faults in force. Thread-safe; a call meets them in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        *,
        operation: str,
        error: str | None = None,
        message: str | None = None,
        status: int | None = None,
        answer: Any = None,
        times: int | None = 1,
        skip: int = 0,
        after: bool = False,
        drop: bool = False,
        hang: bool = False,
        when: Callable[[Mapping[str, Any]], bool] | None = None,
        before: Callable[[Call], None] | None = None,
        by: str | None = None,
    ) -> Fault:
        """Add a fault and return it.

        Args:
            operation: the operation's name, for example "CreateEndpoint"; "*" for every one.
            error, message, status: the error to answer with.
            answer: a malformed answer instead: bytes as they are, anything else as JSON.
            times: how many calls it meets; None for all.
            skip: how many calls pass untouched first.
            after: perform the operation and lose its answer (the caller cannot know that it worked).
            drop: close the connection without an answer.
            hang: hold the call until `release()`.
            when: only for requests of which this is true.
            before: called before the operation, for example to abort the execution just then.
            by: only for calls of this access key id, which is the name of a role.
        """
        fault = Fault(
            operation,
            error,
            message,
            status,
            answer,
            times,
            skip,
            after,
            drop,
            when,
            before,
            threading.Event() if hang else None,
            by,
        )
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
                if fault.operation not in (call.operation, "*") or fault.by not in (call.access_key, None):
                    continue
                if fault.times is not None and fault.hits >= fault.times:
                    continue
                if fault.when is not None and not fault.when(call.request):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.hits += 1
                claimed.append(fault)
                if fault.ends_the_call:
                    break
        return claimed

    def perform(self, call: Call, operation: Callable[[], Any]) -> Any:
        """Run `operation` as the faults in force allow and return its answer or a `Replacement`.

        Raises:
            ServiceError: the error of a fault, or the operation's own.
            ConnectionDropped: a fault drops the connection.
        """
        ending: Fault | None = None
        for fault in self._claim(call):
            fault.reached.set()
            if fault.before is not None:
                fault.before(call)
            if fault.hold is not None:
                fault.hold.wait()
            if fault.ends_the_call:
                ending = fault
        if ending is None:
            return operation()
        if ending.after:
            operation()
        if ending.drop:
            raise ConnectionDropped
        if ending.error is not None:
            raise ServiceError(ending.error, ending.message, ending.status)
        return Replacement(ending.answer)
