"""CloudWatch in the rehearsed account: the metrics that Lambdas log, the alarms on them, and their messages.

What AWS counts by itself, executions, invocations and queues, is not counted here; the templates' tests read the alarms on that.
"""

from __future__ import annotations

import json
import operator
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.account.cloud import Cloud

_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class Watch:
    """The alarms of one cloud. CloudWatch looks every minute; here a caller does. What was logged before does not count.

    Attributes:
        sent: the subject and message of each alarm that went off.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._on: set[str] = set()
        self._read = {path: path.stat().st_size for path in cloud.functions.folder.glob("logs/*.log")}

    def alarms(self) -> list[dict[str, Any]]:
        """The deployed alarms on metrics that Lambdas log."""
        assert self._cloud.deployment is not None
        return [alarm for alarm in self._cloud.deployment.alarms if not alarm["Namespace"].startswith("AWS/")]

    def look(self) -> list[str]:
        """Evaluate the alarms on what was logged, send the message of each that goes off, and return their names.

        Without a new value an alarm stays as it is.
        """
        logged, fired = self._logged(), []
        for alarm in self.alarms():
            name, breaches = alarm["AlarmName"], _BREACHES[alarm["ComparisonOperator"]]
            values = logged[alarm["Namespace"], alarm["MetricName"]]
            if not any(breaches(value, float(alarm["Threshold"])) for value in values):
                self._on -= {name} if values else set()
            elif name not in self._on:
                self._on.add(name)
                fired.append(name)
                self._send(alarm, f"{alarm['MetricName']} is {values}, its limit {alarm['Threshold']}.")
        return fired

    def _logged(self) -> defaultdict[tuple[str, str], list[float]]:
        """The values in new log lines of the embedded metric format, by namespace and metric."""
        values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for path in sorted(self._cloud.functions.folder.glob("logs/*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # it is being written
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    if line.startswith(b"{") and b'"_aws"' in line:
                        content = json.loads(line)
                        for directive in content["_aws"]["CloudWatchMetrics"]:
                            for metric in directive["Metrics"]:
                                values[directive["Namespace"], metric["Name"]].append(content[metric["Name"]])
        return values

    def _send(self, alarm: Mapping[str, Any], reason: str) -> None:
        """Publish the message to the alarm's topics, with the fields by which its readers and subscriptions know it."""
        message = {
            "AlarmName": alarm["AlarmName"],
            "AlarmDescription": alarm.get("AlarmDescription"),
            "NewStateValue": "ALARM",
            "NewStateReason": reason,
            "StateChangeTime": f"{self._cloud.clock():%Y-%m-%dT%H:%M:%S.000+0000}",
            "Region": self._cloud.region,
        }
        subject = f'ALARM: "{alarm["AlarmName"]}" in {self._cloud.region}'
        self.sent.append((subject, message))
        for topic in alarm["AlarmActions"]:
            client = self._cloud.client("sns", "service-cloudwatch")
            client.publish(TopicArn=topic, Subject=subject, Message=json.dumps(message))
