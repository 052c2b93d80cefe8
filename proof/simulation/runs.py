"""One run as the FineTuning machine makes it, from its own definition, with everything that can happen to it on the way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from common.errors import CaptuneError
from proof.simulation.aws.definitions import functions, machine
from proof.simulation.aws.integrations import aws_call, name_of, polled
from proof.simulation.aws.interpreter import Failure, Interpreter
from proof.simulation.aws.orchestration import MACHINE, TEAR_DOWN
from proof.simulation.cloud import Cloud
from proof.simulation.defences import DEFENCES
from proof.simulation.wishes import Wishes
from proof.simulation.world import Execution, Process

# What Ask leaves of its time limit for its last answers.
_LONGEST_ASK = functions()["ask"][1] - 30.0
_KNOWN = {kind.__name__ for kind in CaptuneError.__subclasses__()}


@dataclass
class FineTuning:
    """One execution of the FineTuning machine."""

    cloud: Cloud
    execution: Execution
    wishes: Wishes
    run: str = ""
    planned_cap: int = 0
    # By state: whether AWS refuses this call of this run for good.
    refused: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0  # of the call under way

    def __post_init__(self) -> None:
        self.world, self.random = self.cloud.world, self.cloud.world.random
        self.cloud.wishes[self.execution.arn] = self.wishes
        self.hangs = self.random.random() < self.wishes.hanging

    def process(self) -> Process:
        """The whole execution, from its start to its end."""
        given = {"keepEndpointMinutes": self.wishes.keep_seconds // 60} if self.wishes.keep_seconds else {}
        execution = {"Name": self.execution.name, "Id": self.execution.arn, "Input": given, "RedriveCount": 0}
        machine_run = Interpreter(
            self.world,
            machine("fine_tuning"),
            {"Execution": execution, "StateMachine": {"Id": MACHINE}},
            self._call,
            {"TearDownArn": TEAR_DOWN, **self.wishes.substitutions()},
            lambda resource, asked: polled(self.cloud, resource, asked),
            self._latency,
            self.execution.visited,
        )
        try:
            yield from machine_run.run(given)
        except Failure as failure:
            self.execution.error, self.execution.cause = failure.error, failure.cause
            self.cloud.tally.add(failure.error if failure.error in _KNOWN else "Stopped")
            ended = "TIMED_OUT" if failure.error == "States.Timeout" else "FAILED"
            self.cloud.tally.add(ended.lower())
            self.world.finish(self.execution, ended)
        else:
            self.cloud.tally.add("succeeded")
            self.world.finish(self.execution, "SUCCEEDED")
        finally:
            self.cloud.audit.uses(self.execution.arn, transitions=machine_run.transitions)

    def _call(self, state: str, resource: str, asked: dict[str, Any]) -> Any:
        if self.cloud.world.outage("Lambda") and resource.endswith("lambda:invoke"):
            raise Failure("Lambda.ServiceException", "Lambda is away", self.random.uniform(1, 30))
        if resource.endswith("lambda:invoke"):
            name = name_of(asked["FunctionName"])
            # Where one model hardly answers the other does not either, and both are asked at once.
            both = 2 if self.hangs and name == "ask" else 1
            self.cloud.audit.uses(self.execution.arn, name, both * self.seconds)
            return {"Payload": self._function(name, asked["Payload"])}
        if self.refused.setdefault(state, self._unlucky(0.1)):
            raise Failure("SageMaker.SageMakerException", "refused")
        self.world.actor, before = self.execution.arn, self.world.actor
        try:
            answer = aws_call(self.cloud, resource, asked)
        finally:
            self.world.actor = before
        if self.random.random() < 0.03:
            raise Failure("SageMaker.SdkClientException", "the answer was lost")
        return answer

    def _function(self, name: str, payload: dict[str, Any]) -> Any:
        if name == "preflight":
            return self._preflight(payload)
        if name == "reserve":
            return self._reserve(payload)
        if name == "ask":
            return self._ask(payload)
        # What is staged and what is reported costs no instance its time.
        wanted = ("run", "verdict", "reason", "report", "reportConsole", "summary")
        return {**dict.fromkeys(wanted, ""), "reservedCents": 0, "inputDigest": payload.get("inputDigest", "")}

    def _preflight(self, payload: dict[str, Any]) -> Any:
        # The settings in force now, which a deploy may have changed since the execution began.
        self.cloud.planning += 1
        try:
            plan = self.cloud.function("preflight", payload, self.cloud.wishes[self.execution.arn])
        finally:
            self.cloud.planning -= 1
        self.run, self.planned_cap = plan["runName"], self.world.cap_cents
        self.cloud.note_prices(self.run)
        if plan["budget"]["clamped"]:
            self.cloud.tally.add("clamped")
        return plan

    def _reserve(self, payload: dict[str, Any]) -> Any:
        if self.random.random() < 0.03:
            # The Lambda is slow: the state machine gives up on this attempt, which goes on and may come second.
            self.world.spawn(self._late_reserve(payload), self.random.uniform(0, 30))
            raise Failure("Sandbox.Timedout", "no answer in time", 30.0)
        answer = self._reserve_once(payload)
        self.cloud.tally.add("reserved")
        return answer

    def _late_reserve(self, payload: dict[str, Any]) -> Process:
        with suppress(Failure):
            self._reserve_once(payload)
        return
        yield 0.0, False

    def _reserve_once(self, payload: dict[str, Any]) -> Any:
        self.cloud.audit.begin_reserve(payload["runName"])
        try:
            cap = self.world.cap_cents if DEFENCES.current_cap else self.planned_cap
            return self.cloud.function("reserve", payload, self.cloud.wishes[self.execution.arn], cap)
        finally:
            self.cloud.audit.end_reserve(payload["runName"])

    def _ask(self, payload: dict[str, Any]) -> Any:
        maker, name = self.world.sagemaker, payload["endpointName"]
        endpoint = maker.endpoints.get(name)
        in_service = endpoint is not None and endpoint.status(self.world.now) == "InService"
        if in_service and self._unlucky(0.05):
            # A person deletes the endpoint by hand, so no tear-down will ever see it.
            maker.delete_endpoint(EndpointName=name)
            in_service = False
        if not in_service or self._unlucky(0.15):
            raise Failure("EndpointAnsweredBadly", "the endpoint is gone or broken")
        # An endpoint that hardly answers is asked on and on, each time until the function's time is over.
        return {"remaining": int(self.hangs)}

    def _latency(self, state: str) -> float:
        self.seconds = self._call_seconds(state)
        return self.seconds

    def _call_seconds(self, state: str) -> float:
        """How long a state's call is under way."""
        if state.startswith("Ask"):
            # Both models are asked at once, and one after the other here: as long together.
            return _LONGEST_ASK if self.hangs else self.random.uniform(50, _LONGEST_ASK)
        if state == "ReserveBudget" and self.random.random() < 0.1:
            return self.random.uniform(0.1, 1200)
        return self.world.latency()

    def _unlucky(self, share: float) -> bool:
        return self.random.random() < share * self.wishes.failing
