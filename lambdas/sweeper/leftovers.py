"""Runs that left something behind, found from what exists rather than from what should have happened."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from common.aws import unless
from common.clock import written
from common.contracts.tear_down import TearDownEvent
from common.endpoint_lives import of_item
from common.ledger.ledger import Ledger
from common.ledger.rows import Row
from common.logs import log
from common.resources import Resource
from sweeper.evidence import Evidence, collect, executions
from sweeper.judgement import Judge
from teardown.endpoint_lifetimes import note_gone
from teardown.removal import Removal

T = TypeVar("T")

_SWEEP = "-sweep-"


@dataclass
class Sweep:
    """One look at everything of this project. An error with one run goes to `problems` and holds no other run up."""

    sagemaker: Any
    step_functions: Any
    ledger: Ledger
    fine_tuning_arn: str
    tear_down_arn: str
    now: datetime
    clock: Callable[[], datetime]
    problems: list[Exception] = field(default_factory=list)

    def remove_leftovers(self) -> list[str]:
        """Tears down every run that should be gone by now; answers their names."""
        judge = self._look()
        over = [run for run in _candidates(judge.evidence) if self._try(partial(judge.is_over, run))]
        return self._tear_down_each(over, judge)

    def end_everything(self) -> list[str]:
        """Stops every running execution and tears down every run that has or may have anything left. Needs no ledger."""
        judge = self._look()
        running = judge.evidence.running or {}
        for arn in running.values():
            self._try(partial(self._stop, arn))
        return self._tear_down_each(sorted({*_candidates(judge.evidence), *running}), judge)

    def _look(self) -> Judge:
        evidence = collect(self.sagemaker, self.step_functions, self.ledger, self.fine_tuning_arn, self.now)
        self.problems = evidence.problems
        self._try(partial(evidence.write_metrics, self.now))
        for row in (evidence.rows or {}).values():
            self._try(partial(self._note_gone, row, evidence.endpoints, self.clock()))
        return Judge(self.step_functions, self.fine_tuning_arn, evidence, self.now)

    def _note_gone(self, row: Row, endpoints: list[Resource] | None, listed_at: datetime) -> None:
        """Tells the ledger of endpoints of a run that have gone since somebody noted them: its TearDown may come hours later."""
        if endpoints is not None and any("goneAt" not in life for life in of_item(row.item).get("lives", [])):
            there = {(one.name, written(one.created)) for one in endpoints}
            note_gone(self.ledger, row.run, there, self.now, listed_at)

    def _stop(self, execution_arn: str) -> None:
        self.step_functions.stop_execution(
            executionArn=execution_arn,
            error="BudgetAlarm",
            cause="The account's spending reached the budget, so the kill switch stopped every run. Follow docs/troubleshoot.md to start again.",
        )

    def _tear_down_each(self, runs: list[str], judge: Judge) -> list[str]:
        """The runs whose TearDown was begun. Each is removed from here too: a TearDown that is refused removes nothing."""
        under_way = (self._try(self._under_way) if runs else None) or set()
        begun = [run for run in runs if run not in under_way and self._try(partial(self._tear_down, run, judge))]
        for run in runs:
            self._try(partial(self._remove, run, judge))
        return begun

    def _under_way(self) -> set[str]:
        """The runs that a sweeper's TearDown is busy with. Where nobody tells, there are two at once, which do no harm."""
        return {name.rpartition(_SWEEP)[0] for name in executions(self.step_functions, self.tear_down_arn)}

    def _tear_down(self, run: str, judge: Judge) -> bool:
        """Starts a TearDown, unless this minute's was started."""
        name = f"{run}{_SWEEP}{self.now.strftime('%y%m%d%H%M')}"
        machine, event = self.tear_down_arn, json.dumps(_event(run, judge))
        start = self.step_functions.start_execution
        return unless("ExecutionAlreadyExists", start, stateMachineArn=machine, name=name, input=event) is not None

    def _remove(self, run: str, judge: Judge) -> None:
        """Makes one pass of removal over a run, by itself."""
        parts = self.sagemaker, self.step_functions, self.ledger, self.fine_tuning_arn
        outcome = Removal(run, *parts, self.clock).one_pass(_event(run, judge))
        log("swept directly", **outcome)

    def _try(self, step: Callable[[], T]) -> T | None:
        """What a step answers; None when it fails."""
        try:
            return step()
        except Exception as error:
            self.problems.append(error)
            return None


def _candidates(evidence: Evidence) -> list[str]:
    """The runs that have a resource, an open reservation, or something that is not booked yet."""
    return sorted({*evidence.resources, *evidence.unbooked, *(row.run for row in evidence.open_rows())})


def _event(run: str, judge: Judge) -> TearDownEvent:
    """The input of a TearDown, with the execution where anything tells it."""
    event: TearDownEvent = {"runName": run, "status": "UNKNOWN", "reason": "sweeper"}
    if arn := judge.execution_arn(run):
        event["executionArn"] = arn
        event["executionName"] = arn.rpartition(":")[2]
    return event
