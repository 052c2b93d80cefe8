"""What a run asks for, how unlucky it is, and what is deployed while it runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

from common.architecture import Shape
from common.environment import RunSettings
from proof.simulation.aws.definitions import machine
from proof.simulation.aws.instances import REGION

_LLAMA_2_7B = Shape(
    layers=32, hidden=4096, intermediate=11_008, vocabulary=32_000, heads=32, key_value_heads=32, head_size=128
)


@dataclass(frozen=True)
class Wishes:
    """The settings that are deployed for a run, what its input asks, and how unlucky it is (shares from 0 to 1)."""

    training_seconds: int
    deadline_seconds: int
    keep_seconds: int
    instance_types: tuple[str, ...]  # in order of preference
    failing: float
    hanging: float
    extreme: float
    spot: bool = False  # whether it trains on spot instances
    training_instances: int = 1
    pull_seconds: float = 0.0  # how long an image takes, before MaxRuntimeInSeconds counts

    def settings(self) -> str:
        """The settings as the stacks give them to Preflight."""
        # Settings that decide nothing about money are empty.
        empty = {"str": "", "int": 0, "bool": False, "list[str]": []}
        others = {one.name: empty.get(str(one.type)) for one in fields(RunSettings)}
        return json.dumps(
            {
                **others,
                "region": REGION,
                "domain": "medical",
                "base_model": {
                    "id": "llama-2-7b",
                    "name": "Llama 2 7B",
                    "parameters": 6738415616,
                    "weights_uri": "s3://weights/llama-2-7b/",
                    "own_weights": False,
                    "requires_eula": True,
                    "licensor": "Meta",
                    "eula_uri": "s3://eula/llama.txt",
                    "served_tokens": 4096,
                    "has_chat_template": False,
                    "shape": asdict(_LLAMA_2_7B),
                },
                "training_instance_types": self.instance_types,
                "hosting_instance_types": self.instance_types,
                "training_instance_count": self.training_instances,
                "training_image": "image:1",
                "hosting_image": "image:1",
                "lora_rank": 16,
                "epochs": 3,
                "max_training_seconds": self.training_seconds,
                "spot": self.spot,
                "checkpoint_minutes": 10,
                "endpoint_deadline_minutes": self.deadline_seconds // 60,
                "accept_eula": True,
                "samples_per_prompt": 2,
                "seed": 42,
                "sequence_length": 512,
                "learning_rate": "auto",
                "adapter_strength": 0.6,
                "corpus_words": 0,
                "long_records": "split",
                "document_order": "auto",
                "accept_lost_ledger": "",
            }
        )

    def substitutions(self) -> dict[str, str]:
        """What the deployment of these settings puts into the definition, as far as money depends on it."""
        return {
            "DefinitionVersion": self.version(),
            "TrainingInstanceType": self.instance_types[0],
            "HostingInstanceType": self.instance_types[0],
        }

    def version(self) -> str:
        """The version that definition and functions of one deployment share."""
        return hashlib.sha256(f"{self} {_digest(id(machine('fine_tuning')))}".encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def _digest(_: int) -> str:
    """Of the definition as it is read now, made once for each."""
    return hashlib.sha256(json.dumps(machine("fine_tuning"), sort_keys=True).encode()).hexdigest()
