"""The files of a folder of weights that say what model it holds: what Preflight reads of it, and may read; and the weights."""

from __future__ import annotations

CONFIGURATION = "config.json"
INDEX = "model.safetensors.index.json"
UNDIVIDED = "model.safetensors"  # what transformers loads without an index
TOKENIZER = "tokenizer.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"
READ_BY_PREFLIGHT = (CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS)
