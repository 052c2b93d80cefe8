"""An account whose settings name a folder of weights of the user's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS

URI, FOLDER = "s3://mine/models/tiny/", "models/tiny/"
CONFIGURATION: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "_name_or_path": "somebody/Tiny-Llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 2048,
}  # fmt: skip
PARAMETERS = 125_248


class Folder(Site):
    """An account whose settings name a folder of weights, with a whole model in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.settings["base_model"] = {
            **SETTINGS["base_model"], "weights_uri": URI, "own_weights": True, "requires_eula": False,
        }  # fmt: skip
        self.s3.objects = {}
        self.put("config.json", json.dumps(CONFIGURATION).encode())
        self.put("tokenizer.json", b"{}")
        self.put("model.safetensors", bytes(2 * PARAMETERS))

    def put(self, name: str, content: bytes) -> None:
        self.s3.objects["mine", FOLDER + name] = content

    def configure(self, **changes: Any) -> None:
        self.put("config.json", json.dumps(CONFIGURATION | changes).encode())

    def remove(self, name: str) -> None:
        del self.s3.objects["mine", FOLDER + name]

    def lay(self, name: str, size: int) -> None:
        """Puts a file there that is too large to be read."""
        self.put(name, b"")
        self.s3.sizes[FOLDER + name] = size
