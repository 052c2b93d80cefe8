"""What vLLM's parser is given is what the container of a run is given, expressions included."""

from __future__ import annotations

import json
from pathlib import Path

from verification.conformance.serving.flags import environment_of
from rehearsal.account.assembly import Assembly
from rehearsal.sagemaker.real.programs import arguments_of
from tests.doubles.machines.stacks_bench import synthesize


def test_every_variable_has_a_value_and_no_expression_or_placeholder_is_left() -> None:
    folder = synthesize().folder
    assert Assembly(folder).stacks()
    environment = environment_of(Path(folder))
    assert environment["SM_VLLM_MAX_MODEL_LEN"] == "4096"
    assert not [value for value in environment.values() if value.startswith("{%") or "${" in value]
    words = arguments_of(environment)
    assert words[words.index("--max-model-len") + 1] == "4096"
    assert json.loads(environment["SM_VLLM_LORA_MODULES"])["base_model_name"] == "base"
