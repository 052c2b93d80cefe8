"""An execution in virtual time: it stands still while Step Functions is away, and polls that would see nothing new are left out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.step_functions.interpreter import Failure, Interpreter, State, Steps
from verification.simulation.world import World


@dataclass
class VirtualRun(Interpreter):
    """One execution of a definition. `unchanged_until` is until when a call (resource, arguments) gives the same answer."""

    time: World
    unchanged_until: Callable[[str, Any], datetime | None] = lambda resource, asked: None

    def run(self, given: Any) -> Steps[Any]:
        """The execution from its input to its output."""
        steps = super().run(given)
        while True:
            if self.time.faults:
                yield from self.time.waiting_for("Step Functions")
            try:
                yield next(steps)
            except StopIteration as done:
                return done.value

    def _pause(self, definition: State, state: State, seconds: float, variables: dict[str, Any]) -> float:
        """A wait before a poll goes on to the last poll that sees no change, which saves the polls before it."""
        following = definition["States"].get(state.get("Next", ""), {})
        if following.get("Type") != "Task" or seconds <= 0:
            return seconds
        try:
            asked = self._value(following.get("Arguments", {}), {}, variables)
        except Failure:
            return seconds
        until = self.unchanged_until(following["Resource"], asked)
        ahead = self.time.seconds_until(until) if until else 0.0
        polls = max(1, math.ceil(ahead / seconds) - 1)
        # Wait, describe, choose.
        self.transitions += 3 * (polls - 1)
        return seconds * polls
