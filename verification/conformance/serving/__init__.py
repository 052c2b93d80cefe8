"""The real model server in the loop: vLLM, started as the template says, asked by the deployed Ask code through InvokeEndpoint.

One rehearsed run of the synthesized project serves the adapter that it trained by the real vLLM. Its endpoint is kept for a
while and asked what a run never asks; then another server of ours, transformers and PEFT, is asked the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from verification.conformance.contract import Contract
from verification.conformance.environments import FOREIGN, CannotRun
from verification.conformance.serving import agreement, flags, journey, requests, ways
from rehearsal.models.weights import WeightsMissing, ensure_weights
from rehearsal.sagemaker.vllm import environment as vllm_environment

_FOLDER = FOREIGN / "conformance" / "serving"


def run(assembly: Path, say: Callable[[str], None], plant: str | None = None) -> list[Contract]:
    """Return what the real server showed. A fault that was planted is in `assembly` already.

    Raises:
        CannotRun: vLLM or the stand-in's weights cannot be had on this machine.
    """
    try:
        python = vllm_environment.make()
        weights = ensure_weights(FOREIGN / "weights")
    except (vllm_environment.VllmMissing, WeightsMissing) as reason:
        raise CannotRun(str(reason)) from None
    versions = flags.versions(python)
    contracts = [flags.check(assembly, python, versions)]
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with journey.served(assembly, _FOLDER, weights, python, say) as site:
        contracts.append(journey.deployed_run(site, versions))
        if site.execution.status == "SUCCEEDED" and plant is None:
            say("asking both models")
            contracts += requests.check(site, versions)
            contracts.append(ways.check(site, versions))
            say("asking transformers and PEFT the same, in float32 on both sides")
            contracts += agreement.check(site, versions)
            contracts.append(journey.dies(site, versions))
            contracts.append(journey.removed(site, versions))
    return contracts
