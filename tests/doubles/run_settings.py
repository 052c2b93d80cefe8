"""The settings that a deployed Preflight has."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "region": "us-east-1", "domain": "medical", "training_instance_types": ["ml.g5.2xlarge"], "hosting_instance_types": ["ml.g5.2xlarge"],
    "training_instance_count": 1,
    "training_image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/training:1", "hosting_image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:2",
    "lora_rank": 16,
    "epochs": 3, "max_training_seconds": 7200, "spot": False, "checkpoint_minutes": 10, "endpoint_deadline_minutes": 60, "accept_eula": True, "samples_per_prompt": 2, "seed": 42,
    "sequence_length": 512,
    "learning_rate": "auto",
    "adapter_strength": 0.6,
    "corpus_words": 0,
    "long_records": "split",
    "document_order": "auto",
    "accept_lost_ledger": "",
    "base_model": {
        "id": "llama-2-7b", "name": "Llama 2 7B", "parameters": 6738415616, "weights_uri": "s3://gated/llama/", "own_weights": False,
        "requires_eula": True, "licensor": "Meta", "eula_uri": "s3://public/eula/llamaEula.txt", "served_tokens": 4096,
        "has_chat_template": False,
        "shape": {
            "layers": 32, "hidden": 4096, "intermediate": 11008, "vocabulary": 32000, "heads": 32, "key_value_heads": 32, "head_size": 128,
            "tied_embeddings": False, "biased_attention": False,
        },
    },
}  # fmt: skip
