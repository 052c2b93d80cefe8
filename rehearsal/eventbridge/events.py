"""What AWS delivers by itself: Step Functions' events through EventBridge rules, due schedules, and SNS to Lambda.

Rules, targets, transformers and schedules are those that the deployed template and the running code made; nothing of
them is known here. A test can drop or repeat deliveries.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from rehearsal.account.clock import Clock

from .deliveries import Deliverer, Delivery, moment_of, shaped


def _of_rule(rule: Any, target: Mapping[str, Any], event: Mapping[str, Any]) -> Delivery:
    return Delivery("rule", rule.name, target["Arn"], target.get("RoleArn", ""), shaped(target, event))


class Events:
    """Deliveries of one cloud.

    Args:
        clock: the time by which schedules fall due.
        ends: the rules and schedules they come from, and the machines and functions they go to.
        changed: called after each delivery, for those who wait.
    """

    def __init__(self, clock: Clock, ends: Deliverer, changed: Callable[[], None]) -> None:
        self.clock, self.ends = clock, ends
        self.deliveries: list[Delivery] = []
        self._changed = changed
        self._wake = threading.Condition()
        self._queue: list[Delivery] = []
        self._busy = 0
        self._to_drop = self._to_repeat = 0
        self._fired: set[tuple[str, str]] = set()
        self._stopped = self._muted = False
        self.version = 0  # grows with every delivery that is planned or done
        clock.on_advance(self.look_again)
        threading.Thread(target=self._run, daemon=True, name="events").start()

    def drop_next(self, count: int = 1) -> None:
        """Lose the next deliveries of rules, as if the event had never come."""
        with self._wake:
            self._to_drop += count

    def duplicate(self, count: int = 1) -> None:
        """Deliver the next events of rules twice, as EventBridge may."""
        with self._wake:
            self._to_repeat += count

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        with self._wake:
            return not self._queue and not self._busy and not self._due()

    # sources -------------------------------------------------------------------------------------------------------

    def publish(self, event: Mapping[str, Any]) -> None:
        """Match an event of the default bus with every rule and send it to the targets."""
        matching = [one for one in self.ends.rules(timed=False) if one.event_pattern.matches_event(event)]
        for rule, target in [(one, target) for one in matching for target in one.targets]:
            delivery = _of_rule(rule, target, event)
            with self._wake:
                if self._to_drop and not self._muted:
                    self._to_drop -= 1
                    self.version += 1
                    continue
                if self._to_repeat and not self._muted:
                    self._to_repeat -= 1
                    self.send(replace(delivery))
                self.send(delivery)

    def send(self, delivery: Delivery) -> None:
        """Deliver soon."""
        with self._wake:
            if not self._muted:
                self.version += 1
                self._queue.append(delivery)
                self._wake.notify_all()

    def fire_timed_rules(self) -> None:
        """Let every rule with a rate fire once, as it does again and again in AWS."""
        for rule in self.ends.rules(timed=True):
            for target in rule.targets:
                self.send(_of_rule(rule, target, {}))

    def look_again(self) -> None:
        """Notice that a schedule or the time has changed."""
        with self._wake:
            self._wake.notify_all()

    # schedules -----------------------------------------------------------------------------------------------------

    def _waiting(self) -> list[tuple[datetime, Any]]:
        """The one-time schedules that have not fired, with their moments."""
        return [
            (moment, schedule)
            for schedule in self.ends.schedules()
            if (schedule.name, schedule.schedule_expression) not in self._fired
            and schedule.state != "DISABLED"  # moto forgets the state in an update
            and (moment := moment_of(schedule))
        ]

    def _due(self) -> list[Any]:
        now = self.clock()
        return [schedule for moment, schedule in self._waiting() if moment <= now]

    def next_moment(self) -> datetime | None:
        """When the next one-time schedule falls due."""
        return min((moment for moment, _ in self._waiting()), default=None)

    def _fire(self, schedule: Any) -> None:
        self._fired.add((schedule.name, schedule.schedule_expression))
        target = schedule.target
        event = json.loads(target.get("Input") or "{}")
        self._queue.append(Delivery("schedule", schedule.name, target["Arn"], target.get("RoleArn", ""), event))
        if schedule.action_after_completion == "DELETE":
            self.ends.delete_schedule(schedule.group_name, schedule.name)

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
                    self._wake.wait(max(0.0, (moment - self.clock()).total_seconds()) if moment else None)
                    continue
                delivery = self._queue.pop(0)
                self._busy += 1
            threading.Thread(target=self._hand_over, args=(delivery,), daemon=True, name="delivery").start()

    def _hand_over(self, delivery: Delivery) -> None:
        try:
            self.ends.deliver(delivery)
        except Exception as error:
            delivery.error = f"{type(error).__name__}: {error}"
        with self._wake:
            self.deliveries.append(delivery)
            self._busy -= 1
            self.version += 1
            self._wake.notify_all()
        self._changed()

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
            self._to_drop = self._to_repeat = 0
            self._fired.clear()
            self._muted = False

    def stop(self) -> None:
        """Deliver nothing more."""
        with self._wake:
            self._stopped = True
            self._queue.clear()
            self._wake.notify_all()
