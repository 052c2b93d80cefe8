"""Ten CloudWatch alarms that notify the budget's warnings topic.

Each has one metric, because CloudWatch bills by metric and the first ten of an account are free. An aborted tear-down has no
alarm: a person aborts it, `make destroy` too, and the sweeper starts another one.
"""

from functools import partial

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from common.pricing.durations import LONGEST_KEEP_SECONDS, LONGEST_RESERVATION_SECONDS, TEAR_DOWN_ALLOWANCE_SECONDS
from stacks.functions import Functions
from stacks.names import METRICS, PREFIX, SWEEP_RULE

SWEEP_MINUTES = 15
_SWEEP, _SOON = cdk.Duration.minutes(SWEEP_MINUTES), cdk.Duration.minutes(5)
_SILENT_SWEEPS = 3
_ABOVE, _BELOW = (
    cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
)
_Missing = cloudwatch.TreatMissingData


def alarm_name(name: str) -> str:
    """The fixed name of an alarm, which the dashboard in another stack refers to."""
    return f"{PREFIX}-{name}"


_CONSOLE = "Read the execution's error in the Step Functions console (captune-tear-down)."
_LOG = "Read the sweeper's log (CloudWatch, log group Captune-FineTuning-*Sweeper*)."
_READ = "Read the message in the SQS console, correct the error that it names, and delete it."
# The text of the e-mail, and of docs/troubleshoot.md (`captune dev pages`).
SAYS = {
    "tear-down-failed": (
        "A teardown failed: resources may still bill, and the run's actual cost is not recorded. The sweeper starts another "
        f"within half an hour. {_CONSOLE} InvalidInput means that you started it by hand with a wrong input: pass runName. If the "
        "next one fails too, delete the run's endpoint and stop its training job in the SageMaker console."
    ),
    "tear-down-timed-out": (
        "A teardown reached its time limit: AWS did not delete a resource that may still bill, or the ledger did not "
        f"answer. {_CONSOLE} Delete the run's endpoint and stop its training job in the SageMaker console. If AWS "
        "rejects that too, ask AWS Support."
    ),
    "sweeper-failed": (
        "The sweeper ended with an error. Lambda tries twice more, and the next sweep starts within "
        f"{SWEEP_MINUTES} minutes. {_LOG} Check the SageMaker console for endpoints and training jobs whose name begins with captune-."
    ),
    "sweeper-throttled": (
        "Lambda did not start the sweeper: the account's concurrent executions are used up. Sweep and kill switch are "
        "delayed. Find the function that uses them in the Lambda console, or request a higher quota."
    ),
    "sweeper-silent": (
        f"The sweeper has not run for {_SILENT_SWEEPS * SWEEP_MINUTES} minutes. Ignore this in the first minutes after a "
        f"deployment. Otherwise check that the rule {SWEEP_RULE} is enabled, or restore it: make deploy ARGS=--revert-drift."
    ),
    "events-undelivered": (
        "AWS gave up delivering an event (queue Captune-Guardrail-Undelivered*): the end of a run, a sweep or the kill "
        f'switch. {_READ} If it names a run, start captune-tear-down with {{"executionName": "NAME", "reason": "person"}}.'
    ),
    "sweeps-given-up": (
        "Lambda gave up a sweep or the kill switch (queue Captune-FineTuning-*FailedSweeps*). "
        f"{_READ} If it came from the kill switch, stop every running execution of captune-fine-tuning."
    ),
    "reservation-too-old": (
        f"A reservation is older than the longest run ({LONGEST_RESERVATION_SECONDS / 3600:.1f} hours), and still reduces the "
        "month's budget. Find the run with captune ledger, then read its teardowns in the Step Functions console."
    ),
    "endpoint-too-old": (
        "An endpoint of captune is older than the maximum (ENDPOINT_HOURS hours), and bills by the "
        "second. Delete it in the SageMaker console now, then look for failed executions of captune-tear-down."
    ),
    "ledger-damaged": (
        "A ledger item was changed by hand or damaged, and counts as the whole cap until you accept it. Run "
        "captune ledger, then captune ledger --accept KEY."
    ),
}
NAMES = tuple(SAYS)


