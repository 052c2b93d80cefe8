"""How a model is held on a card while it is trained: whether 16-bit weights fit, and what is given up where they do not.

Preflight and `captune estimate` reckon with this before anything is paid. The module is staged beside the training code, which plans
with it as well. It needs nothing but Python.

In public runs LoRA on a bfloat16 Llama 2 7B peaked at 15 to 17 GB on the 24 GB of an A10G; `needed_bytes` gives 16.0 for sequences of
512 tokens. Of what it adds up, the activations were compared with what torch really keeps for the backward pass.
"""

from dataclasses import dataclass

# A step trains on as many sequences as leave 512 steps, and on four at most. Text by others does not care once a part of the
# adapter is kept: one pass over 79,400 words gained 0.135 nats a token on it in steps of one and 0.138 in steps of four, over 126,100
# words 0.164 and 0.161 (SmolLM2-135M, seed 1, 0.5 and 0.6 of the adapter). The corpus that states
# its facts again, before its other texts, was measured in steps of two only (docs/recipe.md).
FEWEST_STEPS, MOST_SEQUENCES_PER_STEP = 512, 4
# Tokens that go through the model at once. On a CPU 1,024 took 3.4 GiB in all, 512 takes 2.1.
MICRO_TOKENS = {"cpu": 512, "cuda": 2048}
USABLE = 0.92  # of the free memory: the rest is for the allocator's gaps and the libraries' workspaces
# Activations are kept only while all fits into this share; the estimate is not yet compared with a real card.
KEEP = 0.6
FIXED_BYTES = 600_000_000  # libraries, tokenizer, the corpus and what an evaluation holds at once
ADAPTER_BYTES = 4 + 4 + 8 + 2  # per parameter in float32: weight, gradient, AdamW's two moments; and its bfloat16 copy
# Bytes of a weight in 4-bit NormalFloat: half a byte, a scale in 8 bits for 64 of them, a scale of scales for 256 of those.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
BLOCK = 256  # positions whose logits exist at the same time: 33 MB of float32 for Llama 2's 32,000 words
# Per logit of a block: in the weights' 16 bits, in float32, as logsumexp's own copy, and its slope in 16 bits again.
LOGIT_BYTES = 2 + 4 + 4 + 2
WIDTH_BYTES = {"bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Sizes:
    """What of a model and its adapter decides how much memory training takes."""

    parameters: int
    linear_parameters: int  # of the layers that get an adapter; only these are ever quantised
    adapter_parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True)
class Plan:
    """How the model is to be held, and the bytes that this takes of those that are free."""

    quantization: str  # "none" or "nf4"
    dtype_name: str  # of the weights that are not quantised, and of the multiplications, such as "bfloat16"
    micro_batch: int  # sequences at a time
    checkpointing: bool  # activations are computed again in the backward pass instead of being kept
    needed_bytes: int
    free_bytes: int

    @property
    def quantised(self) -> bool:
        """Whether the weights have to be in 4 bits."""
        return self.quantization != "none"

    @property
    def fits(self) -> bool:
        """Whether the free memory is enough."""
        return self.needed_bytes <= USABLE * self.free_bytes


def sequences_per_step(rows: int) -> int:
    """How many sequences a step trains on in a run over this many rows, where the settings leave it to the training job."""
    return max(1, min(MOST_SEQUENCES_PER_STEP, rows // FEWEST_STEPS))


def kept_bytes(sizes: Sizes, tokens: int, *, width_bytes: int = 2) -> int:
    """What one layer keeps of `tokens` for its backward pass.

    Per token, in numbers of the model's width: the inputs of the attention's and the perceptron's first layers and of the output
    projection (3), query, key, value and result of the attention (4), and each norm's input in float32 (2 × 4 bytes) with its output
    before the scale (2). In numbers of the perceptron's width: gate, its activation, up, and their product (4).
    """
    return tokens * (width_bytes * ((3 + 4 + 2) * sizes.hidden + 4 * sizes.intermediate) + 2 * 4 * sizes.hidden)


def needed_bytes(sizes: Sizes, tokens: int, *, quantization: str, dtype_name: str, checkpointing: bool) -> int:
    """Bytes at the peak of a training step with `tokens` at a time."""
    width = WIDTH_BYTES[dtype_name]
    weights: float = sizes.parameters * width
    if quantization == "nf4":
        weights += sizes.linear_parameters * (NF4_BYTES - width)
    layer = kept_bytes(sizes, tokens, width_bytes=width)
    # Kept: every layer's. Computed again: every layer's input, and one layer's in full. The slopes of one layer in either case.
    activations = sizes.layers * (tokens * sizes.hidden * width if checkpointing else layer) + 2 * layer
    logits = LOGIT_BYTES * min(tokens, BLOCK) * sizes.vocabulary
    return int(weights + ADAPTER_BYTES * sizes.adapter_parameters + activations + logits + FIXED_BYTES)


def most_precise(
    sizes: Sizes, free_bytes: int, device: str, *, length: int, sequences: int, in_float32: bool = False
) -> Plan:
    """The most precise way that fits: bfloat16 weights, and on a GPU 4-bit ones where those don't fit; where none fits, the smallest.

    Sequences have `length` tokens, and a step has `sequences`. `in_float32` tries whether float32 fits comfortably first.
    """
    most = max(1, min(MICRO_TOKENS[device] // length, sequences))

    def planned(quantization: str, dtype_name: str, micro_batch: int, checkpointing: bool) -> Plan:
        tokens = micro_batch * length
        needed = needed_bytes(
            sizes, tokens, quantization=quantization, dtype_name=dtype_name, checkpointing=checkpointing
        )
        return Plan(quantization, dtype_name, micro_batch, checkpointing, needed, free_bytes)

    if in_float32 and (found := planned("none", "float32", most, False)).needed_bytes <= KEEP * free_bytes:
        return found
    for quantization in ("none", "nf4") if device == "cuda" else ("none",):
        found = planned(quantization, "bfloat16", most, False)
        if found.needed_bytes <= KEEP * free_bytes:
            return found
        micro_batch = most
        while micro_batch >= 1:
            found = planned(quantization, "bfloat16", micro_batch, True)
            if found.fits:
                return found
            micro_batch //= 2
    return found
