"""Where the model is computed, and whether that works: reported before 13 GB of weights are read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import launching
from driver import driver_version, versions
from failure import TrainingFailure

# Set to "cpu" where a machine without a GPU plays ml.g5.2xlarge on purpose. A job on AWS does not set it.
PERMISSION = "CAPTUNE_ACCELERATOR"
ACCELERATED = re.compile(r"ml\.(g|p|trn|inf)\d")  # SageMaker's families of instances with an accelerator
# NVIDIA's table of least drivers: 525 for CUDA 12, 580 for CUDA 13 (CUDA toolkit release notes).
ANOTHER_HOST = (
    "Start again (another host may serve it). If it comes back, choose another training_instance_type; CUDA 13 needs driver "
    "580 or newer, CUDA 12 driver 525."
)


def choose_device(root: Path, environment: Mapping[str, str] = os.environ) -> torch.device:
    """This process's GPU, which is the first where it is alone; or the CPU where none is promised.

    Raises TrainingFailure with the versions on an instance whose GPU torch cannot use: on its CPU, 7 billion parameters
    would train, and bill, until the time is over.
    """
    allowed = environment.get(PERMISSION) == "cpu"
    if torch.cuda.is_available():
        device = torch.device("cuda", int(environment.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            if allowed:  # an older card in a user's own machine
                return torch.device("cpu")
            raise TrainingFailure(
                f"The GPU {torch.cuda.get_device_name(device)} has no bfloat16 ({versions()}).",
                "Choose a training instance with an A10G, L4, A100 or newer, such as ml.g5.2xlarge.",
            )
        return device
    kind = str(launching.read_resources(root).get("current_instance_type", ""))  # such as "ml.g5.2xlarge"
    if ACCELERATED.match(kind) and not allowed:
        raise TrainingFailure(f"The {kind} should have a GPU, but {_why_no_gpu()} ({versions()}).", ANOTHER_HOST)
    return torch.device("cpu")


def _why_no_gpu() -> str:
    """What torch says when it is made to look for one."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch finds none: {' '.join(str(error).split())[:300].rstrip('.')}"
    return "torch finds none" if driver_version() else "it has no driver"


def self_test(device: torch.device) -> None:
    """One transformer layer with LoRA, forward and backward through the same calls as the training.

    Raises TrainingFailure with the versions when that fails, or when a gradient is zero or not finite. Takes about a second.
    """
    try:
        problem = _problem(tiny_layer().to(device), device)
    except (RuntimeError, OSError) as error:  # torch's CUDA errors, and libraries that cannot be loaded
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    if problem:
        raise TrainingFailure(f"The self-test on the {device.type} failed ({versions()}): {problem}.", ANOTHER_HOST)


def tiny_layer() -> Any:
    """A Llama of one layer in bfloat16 with random LoRA matrices: both get gradients, which PEFT's zeros would prevent."""
    shape = LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    lora = LoraConfig(r=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):  # the run's own random numbers stay as they were seeded
        torch.manual_seed(0)
        return get_peft_model(LlamaForCausalLM(shape).to(torch.bfloat16), lora)


def _problem(adapted: Any, device: torch.device) -> str | None:
    """What is wrong with loss or gradients, or None."""
    causal = adapted.get_base_model()
    tokens = (torch.arange(48, device=device) * 7 % 256)[None]
    with torch.autocast(device.type, dtype=torch.bfloat16):
        loss = causal(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    if not math.isfinite(loss.item()):
        return f"the loss is {loss.item()}"
    for name, value in adapted.named_parameters():
        if value.requires_grad:
            norm = 0.0 if value.grad is None else value.grad.float().norm().item()
            if not math.isfinite(norm) or norm == 0.0:
                return f"the gradient of {name} has the norm {norm}"
    return None
