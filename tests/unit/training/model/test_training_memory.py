"""The plan of memory: which number format a card gets, and an estimate held against what torch really keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from arguments import Arguments
from failure import TrainingFailure
from model import memory
from model.memory import Shape, estimate, kept_bytes, plan, shape_of

pytestmark = pytest.mark.slow


GIB = 2**30
A10G = 22 * GIB  # what is free of its 24 GB
BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32


def llama(**changes: int) -> Any:
    """A Llama without data; by default Llama 2 7B."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32}
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**{**shape, **heads, **changes}))


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def seven() -> Shape:
    return shape_of(llama(), LINEAR, 16)


@pytest.fixture(scope="module")
def thirteen() -> Shape:
    wide = {"hidden_size": 5120, "intermediate_size": 13_824, "num_hidden_layers": 40, "num_attention_heads": 40}
    return shape_of(llama(**wide, num_key_value_heads=40), LINEAR, 16)


def test_the_shape_of_llama_2_7b_is_counted(seven: Shape) -> None:
    assert seven.parameters == 6_738_415_616
    assert seven.adapter_parameters == 39_976_960
    assert seven.linear_parameters == 6_476_005_376


def test_seven_billion_take_what_public_runs_on_this_card_took(seven: Shape) -> None:
    needed = estimate(seven, 512, quantization="none", dtype=BFLOAT16, checkpointing=True)
    assert 15e9 < needed < 17e9


def test_seven_billion_are_trained_in_16_bits_on_24_gb(seven: Shape) -> None:
    found = plan(seven, Arguments(), "cuda", A10G)
    assert (found.quantization, found.dtype_name, found.checkpointing) == ("none", "bfloat16", True)
    assert found.needed_bytes < 0.92 * found.free_bytes


def test_four_bits_only_where_sixteen_do_not_fit(seven: Shape, thirteen: Shape) -> None:
    assert plan(seven, Arguments(), "cuda", 15 * GIB).quantization == "nf4"  # a T4's 16 GB
    assert plan(thirteen, Arguments(), "cuda", A10G).quantization == "nf4"
    assert plan(thirteen, Arguments(), "cuda", 44 * GIB).quantization == "none"


def test_sequences_at_a_time_are_given_up_before_the_16_bits_are(seven: Shape) -> None:
    many = Arguments(sequences_per_step=8)
    assert plan(seven, many, "cuda", 40 * GIB).micro_batch == 4
    tight = estimate(seven, 1024, quantization="none", dtype=BFLOAT16, checkpointing=True) / memory.USABLE
    found = plan(seven, many, "cuda", int(tight) + 1)
    assert (found.micro_batch, found.quantization) == (2, "none")


def test_activations_are_kept_where_there_is_plenty_of_room(seven: Shape) -> None:
    assert not plan(seven, Arguments(), "cuda", 78 * GIB).checkpointing
    small = shape_of(llama(hidden_size=576, intermediate_size=1536, num_hidden_layers=30), LINEAR, 16)
    assert not plan(small, Arguments(), "cpu", 8 * GIB).checkpointing


def test_a_card_too_small_for_four_bits_is_refused(thirteen: Shape) -> None:
    with pytest.raises(
        TrainingFailure, match="does not fit one GPU: even 4-bit weights need about .* GB, and the GPU has 6.4 GB"
    ) as refusal:
        plan(thirteen, Arguments(), "cuda", 6 * GIB)
    assert "whose GPU has more memory" in refusal.value.mend


def test_a_cpu_is_never_given_four_bits(seven: Shape) -> None:
    found = plan(seven, Arguments(), "cpu", 4 * GIB)
    assert (found.quantization, found.dtype_name) == ("none", "bfloat16")


def test_a_cpu_with_slow_bfloat16_computes_in_float32_where_that_fits(seven: Shape) -> None:
    assert plan(seven, Arguments(), "cpu", 64 * GIB, fast_bfloat16=False).dtype == FLOAT32
    assert plan(seven, Arguments(), "cpu", 48 * GIB, fast_bfloat16=False).dtype == BFLOAT16  # it would fill the machine
    assert plan(seven, Arguments(), "cpu", 64 * GIB).dtype == BFLOAT16


def test_what_a_layer_keeps_is_what_torch_keeps() -> None:
    """Bytes of distinct storages that the backward pass of a layer with LoRA holds, the weights left out."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from model.adapter import spare_float32_copies

    tokens, layers = 128, 3
    shape = LlamaConfig(
        vocab_size=64, hidden_size=256, intermediate_size=688, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=8,
    )  # fmt: skip
    causal = LlamaForCausalLM(shape).to(BFLOAT16)
    adapted = get_peft_model(causal, LoraConfig(r=4, target_modules=LINEAR))
    spare_float32_copies(adapted)
    weights = {value.data_ptr() for value in adapted.parameters()}
    kept: dict[int, int] = {}

    def pack(value: Any) -> Any:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value), torch.autocast("cpu", dtype=BFLOAT16):
        states = causal.get_decoder()(input_ids=torch.arange(tokens)[None] % 64, use_cache=False).last_hidden_state
    assert states.requires_grad
    found = sum(kept.values()) / layers
    assert found <= kept_bytes(shape_of(causal, LINEAR, 4), tokens) <= 1.15 * found
