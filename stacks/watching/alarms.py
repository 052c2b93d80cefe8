"""Ten CloudWatch alarms to the budget's warnings topic: what AWS could otherwise keep to itself until the bill comes.

Each has one metric, because CloudWatch bills by metric and the first ten of an account are free. An aborted tear-down has no
alarm: a person aborts it, `make destroy` too, and the sweeper starts another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.names import METRICS, PREFIX

SWEEP_MINUTES = 15
# The figures of lambdas/common/pricing/durations.py, which a test holds beside these: a stack imports no Lambda.
LONGEST_EXECUTION_SECONDS = 43_200
LONGEST_KEEP_SECONDS = 14_400
TEAR_DOWN_ALLOWANCE_SECONDS = 2_400
# No reservation is older: the longest execution, the minutes that its endpoint is kept, and the removal.
LONGEST_RESERVATION_SECONDS = LONGEST_EXECUTION_SECONDS + LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS

_SWEEP, _SOON = cdk.Duration.minutes(SWEEP_MINUTES), cdk.Duration.minutes(5)
_SILENT_SWEEPS = 3
_ABOVE, _BELOW = (
    cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the alarms look at: names and ARNs of the resources, and the longest life of an endpoint in seconds."""

    tear_down_arn: str
    sweeper_name: str
    undelivered_name: str
    failed_sweeps_name: str
    longest_endpoint_seconds: int


@dataclass(frozen=True)
class Watch:
    """One alarm: its metric, and the text that a person reads in the mail."""

    name: str
    says: str
    metric: cloudwatch.Metric
    threshold: int = 0
    comparison: cloudwatch.ComparisonOperator = _ABOVE
    periods: int = 1
    # Where a metric is written only when something happens, its absence is good news.
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def alarm_name(name: str) -> str:
    """The fixed name of an alarm: a mail and the dashboard, which lies in another stack, show it."""
    return f"{PREFIX}-{name}"


NAMES = (
    "tear-down-failed",
    "tear-down-timed-out",
    "sweeper-failed",
    "sweeper-throttled",
    "sweeper-silent",
    "events-undelivered",
    "sweeps-given-up",
    "reservation-too-old",
    "endpoint-too-old",
    "ledger-damaged",
)


def longest_endpoint_seconds(deadline_minutes: int) -> int:
    """How long an endpoint of a deployment may be there: its deadline, the longest that a run may keep it, its removal."""
    return deadline_minutes * 60 + LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS


class Alarms(Construct):
    """The alarms, each with the topic as its action."""

    def __init__(self, scope: Construct, construct_id: str, *, watched: Watched, topic: sns.Topic) -> None:
        super().__init__(scope, construct_id)
        for watch in (
            *_of_tear_downs(watched),
            *_of_sweeps(watched),
            *_of_queues(watched),
            *_of_the_books(watched),
        ):
            self._add(watch, topic)

    def _add(self, watch: Watch, topic: sns.Topic) -> None:
        alarm = watch.metric.create_alarm(
            self,
            "".join(part.capitalize() for part in watch.name.split("-")),
            alarm_name=alarm_name(watch.name),
            alarm_description=watch.says,
            comparison_operator=watch.comparison,
            threshold=watch.threshold,
            evaluation_periods=watch.periods,
            treat_missing_data=watch.missing,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))
        # Before the topic's policy lets CloudWatch publish, an alarm would reach nobody.
        alarm.node.add_dependency(topic)


def _of_tear_downs(watched: Watched) -> list[Watch]:
    console = "Open captune-tear-down in the Step Functions console and read the execution's error."
    return [
        Watch(
            "tear-down-failed",
            "A tear-down failed: something of a run may still bill, and its cost is not settled. The sweeper starts another "
            f"one within half an hour. {console} InvalidInput means that it was started by hand for no run. If the next "
            "one fails too, delete the run's endpoint and stop its training job in the SageMaker console, mend what the "
            "error names, and look at captune ledger.",
            _executions(watched, "ExecutionsFailed"),
        ),
        Watch(
            "tear-down-timed-out",
            "A tear-down was at work until its time-out and did not end: AWS would not delete something of a run, which may "
            f"still bill, or the ledger did not answer. {console} Delete the run's endpoint and stop its training job in the SageMaker console; where AWS refuses "
            "that too, open a case with AWS Support.",
            _executions(watched, "ExecutionsTimedOut"),
        ),
    ]


