"""The last report stands apart from the money: whatever becomes of it, the run is settled and its owner is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.step_functions.executions import Execution

Rehearse = Callable[..., Execution]


def tear_down_of(cloud: Cloud) -> Execution:
    assert cloud.deployment is not None
    (found,) = cloud.executions.of(cloud.deployment.tear_down)
    return found


def role(cloud: Cloud, function: str) -> str:
    assert cloud.deployment is not None
    name = cloud.deployment.functions[function]
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=name)
    return str(configuration["Role"]).rpartition("/")[2]


def e_mail(cloud: Cloud) -> tuple[str, str]:
    assert cloud.deployment is not None
    ((subject, text),) = [(about, text) for topic, about, text in cloud.messages if topic == cloud.deployment.topic]
    return str(subject), text


def is_settled(cloud: Cloud) -> bool:
    """Whether every run's item is settled and no schedule waits any more."""
    assert cloud.deployment is not None
    items = cloud.client("dynamodb").scan(TableName=cloud.deployment.table)["Items"]
    runs = [item for item in items if item["pk"]["S"].startswith("RUN#")]
    schedules = cloud.client("scheduler").list_schedules()["Schedules"]
    return bool(runs) and all(run["state"]["S"] == "settled" for run in runs) and not schedules


def refused_writing(cloud: Cloud) -> None:
    cloud.faults.add(operation="PutObject", error="AccessDenied", status=403, times=None, by=role(cloud, "finish"))


def killed(cloud: Cloud) -> None:
    """What Lambda does to a function that needs more memory than it has."""
    assert cloud.deployment is not None
    name = cloud.deployment.functions["finish"]
    cloud.faults.add(
        operation="PutObject", times=None, by=role(cloud, "finish"), before=lambda call: cloud.functions.kill(name)
    )


@pytest.mark.parametrize(("trouble", "error"), [(refused_writing, "ServiceUnreachable"), (killed, "Runtime.ExitError")])
def test_rendering_cannot_stop_settlement(
    cloud: Cloud, rehearse: Rehearse, trouble: Callable[[Cloud], None], error: str
) -> None:
    trouble(cloud)

    execution = rehearse()

    tear_down = tear_down_of(cloud)
    assert (execution.status, tear_down.status) == ("SUCCEEDED", "SUCCEEDED")
    assert is_settled(cloud)
    subject, text = e_mail(cloud)
    output: dict[str, Any] = dict(tear_down.output)
    assert output.keys() == {"run", "status", "verdict", "actualCents", "leftCents"}
    assert execution.output["verdict"] == "improved"
    assert subject.startswith("Captune: improved on held-out documents, $")
    assert f"The report could not be finished: {error}, " in text
    assert text.endswith(" The cost above is final.") and "errorMessage" not in text
    assert "Everything of this run that bills has been removed." in text
    assert not any(cloud.leftovers().values())


def test_a_damaged_summary_is_named(cloud: Cloud, rehearse: Rehearse) -> None:
    def damage(call: Any) -> None:
        prefix = f"runs/{execution_name(cloud)}/report/summary.json"
        cloud.client("s3").put_object(Bucket=cloud.deployment.bucket, Key=prefix, Body=b'{"verdict": "impro')  # type: ignore[union-attr]

    cloud.faults.add(operation="GetObject", before=damage, by=role(cloud, "finish"))
    rehearse()

    assert tear_down_of(cloud).status == "SUCCEEDED"
    assert is_settled(cloud)
    _, text = e_mail(cloud)
    assert "ReportDamaged: summary.json is damaged (JSONDecodeError" in text


def execution_name(cloud: Cloud) -> str:
    assert cloud.deployment is not None
    (execution,) = cloud.executions.of(cloud.deployment.fine_tuning)
    return f"captune-{execution.name}"


def test_settlement_reads_and_writes_no_file(cloud: Cloud, rehearse: Rehearse) -> None:
    rehearse()

    called = {call.service for call in cloud.calls if call.access_key == role(cloud, "settle")}
    assert called == {"dynamodb", "sagemaker", "stepfunctions"}
    assert json.loads(json.dumps(tear_down_of(cloud).output))["verdict"]