def longest_endpoint_seconds(deadline_minutes: int) -> int:
    """How long an endpoint of a deployment may be there: its deadline, the longest that a run may keep it, its removal."""
    return deadline_minutes * 60 + LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS


def says(name: str, longest_endpoint: int) -> str:
    """The text of an alarm, with the hours that an endpoint of this deployment may exist."""
    return SAYS[name].replace("ENDPOINT_HOURS", f"{longest_endpoint / 3600:.1f}")


class Alarms(Construct):
    """The alarms on teardown, sweeper and queues, each with the topic as its action."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        tear_down_arn: str,
        functions: Functions,
        undelivered: sqs.Queue,
        deadline_minutes: int,
        topic: sns.Topic,
    ) -> None:
        super().__init__(scope, construct_id)
        self._topic, self._longest_endpoint_seconds = topic, longest_endpoint_seconds(deadline_minutes)
        tear_down, sweeper = {"StateMachineArn": tear_down_arn}, {"FunctionName": functions.sweeper.function_name}
        lost, given_up = ({"QueueName": queue.queue_name} for queue in (undelivered, functions.failed_sweeps))
        messages = "ApproximateNumberOfMessagesVisible"
        self._add("tear-down-failed", _count("AWS/States", "ExecutionsFailed", tear_down, _SOON))
        self._add("tear-down-timed-out", _count("AWS/States", "ExecutionsTimedOut", tear_down, _SOON))
        self._add("sweeper-failed", _count("AWS/Lambda", "Errors", sweeper))
        self._add("sweeper-throttled", _count("AWS/Lambda", "Throttles", sweeper))
        # Also from the first deployment to the first sweep, before the e-mail can be confirmed.
        invocations = _count("AWS/Lambda", "Invocations", sweeper)
        self._add("sweeper-silent", invocations, 1, _BELOW, periods=_SILENT_SWEEPS, missing=_Missing.BREACHING)
        self._add("events-undelivered", _most("AWS/SQS", messages, lost, _SOON))
        self._add("sweeps-given-up", _most("AWS/SQS", messages, given_up, _SOON))
        # The sweeper writes these into its log at each sweep, without dimensions (lambdas/common/logs.py). A silent sweeper writes none:
        # their state stays, and its own alarm goes off.
        for name, metric, threshold in (
            ("reservation-too-old", "OldestReservationSeconds", LONGEST_RESERVATION_SECONDS),
            ("endpoint-too-old", "OldestEndpointSeconds", self._longest_endpoint_seconds),
            ("ledger-damaged", "DamagedLedgerItems", 0),
        ):
            self._add(name, _most(METRICS, metric), threshold, missing=_Missing.IGNORE)

    def _add(
        self,
        name: str,
        metric: cloudwatch.Metric,
        threshold: int = 0,
        comparison: cloudwatch.ComparisonOperator = _ABOVE,
        *,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = _Missing.NOT_BREACHING,
    ) -> None:
        """Adds the alarm of this name in `SAYS`. Most metrics are written only when something happens: their absence is good news."""
        alarm = metric.create_alarm(
            self,
            "".join(part.capitalize() for part in name.split("-")),
            alarm_name=alarm_name(name),
            alarm_description=says(name, self._longest_endpoint_seconds),
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))
        # Before the topic's policy lets CloudWatch publish, an alarm would reach nobody.
        alarm.node.add_dependency(self._topic)


def _metric(
    statistic: str, namespace: str, name: str, dimensions: dict[str, str] | None = None, period: cdk.Duration = _SWEEP
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        statistic=statistic, namespace=namespace, metric_name=name, dimensions_map=dimensions, period=period
    )


_count, _most = partial(_metric, "Sum"), partial(_metric, "Maximum")