def _of_sweeps(watched: Watched) -> list[Watch]:
    log = "Read the sweeper's log (CloudWatch, log group of the function Captune-FineTuning-*Sweeper*)"
    return [
        Watch(
            "sweeper-failed",
            "The sweeper ended with an error: it could not judge or tear down a run, or AWS did not answer. Lambda tries "
            f"twice more, and the next sweep comes within {SWEEP_MINUTES} minutes. {log}. While it fails, look yourself "
            "whether the SageMaker console shows an endpoint or a training job of captune that no run needs.",
            _function(watched, "Errors"),
        ),
        Watch(
            "sweeper-throttled",
            "Lambda did not let the sweeper begin: the account's concurrent executions are used up. Lambda tries again for "
            "hours, but the sweep and the kill switch come late. See what uses them up in the Lambda console, or ask for "
            "a higher quota in Service Quotas.",
            _function(watched, "Throttles"),
        ),
        Watch(
            "sweeper-silent",
            f"The sweeper has not run for {_SILENT_SWEEPS * SWEEP_MINUTES} minutes, so nobody looks for leftovers, old "
            "endpoints and old reservations. Minutes after the first deployment this means nothing. Else see in the console "
            "whether the rule Captune-Guardrail-Sweep* is enabled and the function still there; enable it there, or put back what "
            "was removed: make deploy ARGS=--revert-drift.",
            _function(watched, "Invocations"),
            threshold=1,
            comparison=_BELOW,
            periods=_SILENT_SWEEPS,
            # Also from the first deployment to the first sweep, when nobody can have confirmed the e-mail yet.
            missing=cloudwatch.TreatMissingData.BREACHING,
        ),
    ]


def _of_queues(watched: Watched) -> list[Watch]:
    read = "Read the message in the SQS console, mend what its error names, and delete it: the alarm ends with the last one."
    return [
        Watch(
            "events-undelivered",
            "AWS gave up delivering an event (the queue Captune-Guardrail-Undelivered*): the end of a run did not start its "
            f"tear-down, or a sweep or the kill switch was not heard. {read} If it names a run, start "
            'captune-tear-down with {"executionName": "NAME", "reason": "person"}.',
            _queue(watched.undelivered_name),
        ),
        Watch(
            "sweeps-given-up",
            "Lambda gave up a sweep or the kill switch after all its attempts (the queue Captune-FineTuning-*FailedSweeps*). "
            f"{read} If it came from the kill switch, stop every running execution of captune-fine-tuning yourself.",
            _queue(watched.failed_sweeps_name),
        ),
    ]


def _of_the_books(watched: Watched) -> list[Watch]:
    hours = LONGEST_RESERVATION_SECONDS / 3600
    endpoint_hours = watched.longest_endpoint_seconds / 3600
    # A silent sweeper writes none of these: their state stays, and its own alarm goes off.
    stays = cloudwatch.TreatMissingData.IGNORE
    return [
        Watch(
            "reservation-too-old",
            f"A reservation in the ledger is older than any run can be ({hours:.1f} hours): its tear-down never settled it, "
            "and its money is missing from the month. captune ledger names the run; see its tear-downs in the Step Functions "
            "console and whether the SageMaker console shows anything of it.",
            _written("OldestReservationSeconds"),
            threshold=LONGEST_RESERVATION_SECONDS,
            missing=stays,
        ),
        Watch(
            "endpoint-too-old",
            f"An endpoint of captune is there for longer than any run may have one ({endpoint_hours:.1f} hours), and it "
            "bills by the second. Delete it in the SageMaker console now; then look why no tear-down did: failed "
            "executions of captune-tear-down, and the run's schedule in EventBridge Scheduler.",
            _written("OldestEndpointSeconds"),
            threshold=watched.longest_endpoint_seconds,
            missing=stays,
        ),
        Watch(
            "ledger-damaged",
            "An item of the ledger cannot be read, and counts as the dearest run until it can. captune ledger says which one "
            "and what is wrong with it; mend it in the DynamoDB console, or bring the table back to a point in time "
            "before the damage.",
            _written("DamagedLedgerItems"),
            missing=stays,
        ),
    ]


def _executions(watched: Watched, metric: str) -> cloudwatch.Metric:
    return _sum("AWS/States", metric, {"StateMachineArn": watched.tear_down_arn}, _SOON)


def _function(watched: Watched, metric: str) -> cloudwatch.Metric:
    return _sum("AWS/Lambda", metric, {"FunctionName": watched.sweeper_name}, _SWEEP)


def _sum(namespace: str, metric: str, dimensions: dict[str, str], period: cdk.Duration) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace, metric_name=metric, dimensions_map=dimensions, statistic="Sum", period=period
    )


def _queue(name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name="ApproximateNumberOfMessagesVisible",
        dimensions_map={"QueueName": name},
        statistic="Maximum",
        period=_SOON,
    )


def _written(metric: str) -> cloudwatch.Metric:
    """A metric that the sweeper writes into its log at each sweep, without dimensions (lambdas/common/logs.py)."""
    return cloudwatch.Metric(namespace=METRICS, metric_name=metric, statistic="Maximum", period=_SWEEP)
