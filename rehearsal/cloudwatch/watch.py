"""CloudWatch's alarms of the rehearsed account: evaluated as CloudWatch does, and told to their topics in its words."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from botocore.loaders import Loader

from rehearsal.account.clients import ACCOUNT
from rehearsal.account.cloud import Cloud

from .metrics import Metrics, Series, windows

_SERVICE = "service-cloudwatch"  # who makes these calls
_COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": ("greater than", operator.gt),
    "GreaterThanOrEqualToThreshold": ("greater than or equal to", operator.ge),
    "LessThanThreshold": ("less than", operator.lt),
    "LessThanOrEqualToThreshold": ("less than or equal to", operator.le),
}
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
    "SampleCount": len,
}
# What a period without data counts as; with `ignore` the state stays, with `missing` there is none.
_MISSING = {"breaching": True, "notBreaching": False}


class Watch:
    """The alarms of one cloud. CloudWatch looks every minute; here somebody calls `look`.

    Attributes:
        told: the subject and message of each alarm that went off.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._metrics = Metrics(cloud)
        self.told: list[tuple[str, dict[str, Any]]] = []

    def look(self) -> list[str]:
        """Evaluate every alarm, tell the topics of those that go off now, and return their names."""
        self._metrics.look()
        client = self._cloud.client("cloudwatch", _SERVICE)
        fired = []
        for alarm in client.describe_alarms()["MetricAlarms"]:
            state, reason = self._judge(alarm)
            if state == alarm["StateValue"]:
                continue
            client.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue=state, StateReason=reason)
            if state == "ALARM":
                fired.append(alarm["AlarmName"])
                self._tell(alarm, reason)
        return fired

    def count(self) -> int:
        """How many alarms there are."""
        return len(self._cloud.client("cloudwatch", _SERVICE).describe_alarms()["MetricAlarms"])

    def _judge(self, alarm: Mapping[str, Any]) -> tuple[str, str]:
        """The state of an alarm now, and CloudWatch's reason for it."""
        dimensions = frozenset((one["Name"], one["Value"]) for one in alarm.get("Dimensions", []))
        series = Series(alarm["Namespace"], alarm["MetricName"], dimensions)
        words, breaches = _COMPARISONS[alarm["ComparisonOperator"]]
        periods, threshold = alarm["EvaluationPeriods"], alarm["Threshold"]
        values = []
        for after, until in windows(self._cloud.clock(), alarm["Period"], periods):
            found = self._metrics.between(series, after, until)
            values.append(float(_STATISTICS[alarm["Statistic"]](found)) if found else None)
        treatment = alarm.get("TreatMissingData", "missing")
        if not any(value is not None for value in values) and treatment not in _MISSING:
            state = alarm["StateValue"] if treatment == "ignore" else "INSUFFICIENT_DATA"
            return state, "Insufficient Data"
        judged = [_MISSING.get(treatment) if value is None else breaches(value, threshold) for value in values]
        is_alarm = sum(1 for one in judged if one) >= alarm.get("DatapointsToAlarm", periods)
        shown = ", ".join(str(value) for value in values if value is not None)
        if shown:
            was = f"{len(values)} datapoint{'s' * (len(values) > 1)} [{shown}] {'was' if is_alarm else 'was not'}"
            return "ALARM" if is_alarm else "OK", f"Threshold Crossed: {was} {words} the threshold ({threshold})."
        return "ALARM" if is_alarm else "OK", (
            f"Threshold Crossed: no datapoints were received for {periods} periods and {periods} missing datapoints were "
            f"treated as [{'Breaching' if is_alarm else 'NonBreaching'}]."
        )

    def _tell(self, alarm: Mapping[str, Any], reason: str) -> None:
        region = _long_name(self._cloud.region)
        name = alarm["AlarmName"]
        trigger = {
            key: alarm[key]
            for key in ("MetricName", "Namespace", "Period", "EvaluationPeriods", "ComparisonOperator", "Threshold")
        }
        message = {
            "AlarmName": name,
            "AlarmDescription": alarm.get("AlarmDescription"),
            "AWSAccountId": ACCOUNT,
            "NewStateValue": "ALARM",
            "NewStateReason": reason,
            "StateChangeTime": self._cloud.clock().strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
            "Region": region,
            "AlarmArn": alarm["AlarmArn"],
            "OldStateValue": alarm["StateValue"],
            "AlarmActions": alarm["AlarmActions"],
            "Trigger": {
                **trigger,
                "StatisticType": "Statistic",
                "Statistic": alarm["Statistic"].upper(),
                "Dimensions": [
                    {"name": one["Name"], "value": one["Value"]} for one in alarm.get("Dimensions", [])
                ],
                "TreatMissingData": alarm.get("TreatMissingData", "missing"),
            },
        }  # fmt: skip
        subject = f'ALARM: "{name}" in {region}'[:100]  # the most that SNS takes
        self.told.append((subject, message))
        for topic in alarm["AlarmActions"] if alarm.get("ActionsEnabled", True) else []:
            self._cloud.client("sns", _SERVICE).publish(TopicArn=topic, Subject=subject, Message=json.dumps(message))


def _long_name(region: str) -> str:
    """A region as CloudWatch's mails call it: US East (N. Virginia)."""
    for partition in Loader().load_data("endpoints")["partitions"]:
        if region in partition["regions"]:
            return str(partition["regions"][region]["description"])
    return region
