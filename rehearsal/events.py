"""The rehearsal's clock, and what AWS delivers by itself: Step Functions' events by EventBridge rules, due schedules, SNS to Lambda.

Rules, targets, transformers and schedules are those that the deployed template and the running code made; nothing of
them is known here.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jmespath
from moto.events.models import events_backends
from moto.scheduler.models import scheduler_backends

from rehearsal.account.clients import ACCOUNT

_ATTEMPTS = 3  # AWS tries for 24 hours; a rehearsal need not
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


class Clock:
    """A callable that returns the present moment in UTC. Only moves forward. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = timedelta(0)
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> datetime:
        with self._lock:
            return datetime.now(UTC) + self._ahead

    def begin_again(self) -> None:
        """Return to real time, for an account that is empty again."""
        with self._lock:
            self._ahead = timedelta(0)

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each move, so that waiting threads look again."""
        self._listeners.append(listener)

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Move forward. Raises ValueError for a negative step."""
        step = timedelta(seconds=seconds, minutes=minutes, hours=hours)
        if step < timedelta(0):
            raise ValueError(f"a clock does not go back, got {step}")
        with self._lock:
            self._ahead += step
        for listener in list(self._listeners):
            listener()


@dataclass
class Delivery:
    """One event on its way to one target."""

    source: str  # "rule", "schedule" or "topic"
    name: str  # of the rule, the schedule or the topic
    target: str  # ARN
    role: str  # ARN of the role that delivers, empty where none is needed
    event: Any
    error: str | None = None


def moment_of(schedule: Any) -> datetime | None:
    """When a one-time schedule falls due; None for any other. The project's are in UTC."""
    found = _AT.fullmatch(schedule.schedule_expression)
    if found is None:
        return None
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


