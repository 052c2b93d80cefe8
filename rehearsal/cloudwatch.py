"""CloudWatch in the rehearsed account: the metrics that Lambdas log, the alarms on them, and their messages.

What AWS counts by itself, executions, invocations and queues, is not counted here; the templates' tests read the alarms on that.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
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
        self._cloud, self._client = cloud, cloud.client("cloudwatch", "service-cloudwatch")
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._read = {path: path.stat().st_size for path in cloud.functions.folder.glob("logs/*.log")}

    def alarms(self) -> list[dict[str, Any]]:
        """The deployed alarms on metrics that Lambdas log."""
        found = self._client.describe_alarms()["MetricAlarms"]
        return [alarm for alarm in found if not alarm["Namespace"].startswith("AWS/")]

    def look(self) -> list[str]:
        """Publish what was logged, evaluate the alarms, send the message of each that goes off, return their names."""
        now = self._cloud.clock()
        for namespace, data in self._logged():
            self._client.put_metric_data(Namespace=namespace, MetricData=[{**one, "Timestamp": now} for one in data])
        fired = []
        for alarm in self.alarms():
            state, reason = self._judge(alarm, now)
            if state != alarm["StateValue"]:
                self._client.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue=state, StateReason=reason)
                if state == "ALARM":
                    fired.append(str(alarm["AlarmName"]))
                    self._send(alarm, reason, now)
        return fired

    def _logged(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The metrics in log lines of the embedded metric format, by namespace."""
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
                            names = [metric["Name"] for metric in directive["Metrics"]]
                            yield (
                                directive["Namespace"],
                                [{"MetricName": name, "Value": content[name]} for name in names],
                            )

    def _judge(self, alarm: Mapping[str, Any], now: datetime) -> tuple[str, str]:
        """The state of an alarm of one period now, and the reason for it. Without data it stays as it is."""
        found = self._client.get_metric_statistics(
            Namespace=alarm["Namespace"],
            MetricName=alarm["MetricName"],
            StartTime=now - timedelta(seconds=alarm["Period"]),
            EndTime=now + timedelta(seconds=1),
            Period=alarm["Period"],
            Statistics=[alarm["Statistic"]],
        )["Datapoints"]
        values = [one[alarm["Statistic"]] for one in found]
        if not values:
            return alarm["StateValue"], "Insufficient Data"
        is_over = any(_BREACHES[alarm["ComparisonOperator"]](value, alarm["Threshold"]) for value in values)
        return "ALARM" if is_over else "OK", f"{alarm['MetricName']} is {values}, its limit {alarm['Threshold']}."

    def _send(self, alarm: Mapping[str, Any], reason: str, now: datetime) -> None:
        """Publish the message to the alarm's topics, with the fields by which its readers and subscriptions know it."""
        message = {
            "AlarmName": alarm["AlarmName"],
            "AlarmDescription": alarm.get("AlarmDescription"),
            "OldStateValue": alarm["StateValue"],
            "NewStateValue": "ALARM",
            "NewStateReason": reason,
            "StateChangeTime": now.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
            "Region": self._cloud.region,
        }
        subject = f'ALARM: "{alarm["AlarmName"]}" in {self._cloud.region}'
        self.sent.append((subject, message))
        for topic in alarm["AlarmActions"]:
            client = self._cloud.client("sns", "service-cloudwatch")
            client.publish(TopicArn=topic, Subject=subject, Message=json.dumps(message))
