"""`captune use` on a run of the rehearsed account: its kept endpoint answers, and the page's button removes it before its minutes are over."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from captune.engines import Deployed
from captune.fetch import fetch
from common.names import run_name
from tests.doubles.rehearsal.deployed import PATIENCE_SECONDS, DeployedProject
from tests.doubles.use_site import DOMAIN, serving


def test_a_kept_endpoint_answers_is_fetched_and_ends_at_a_press(project: DeployedProject, tmp_path: Path) -> None:
    execution = project.start(keepEndpointMinutes=60)
    project.cloud.settle(execution, timeout=PATIENCE_SECONDS)
    run, session = run_name(execution.name), SimpleNamespace(client=lambda name, **_: project.cloud.client(name))
    assert project.cloud.leftovers()["endpoints"] == [run]
    files, _ = fetch(project.cloud.client("s3"), project.deployment.bucket, run, tmp_path)
    assert {"plan.json", "summary.json", "prompts.jsonl", "adapter/metrics.json"} <= set(files)
    plan: dict[str, Any] = json.loads((tmp_path / run / "plan.json").read_bytes())
    with serving(Deployed(session, plan, project.deployment.tear_down)) as site:
        answers = [site.call("/v1/completions", {"model": model, "prompt": "A gene is"}) for model in ("base", DOMAIN)]
        assert [status for status, _ in answers] == [200, 200] and answers[0] != answers[1]
        assert 50 <= json.loads(site.call("/captune/state")[1])["minutes_left"] <= 60
        assert site.call("/captune/end", {})[0] == 200
        project.cloud.settle(timeout=PATIENCE_SECONDS)
        assert project.nothing_left() and project.ledger_item(execution)["state"] == "settled"
        assert site.error("/v1/completions", {"model": "base", "prompt": "A gene is"})[:2] == (410, "NoEndpoint")
