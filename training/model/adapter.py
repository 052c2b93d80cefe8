"""The LoRA adapter: a fresh one, drawn by seed, on every linear layer of a model but the output layer."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

from arguments import Arguments


def attach(causal: Any, arguments: Arguments, name: str, *, narrow: bool) -> Any:
    """The PEFT model of a causal model with a fresh adapter in float32, the same for a seed whatever was drawn before.

    `name` is what the adapter's files call their base model; `narrow` says that activations are in bfloat16.
    """
    lora = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=linear_layers(causal),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(arguments.seed)  # the adapter's initial weights are drawn here
    adapted = get_peft_model(
        causal, lora
    )  # PEFT makes it float32 beside 16-bit weights: small steps would be lost in 16
    lora.base_model_name_or_path = name  # a path inside this container would say nothing to a server
    if narrow:
        spare_float32_copies(adapted)
    adapted.train()
    return adapted


def linear_layers(causal: Any) -> list[str]:
    """The names, such as q_proj, of every linear layer but the output layer, which stays frozen.

    Short names, where PEFT's own "all-linear" writes full paths for small models: servers match short ones.
    """
    output = causal.get_output_embeddings()
    linear = [
        name for name, layer in causal.named_modules() if isinstance(layer, torch.nn.Linear) and layer is not output
    ]
    return sorted({name.rpartition(".")[2] for name in linear})


def spare_float32_copies(adapted: Any) -> None:
    """Lets bfloat16 activations into the adapter's layers as they are.

    PEFT would widen each to the adapter's float32, only for autocast to narrow it again: the same numbers, twice the memory.
    """
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