def shaped(target: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """What a rule's target receives of an event: its Input, what its InputTransformer makes, or the event.

    A placeholder stands for a whole JSON value, as in what the CDK writes; inside a string it is not replaced.
    """
    if "Input" in target:
        return json.loads(target["Input"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return dict(event)
    paths = transformer["InputPathsMap"].items()
    values = {name: jmespath.search(path.removeprefix("$."), event) for name, path in paths}
    return json.loads(
        re.sub(r"<([^<>]+)>", lambda found: json.dumps(values.get(found[1])), transformer["InputTemplate"])
    )


def status_change(execution: Any) -> dict[str, Any]:
    """Return the event that Step Functions publishes when an execution starts or ends, as far as a rule may read it."""

    def milliseconds(moment: datetime | None) -> int | None:
        return int(moment.timestamp() * 1000) if moment else None

    succeeded = execution.status == "SUCCEEDED"

    return {
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {
            "executionArn": execution.arn,
            "stateMachineArn": execution.machine,
            "name": execution.name,
            "status": execution.status,
            "startDate": milliseconds(execution.start),
            "stopDate": milliseconds(execution.stop),
            "input": json.dumps(execution.input),
            "output": json.dumps(execution.output) if succeeded else None,
            "error": execution.error or None,
            "cause": execution.cause or None,
        },
    }


def sns_event(topic_arn: str, subject: str | None, message: str) -> dict[str, Any]:
    """Return the event with which SNS invokes a Lambda function."""
    record = {"Type": "Notification", "TopicArn": topic_arn, "Subject": subject, "Message": message}
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": record}]}


class Events:
    """Deliveries of one account, by clients that act as a role (service, ARN). `changed` is called after each of them.

    `times` is how often the next events of rules come, in their order: EventBridge may lose one or deliver it twice. All others come once.
    """

    def __init__(
        self,
        region: str,
        clock: Clock,
        time_scale: float,
        client_for: Callable[[str, str], Any],
        changed: Callable[[], None],
    ) -> None:
        self._region, self._clock, self._time_scale = region, clock, time_scale
        self._client_for, self._changed = client_for, changed
        self.deliveries: list[Delivery] = []
        self.times: list[int] = []
        self._wake = threading.Condition()
        self._queue: list[Delivery] = []
        self._busy = 0
        self._fired: set[tuple[str, str]] = set()
        self._stopped = self._muted = False
        self.version = 0  # grows with every delivery that is planned or done
        self._clock.on_advance(self.look_again)
        threading.Thread(target=self._run, daemon=True, name="events").start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        with self._wake:
            return not self._queue and not self._busy and not self._due()

    # sources -------------------------------------------------------------------------------------------------------

    def _rules(self, *, timed: bool) -> list[Any]:
        buses = events_backends[ACCOUNT][self._region].event_buses.values()
        rules = [rule for bus in buses for rule in bus.rules.values()]
        return [rule for rule in rules if rule.state != "DISABLED" and bool(rule.scheduled_expression) == timed]

    def publish(self, event: Mapping[str, Any]) -> None:
        """Match an event of the default bus with every rule and send it to the targets."""
        for rule in self._rules(timed=False):
            if rule.event_pattern.matches_event(event):
                self._send_by_rule(rule, event)

    def _send_by_rule(self, rule: Any, event: Mapping[str, Any]) -> None:
        for target in rule.targets:
            delivery = Delivery("rule", rule.name, target["Arn"], target.get("RoleArn", ""), shaped(target, event))
            with self._wake:
                self.version += 1
                for _ in range(self.times.pop(0) if self.times and not self._muted else 1):
                    self.send(replace(delivery))

    def send(self, delivery: Delivery) -> None:
        """Deliver soon."""
        with self._wake:
            if not self._muted:
                self.version += 1
                self._queue.append(delivery)
                self._wake.notify_all()

    def fire_timed_rules(self) -> None:
        """Let every rule with a rate fire once, as it does again and again in AWS."""
        for rule in self._rules(timed=True):
            self._send_by_rule(rule, {})

    def look_again(self) -> None:
        """Notice that a schedule or the time has changed."""
        with self._wake:
            self._wake.notify_all()

    # schedules -----------------------------------------------------------------------------------------------------

    def schedules(self) -> list[Any]:
        """The schedules of EventBridge Scheduler."""
        groups = list(scheduler_backends[ACCOUNT][self._region].schedule_groups.values())
        return [schedule for group in groups for schedule in list(group.schedules.values())]

    def _waiting(self) -> list[tuple[datetime, Any]]:
        """The one-time schedules that have not fired, with their moments."""
        return [
            (moment, schedule)
            for schedule in self.schedules()
            if (schedule.name, schedule.schedule_expression) not in self._fired
            and schedule.state != "DISABLED"  # moto forgets the state in an update
            and (moment := moment_of(schedule))
        ]

    def _due(self) -> list[Any]:
        now = self._clock()
        return [schedule for moment, schedule in self._waiting() if moment <= now]

    def next_moment(self) -> datetime | None:
        """When the next one-time schedule falls due."""
        return min((moment for moment, _ in self._waiting()), default=None)

    def _fire(self, schedule: Any) -> None:
        self._fired.add((schedule.name, schedule.schedule_expression))
        target = schedule.target
        event = json.loads(target.get("Input") or "{}")
        self._queue.append(Delivery("schedule", schedule.name, target["Arn"], target.get("RoleArn", ""), event))

    # the machine ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                for schedule in [] if self._muted else self._due():
                    self._fire(schedule)
                if self._stopped:
                    return
                if not self._queue:
                    moment = self.next_moment()
                    self._wake.wait(max(0.0, (moment - self._clock()).total_seconds()) if moment else None)
                    continue
                delivery = self._queue.pop(0)
                self._busy += 1
            threading.Thread(target=self._hand_over, args=(delivery,), daemon=True, name="delivery").start()

    def _hand_over(self, delivery: Delivery) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._deliver(delivery)
                delivery.error = None
                break
            except Exception as error:
                delivery.error = f"{type(error).__name__}: {error}"
                # A moment between the attempts; a minute for AWS.
                threading.Event().wait(min(1.0, 60 / self._time_scale))
        with self._wake:
            self.deliveries.append(delivery)
            self._busy -= 1
            self.version += 1
            self._wake.notify_all()
        self._changed()

    def _deliver(self, delivery: Delivery) -> None:
        role, content = delivery.role or f"service-{delivery.source}", json.dumps(delivery.event)
        if ":stateMachine:" in delivery.target:
            self._client_for("stepfunctions", role).start_execution(
                stateMachineArn=delivery.target, name=f"{delivery.source}-{uuid4()}", input=content
            )
        elif ":function:" in delivery.target:
            client = self._client_for("lambda", role)
            answer = client.invoke(FunctionName=delivery.target, Payload=content.encode())
            if "FunctionError" in answer:  # Lambda tries an event again that a function has failed on
                raise RuntimeError(answer["Payload"].read().decode())
        else:
            raise ValueError(f"the rehearsal cannot deliver to {delivery.target}")

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Start nothing new meanwhile; afterwards everything delivered and planned is forgotten."""
        with self._wake:
            self._muted = True
            self._queue.clear()
            self._wake.wait_for(lambda: not self._busy, timeout=10)
        yield
        with self._wake:
            self.deliveries, self._queue = [], []
            self.times.clear()
            self._fired.clear()
            self._muted = False

    def stop(self) -> None:
        """Deliver nothing more."""
        with self._wake:
            self._stopped = True
            self._queue.clear()
            self._wake.notify_all()
