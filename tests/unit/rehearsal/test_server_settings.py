"""What the rehearsal's model server takes from its container's environment, and what it refuses as vLLM would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rehearsal.sagemaker.real.server.contract import Settings

FOLDER = Path("/opt/ml/model")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter's folder, of rank 32."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 32}))
    return tmp_path


@pytest.mark.parametrize("as_json", [True, False])
def test_an_adapter_is_named_as_json_or_as_name_and_path(adapter: Path, as_json: bool) -> None:
    module = json.dumps({"name": "medical", "path": str(adapter), "base_model_name": "base"})
    environment = {
        "SM_VLLM_SERVED_MODEL_NAME": "base",
        "SM_VLLM_ENABLE_LORA": "true",
        "SM_VLLM_MAX_LORA_RANK": "32",
        "SM_VLLM_LORA_MODULES": module if as_json else f"medical={adapter}",
        "SM_VLLM_MAX_MODEL_LEN": "4096",
        "SM_VLLM_MAX_NUM_SEQS": "8",
        "SM_VLLM_DTYPE": "bfloat16",
    }
    settings = Settings.of(environment, FOLDER)
    assert settings == Settings("base", "medical", adapter, 4096, 8, "bfloat16")
    assert settings.served == ("base", "medical")


@pytest.mark.parametrize(
    ("enabled", "message"),
    [
        ({}, "SM_VLLM_LORA_MODULES needs SM_VLLM_ENABLE_LORA=true"),
        ({"SM_VLLM_ENABLE_LORA": "true"}, "LoRA rank 32 is greater than max_lora_rank 16"),
    ],
)
def test_an_adapter_that_vllm_would_not_load_is_refused(adapter: Path, enabled: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.of({"SM_VLLM_LORA_MODULES": f"medical={adapter}", **enabled}, FOLDER)
