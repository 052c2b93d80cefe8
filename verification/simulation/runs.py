"""One run as the FineTuning machine makes it, with what chance or the table of failures does to its calls."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from common.errors import CaptuneError
from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.interpreter import Failure, Steps, status_of
from verification.simulation import material
from verification.simulation.account import ARNS, BUCKET, FINE, Account, function_of
from verification.simulation.definitions import functions
from verification.simulation.parameters import RunParameters
from verification.simulation.world import DEFENCES, Process, at_once

# What Ask leaves of its time limit for its last answers.
_LONGEST_ASK = functions()["ask"][1] - 30.0
_KNOWN = {kind.__name__ for kind in CaptuneError.__subclasses__()}
# How late a call may arrive after an execution's end: TearDown waits for twelve minutes.
_LATE_SECONDS = 700
_REPORT = ("run", "verdict", "reason", "report", "reportConsole", "summary")


def start(account: Account, name: str, given: RunParameters, delay: float = 0.0, **run_input: Any) -> Execution:
    """Starts one run."""
    return account.start(
        name, given, lambda execution: FineTuning(account, execution, given, run_input).process(), delay
    )


@dataclass
class FineTuning:
    """One execution of the FineTuning machine."""

    account: Account
    execution: Execution
    given: RunParameters
    input: dict[str, Any] = field(default_factory=dict)
    planned_cap: int = 0
    # By state: whether AWS refuses this call of this run for good.
    refused: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world, self.random = self.account.world, self.account.world.random
        self.hangs = self.random.random() < self.given.hanging

    def process(self) -> Process:
        """The whole execution, from its start to its end."""
        kept = {"keepEndpointMinutes": self.given.keep_seconds // 60} if self.given.keep_seconds else {}
        wanted = self.input
        if self.given.serves:
            wanted = material.serving(BUCKET)
            self.account.storage.objects.update(material.earlier(self.given.substitutions()["WeightsUri"]))
        given = {**wanted, **kept}
        interpreter = self.account.interpret(
            FINE,
            self.execution,
            given,
            self._call,
            values={**ARNS, **self.given.substitutions()},
            unchanged_until=self._polled,
        )
        try:
            output = yield from interpreter.run(given)
        except Failure as failure:
            self.account.count(failure.error if failure.error in _KNOWN else "Stopped")
            ended = status_of(failure)
            self.account.count(ended.lower())
            self.account.finish(self.execution, ended, failure.error, failure.cause or "")
        else:
            self.account.count("succeeded")
            self.account.check_output(FINE, self.execution, output)
            self.account.finish(self.execution, "SUCCEEDED", output=output)
        finally:
            self.account.audit.went_through(self.execution.arn, interpreter.transitions)

    def _polled(self, resource: str, asked: Any) -> datetime | None:
        """Until when a poll of a job or an endpoint sees nothing new."""
        name = asked.get("TrainingJobName") or asked.get("EndpointName")
        until = self.account.sagemaker.unchanged_until(str(name)) if name and "describe" in resource.lower() else None
        # As its deadline comes near, a run looks whether its endpoint is still being created.
        deadline = self.account.scheduler.entries.get(str(name)) if until and "EndpointName" in asked else None
        return min(until, deadline[0] - timedelta(minutes=2)) if until and deadline else until

    def _call(self, state: str, resource: str, asked: Any) -> Steps[Any]:
        seconds = self._seconds(state)
        yield seconds, True
        return (
            yield from self.account.perform(
                state, resource, self.execution, asked, lambda: self._perform(state, resource, asked, seconds)
            )
        )

    def _perform(self, state: str, resource: str, asked: Any, seconds: float) -> Any:
        if resource.endswith("lambda:invoke"):
            name = function_of(asked)
            self.account.reach_lambda(name)
            with self.account.audit.using(self.execution.arn, name, seconds):
                return {"Payload": self._function(name, asked["Payload"])}
        if self.refused.setdefault(state, self._unlucky(0.1)):
            self._arrive_late(resource, asked)
            raise Failure("SageMaker.SageMakerException", "refused")
        with self.world.acting(self.execution.arn):
            answer = self.account.aws_call(resource, asked)
        self._arrive_late(resource, asked)
        if self.random.random() < self.world.troubled:
            raise Failure("SageMaker.SdkClientException", "the answer was lost")
        return answer

    def _arrive_late(self, resource: str, asked: Any) -> None:
        """Now and then a call that creates something is made once more, or was not refused: it takes effect after the end."""
        if self.random.random() < self.account.late_calls and resource.rpartition(":create")[1]:

            def perform() -> None:
                with self.world.acting(self.execution.arn):
                    self.account.aws_call(resource, asked)

            late = _arrive_late(self.account, self.execution, perform)
            self.world.spawn(late, 0)

    def _function(self, name: str, payload: Any) -> Any:
        if name == "preflight":
            return self._preflight(payload)
        if name == "reserve":
            return self._reserve(payload)
        if self.account.whole:
            return self.account.function(name, payload)
        if name == "ask":
            return self._ask(payload)
        # What is staged and what is reported costs no instance its time.
        return {**dict.fromkeys(_REPORT, ""), "reservedCents": 0, "inputDigest": payload.get("inputDigest", "")}

    def _preflight(self, payload: dict[str, Any]) -> Any:
        # The settings in force now, which a deploy may have changed since the execution began.
        self.account.planning += 1
        try:
            plan = self.account.function("preflight", payload, self.account.deployed[self.execution.arn])
        finally:
            self.account.planning -= 1
        self.planned_cap = self.world.cap_cents
        self.account.note_prices(plan["runName"])
        if plan["budget"]["clamped"]:
            self.account.count("clamped")
        return plan

    def _reserve(self, payload: dict[str, Any]) -> Any:
        if self.random.random() < self.world.troubled:
            # The Lambda is slow: the state machine gives up on this attempt, which goes on and may come second.
            self.world.spawn(self._late_reserve(payload), self.random.uniform(0, 30))
            raise Failure("Sandbox.Timedout", "no answer in time", 30.0)
        answer = self._reserve_once(payload)
        self.account.count("reserved")
        return answer

    @at_once
    def _late_reserve(self, payload: dict[str, Any]) -> None:
        with suppress(Failure):
            self._reserve_once(payload)

    def _reserve_once(self, payload: dict[str, Any]) -> Any:
        self.account.audit.begin_reserve(payload["runName"])
        try:
            cap = self.world.cap_cents if DEFENCES.current_cap else self.planned_cap
            return self.account.function("reserve", payload, self.account.deployed[self.execution.arn], cap)
        finally:
            self.account.audit.end_reserve(payload["runName"])

    def _ask(self, payload: dict[str, Any]) -> Any:
        present, name = self.account.sagemaker.present, payload["endpointName"]
        in_service = any(one.name == name and one.status == "InService" for one in present)
        if in_service and self._unlucky(0.05):
            # A person deletes the endpoint by hand, so no tear-down will ever see it.
            self.account.clients["sagemaker"].delete_endpoint(EndpointName=name)
            in_service = False
        if not in_service or self._unlucky(0.15):
            raise Failure("EndpointAnsweredBadly", "the endpoint is gone or broken")
        # An endpoint that hardly answers is asked on and on, each time until the function's time is over.
        return {"remaining": int(self.hangs)}

    def _seconds(self, state: str) -> float:
        """How long a state's call is under way."""
        if self.account.whole:
            return 60.0 if state.startswith("Ask") else self.random.uniform(0.1, 4)
        if state.startswith("Ask"):
            return _LONGEST_ASK if self.hangs else self.random.uniform(50, _LONGEST_ASK)
        if state == "ReserveBudget" and self.account.at_once:
            return 600 - self.world.now.timestamp() % 600
        if state == "ReserveBudget" and self.random.random() < 3 * self.world.troubled:
            return self.random.uniform(0.1, 1200)
        return self.world.latency()

    def _unlucky(self, share: float) -> bool:
        return self.random.random() < share * self.given.failing


def _arrive_late(account: Account, execution: Execution, perform: Callable[[], Any]) -> Process:
    """A call whose answer nobody waits for any more takes effect after the end of an execution that did not succeed, as soon as AWS lets it."""
    while execution.stop is None:
        yield 30.0, False
    if execution.status == "SUCCEEDED":
        return
    last = account.world.now + timedelta(seconds=_LATE_SECONDS)
    yield account.world.random.uniform(0, _LATE_SECONDS), False
    while account.world.now < last:
        with suppress(Failure):
            perform()
            account.count("late calls")
            return
        yield 3.0, False
