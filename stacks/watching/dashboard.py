"""One CloudWatch dashboard: money first, then runs, then the hardware that costs it."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.names import METRICS, PREFIX, Arns
from stacks.watching.alarms import NAMES, alarm_name

_HALF = 12  # of the 24 columns of a dashboard
_HEIGHT = 6  # of a graph
_BUSIEST = 5  # series of a search: CloudWatch bills a dashboard of more than 50 metrics $3 a month
_ENDS = ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")
_TRAINING, _ENDPOINT = "{/aws/sagemaker/TrainingJobs,Host}", "{AWS/SageMaker,EndpointName,VariantName}"


def add_dashboard(
    scope: Construct, *, fine_tuning_arn: str, tear_down_arn: str, cap_cents: int
) -> cloudwatch.Dashboard:
    """Adds the dashboard. The ledger's Lambdas publish the cents as embedded metrics; here they are shown in dollars."""
    dollars = [
        _dollars("CommittedCents", "committed"),
        _dollars("ActualCents", "last run"),
        _dollars("CapCents", "cap"),
    ]
    cap = cloudwatch.HorizontalAnnotation(value=cap_cents / 100, label="cap at deployment")
    hardware = [_search(_TRAINING, metric, "Average") for metric in ("GPUUtilization", "GPUMemoryUtilization")]
    requests = [_search(_ENDPOINT, metric, "Sum") for metric in ("Invocations", "InvocationModelErrors")]
    dashboard = cloudwatch.Dashboard(scope, "Dashboard", default_interval=Duration.days(7))
    dashboard.add_widgets(
        _graph(
            "US dollars: reserved or spent this month, the last run, the cap",
            dollars,
            "US dollars",
            left_annotations=[cap],
        ),
        _graph("Fine-tuning runs", _executions(fine_tuning_arn)),
    )
    dashboard.add_widgets(_graph("Training: GPU use", hardware, "%"), _graph("Endpoint: requests and errors", requests))
    # By name: a reference to their stack would be circular.
    arns = {name: Arns(Stack.of(scope)).alarm(alarm_name(name)) for name in NAMES}
    alarms = [cloudwatch.Alarm.from_alarm_arn(scope, f"Alarm-{name}", arn) for name, arn in arns.items()]
    dashboard.add_widgets(
        _graph("Teardowns: check each failed one", _executions(tear_down_arn)),
        cloudwatch.AlarmStatusWidget(title="Alarms: check each red one", alarms=alarms, width=_HALF, height=_HEIGHT),
    )
    return dashboard


def _graph(title: str, metrics: Sequence[Any], unit: str = "", **more: Any) -> cloudwatch.GraphWidget:
    """Half a row. With a unit, the axis begins at 0 and is labelled with it."""
    if unit:
        more["left_y_axis"] = cloudwatch.YAxisProps(min=0, label=unit, show_units=False)
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_HALF, **more)


def _dollars(metric: str, label: str) -> cloudwatch.MathExpression:
    name, period = label.replace(" ", "_"), Duration.minutes(5)
    cents = cloudwatch.Metric(namespace=METRICS, metric_name=metric, statistic="Maximum", period=period)
    return cloudwatch.MathExpression(
        expression=f"{name} / 100", label=label, period=period, using_metrics={name: cents}
    )


def _executions(machine_arn: str) -> list[cloudwatch.Metric]:
    """How the executions of a state machine began and ended, by the hour."""
    return [
        cloudwatch.Metric(
            namespace="AWS/States",
            metric_name=f"Executions{end}",
            dimensions_map={"StateMachineArn": machine_arn},
            statistic="Sum",
            period=Duration.hours(1),
            label=end.lower(),
        )
        for end in _ENDS
    ]


def _search(dimensions: str, metric: str, statistic: str) -> cloudwatch.MathExpression:
    """The busiest series of a metric among all of the project's: job and endpoint names are not known before a run."""
    return cloudwatch.MathExpression(
        expression=f"SORT(SEARCH('{dimensions} MetricName=\"{metric}\" {PREFIX}', '{statistic}', 60), MAX, DESC, {_BUSIEST})",
        label=metric,
        period=Duration.minutes(1),
        using_metrics={},
    )
