"""The real model server in the loop: vLLM, started as the template says, queried by the deployed Ask code through InvokeEndpoint.

In one rehearsed run of the synthesized project, the real vLLM serves the adapter that the run trained. Its endpoint is kept for a
while and asked what a run never asks; then the rehearsal's own server, transformers and PEFT, is asked the same.
"""

from __future__ import annotations

import shutil

from rehearsal.models.weights import WeightsMissing, ensure_weights
from rehearsal.sagemaker.vllm import environment as vllm_environment
from verification.conformance.contracts import Contract, Setting
from verification.conformance.programs import FOREIGN, CannotRun
from verification.conformance.serving import checks, site

_FOLDER = FOREIGN / "conformance" / "serving"
_ENVIRONMENTS = {vllm_environment.DEPLOYED: "vllm", vllm_environment.NEWEST: "vllm-newest"}  # below .rehearsal/


def run(setting: Setting) -> list[Contract]:
    """Return what the real server showed.

    Raises:
        CannotRun: vLLM or the weights of the rehearsal's model cannot be had on this machine.
    """
    try:
        python = vllm_environment.make(FOREIGN / _ENVIRONMENTS[setting.vllm], setting.vllm)
        weights = ensure_weights(FOREIGN / "weights")
    except (vllm_environment.VllmMissing, WeightsMissing) as reason:
        raise CannotRun(str(reason)) from None
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with site.served(setting, _FOLDER, weights, python) as served:
        contracts = [checks.flags(served), site.deployed_run(served)]
        if served.execution.status == "SUCCEEDED" and setting.plant is None:
            setting.say("asking both models")
            contracts += [checks.route(served), checks.refusals(served), checks.header(served)]
            setting.say("asking transformers and PEFT the same, in float32 on both sides")
            contracts += checks.agreement(served)
            contracts.append(site.removed(served))
    return contracts
