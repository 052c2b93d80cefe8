"""`captune serve`, `extend` and `stop` in the rehearsed account: reserved, kept for longer within the cap, ended, and given back."""

from __future__ import annotations

import pytest

from captune import serving
from common.errors import BudgetExceeded
from common.names import run_name
from tests.doubles.rehearsal.deployed import PATIENCE_SECONDS, DeployedProject
from verification.simulation import material

EARLIER = "captune-earlier"


def test_an_endpoint_is_started_kept_for_longer_and_ended(project: DeployedProject) -> None:
    cloud, deployed = project.cloud, project.deployment
    for key, content in material.earlier(deployed.weights_uri).items():
        project.put(key, content)

    def deployment(cap_cents: int = 2500) -> serving.Deployment:
        names = deployed.bucket, deployed.table, deployed.fine_tuning, deployed.tear_down
        return serving.Deployment(cloud.client, *names, cap_cents)

    run = serving.serve(deployment(), EARLIER, 60)["run"]
    (execution,) = cloud.executions.of(deployed.fine_tuning)
    assert run_name(execution.name) == run
    with pytest.raises(serving.AlreadyServed):
        serving.serve(deployment(), EARLIER, 60)
    cloud.settle(execution, timeout=PATIENCE_SECONDS)
    assert execution.status == "SUCCEEDED" and cloud.leftovers()["endpoints"] == [run]
    kept = project.ledger_item(execution)
    reserved = int(kept["reserved_cents"])

    found = serving.extend(deployment(), run, 30, cloud.clock())
    assert found["reservedCents"] == reserved + found["moreCents"] and 70 < found["moreCents"] < 90
    schedule = cloud.client("scheduler").get_schedule(Name=run)
    assert schedule["ScheduleExpression"] == f"at({found['keepUntil'].removesuffix('+00:00')})"
    with pytest.raises(BudgetExceeded, match="The longer stay"):
        serving.extend(deployment(cap_cents=found["reservedCents"] + 150), run, 60, cloud.clock())
    assert int(project.ledger_item(execution)["reserved_cents"]) == found["reservedCents"]

    serving.stop(deployment(), run, cloud.clock())
    cloud.settle(timeout=PATIENCE_SECONDS)
    assert project.nothing_left()
    settled = project.ledger_item(execution)
    assert settled["state"] == "settled" and 0 < int(settled["actual_cents"]) < reserved
    with pytest.raises(serving.NothingToStop):
        serving.stop(deployment(), run, cloud.clock())
    # Its number is used, so the next one has another.
    assert serving.serve(deployment(), EARLIER, 60)["run"] == "captune-serve-earlier-2"
    cloud.settle(timeout=PATIENCE_SECONDS)
    serving.stop(deployment(), "captune-serve-earlier-2", cloud.clock())
    cloud.settle(timeout=PATIENCE_SECONDS)
    assert project.nothing_left()
