"""CloudWatch's metrics of the rehearsed account: what AWS counts by itself, and what the Lambdas write into their logs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from moto.sqs.models import sqs_backends

from rehearsal.account.clients import ACCOUNT
from rehearsal.account.cloud import Cloud

_OF_STATUS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_THROTTLED = "TooManyRequestsException"


@dataclass(frozen=True)
class Series:
    """One metric: its namespace, its name and its dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]] = frozenset()


class Metrics:
    """The data points of one cloud, each dated by the cloud's clock at the look that found it.

    What happened before this object was made does not count.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._points: defaultdict[Series, list[tuple[datetime, float]]] = defaultdict(list)
        self._ended = {one.arn for one in cloud.executions.all() if one.is_over}
        self._outcomes, self._calls = len(cloud.functions.outcomes), len(cloud.recorder.calls)
        self._read = {path: path.stat().st_size for path in self._log_files()}

    def look(self) -> None:
        """Take down what has happened since the last look."""
        now = self._cloud.clock()
        for found in (self._executions(), self._functions(), self._throttles(), self._queues(), self._logs()):
            for series, value in found:
                self._points[series].append((now, value))

    def between(self, series: Series, after: datetime, until: datetime) -> list[float]:
        """The values of a series that are later than `after` and not later than `until`."""
        return [value for moment, value in self._points[series] if after < moment <= until]

    def _executions(self) -> Iterator[tuple[Series, float]]:
        for one in self._cloud.executions.all():
            if one.is_over and one.arn not in self._ended:
                self._ended.add(one.arn)
                dimensions = frozenset({("StateMachineArn", one.machine)})
                yield Series("AWS/States", _OF_STATUS[one.status], dimensions), 1

    def _functions(self) -> Iterator[tuple[Series, float]]:
        outcomes = self._cloud.functions.outcomes[self._outcomes :]
        self._outcomes += len(outcomes)
        for name, failed in outcomes:
            yield _of_function(name, "Invocations"), 1
            yield _of_function(name, "Errors"), float(failed)

    def _throttles(self) -> Iterator[tuple[Series, float]]:
        calls = self._cloud.recorder.calls[self._calls :]
        self._calls += len(calls)
        for call in calls:
            if (call.service, call.operation, call.error) == ("lambda", "Invoke", _THROTTLED):
                function = call.request["path"].split("/functions/")[1].removesuffix("/invocations")  # a name or an ARN
                yield _of_function(function.rpartition(":")[2], "Throttles"), 1

    def _queues(self) -> Iterator[tuple[Series, float]]:
        for name, queue in sqs_backends[ACCOUNT][self._cloud.region].queues.items():
            series = Series("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({("QueueName", name)}))
            yield series, queue.approximate_number_of_messages

    def _log_files(self) -> list[Path]:
        return sorted(self._cloud.functions.folder.glob("logs/*.log"))

    def _logs(self) -> Iterator[tuple[Series, float]]:
        for path in self._log_files():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # it is being written
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    yield from _embedded(line)


def _of_function(name: str, metric: str) -> Series:
    return Series("AWS/Lambda", metric, frozenset({("FunctionName", name)}))


def _embedded(line: bytes) -> Iterator[tuple[Series, float]]:
    """The metrics of a log line in the embedded metric format, once for each set of dimensions."""
    if b'"_aws"' not in line:
        return
    try:
        content: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return
    for directive in content.get("_aws", {}).get("CloudWatchMetrics", []):
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, str(content[name])) for name in names)
            for metric in directive["Metrics"]:
                yield Series(directive["Namespace"], metric["Name"], dimensions), float(content[metric["Name"]])


def windows(now: datetime, period: int, count: int) -> list[tuple[datetime, datetime]]:
    """The last periods (seconds) until now, the latest first, each as its two ends."""
    step = timedelta(seconds=period)
    return [(now - (number + 1) * step, now - number * step) for number in range(count)]
