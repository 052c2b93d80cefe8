"""One CloudWatch dashboard: money first, then runs, then the hardware that costs it."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.names import METRICS, PREFIX, Arns
from stacks.watching.alarms import NAMES, alarm_name

_HALF = 12  # of the 24 columns of a dashboard
_HEIGHT = 6  # of a graph
_BUSIEST = 5  # series of a search: CloudWatch bills a dashboard of more than 50 metrics $3 a month
_MACHINE_METRICS = (
    "ExecutionsStarted",
    "ExecutionsSucceeded",
    "ExecutionsFailed",
    "ExecutionsTimedOut",
    "ExecutionsAborted",
)


def add_dashboard(
    scope: Construct, *, fine_tuning_arn: str, tear_down_arn: str, cap_cents: int
) -> cloudwatch.Dashboard:
    """Adds the dashboard. The ledger's Lambdas publish the cents as embedded metrics; here they are shown in dollars."""
    dashboard = cloudwatch.Dashboard(scope, "Dashboard", default_interval=Duration.days(7))
    dashboard.add_widgets(
        cloudwatch.GraphWidget(
            title="US dollars: set aside or spent this month, the last run, the cap",
            left=[
                _dollars("CommittedCents", "committed"),
                _dollars("ActualCents", "last run"),
                _dollars("CapCents", "cap"),
            ],
            left_annotations=[cloudwatch.HorizontalAnnotation(value=cap_cents / 100, label="cap at deployment")],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="US dollars", show_units=False),
            width=_HALF,
        ),
        cloudwatch.GraphWidget(
            title="Fine-tuning runs",
            left=[_executions(fine_tuning_arn, metric) for metric in _MACHINE_METRICS],
            width=_HALF,
        ),
    )
    dashboard.add_widgets(
        cloudwatch.GraphWidget(
            title="Training: GPU use",
            left=[
                _search("{/aws/sagemaker/TrainingJobs,Host}", "GPUUtilization", "Average"),
                _search("{/aws/sagemaker/TrainingJobs,Host}", "GPUMemoryUtilization", "Average"),
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="per cent", show_units=False),
            width=_HALF,
        ),
        cloudwatch.GraphWidget(
            title="Endpoint: requests and errors",
            left=[
                _search("{AWS/SageMaker,EndpointName,VariantName}", "Invocations", "Sum"),
                _search("{AWS/SageMaker,EndpointName,VariantName}", "InvocationModelErrors", "Sum"),
            ],
            width=_HALF,
        ),
    )
    dashboard.add_widgets(
        cloudwatch.GraphWidget(
            title="Tear-downs: a failed one needs a person",
            left=[_executions(tear_down_arn, metric) for metric in _MACHINE_METRICS],
            width=_HALF,
        ),
        _alarms(scope),
    )
    return dashboard


def _alarms(scope: Construct) -> cloudwatch.AlarmStatusWidget:
    """The state of each alarm, by name: a reference to the stack that holds them would close a circle."""
    arns = Arns(Stack.of(scope))
    return cloudwatch.AlarmStatusWidget(
        title="Alarms: red needs a person",
        alarms=[
            cloudwatch.Alarm.from_alarm_arn(scope, f"Alarm-{name}", arns.alarm(alarm_name(name))) for name in NAMES
        ],
        width=_HALF,
        height=_HEIGHT,
    )


def _dollars(metric: str, label: str) -> cloudwatch.MathExpression:
    name = label.replace(" ", "_")
    return cloudwatch.MathExpression(
        expression=f"{name} / 100",
        label=label,
        period=Duration.minutes(5),
        using_metrics={
            name: cloudwatch.Metric(
                namespace=METRICS, metric_name=metric, statistic="Maximum", period=Duration.minutes(5)
            )
        },
    )


def _executions(machine_arn: str, metric: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/States",
        metric_name=metric,
        dimensions_map={"StateMachineArn": machine_arn},
        statistic="Sum",
        period=Duration.hours(1),
        label=metric.removeprefix("Executions").lower(),
    )


def _search(dimensions: str, metric: str, statistic: str) -> cloudwatch.MathExpression:
    """The busiest series of a metric among all of the project's: job and endpoint names are not known before a run."""
    return cloudwatch.MathExpression(
        expression=f"SORT(SEARCH('{dimensions} MetricName=\"{metric}\" {PREFIX}', '{statistic}', 60), MAX, DESC, {_BUSIEST})",
        label=metric,
        period=Duration.minutes(1),
        using_metrics={},
    )
