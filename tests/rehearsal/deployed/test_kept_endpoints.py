"""Endpoints that are kept in the rehearsed account: `captune serve`, `extend` and `stop` within the cap, and `captune use` with its page's button."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captune import serving
from captune.account import Refused
from captune.engines import Deployed
from captune.fetch import fetch
from common.errors import BudgetExceeded
from common.names import run_name
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.deployed import DeployedProject
from tests.doubles.use_site import DOMAIN
from tests.doubles.use_site import serving as using
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
    (execution,) = cloud.executions.of_machine(deployed.fine_tuning)
    assert run_name(execution.name) == run
    with pytest.raises(Refused, match="serves this adapter already"):
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
    with pytest.raises(Refused, match="ended and was settled at"):
        serving.stop(deployment(), run, cloud.clock())
    # Its number is used, so the next one has another.
    assert serving.serve(deployment(), EARLIER, 60)["run"] == "captune-serve-earlier-2"
    cloud.settle(timeout=PATIENCE_SECONDS)
    serving.stop(deployment(), "captune-serve-earlier-2", cloud.clock())
    cloud.settle(timeout=PATIENCE_SECONDS)
    assert project.nothing_left()


def test_a_kept_endpoint_answers_is_fetched_and_ends_at_a_press(project: DeployedProject, tmp_path: Path) -> None:
    execution = project.start(keepEndpointMinutes=60)
    project.cloud.settle(execution, timeout=PATIENCE_SECONDS)
    run, session = run_name(execution.name), SimpleNamespace(client=lambda name, **_: project.cloud.client(name))
    assert project.cloud.leftovers()["endpoints"] == [run]
    files = fetch(project.cloud.client("s3"), project.deployment.bucket, run, tmp_path)
    assert {"plan.json", "summary.json", "prompts.jsonl", "adapter/metrics.json"} <= set(files)
    plan: dict[str, Any] = json.loads((tmp_path / run / "plan.json").read_bytes())
    with using(Deployed(session, plan, project.deployment.tear_down)) as site:
        answers = [site.call("/v1/completions", {"model": model, "prompt": "A gene is"}) for model in ("base", DOMAIN)]
        assert [status for status, _ in answers] == [200, 200] and answers[0] != answers[1]
        assert 50 <= json.loads(site.call("/captune/state")[1])["minutes_left"] <= 60
        assert site.call("/captune/end", {})[0] == 200
        project.cloud.settle(timeout=PATIENCE_SECONDS)
        assert project.nothing_left() and project.ledger_item(execution)["state"] == "settled"
        assert site.error("/v1/completions", {"model": "base", "prompt": "A gene is"})[:2] == (410, "NoEndpoint")
