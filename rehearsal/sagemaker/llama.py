"""A Llama forward pass for answering many short requests at once on a CPU.

It does what a serving engine does and a training library does not: rows of different requests, base and
adapted, go through each matrix together, and prompts enter in the same pass as the next tokens of running
requests. On two cores that is what makes the difference: reading the weights takes most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .kv_cache import Cache

# Which projections share an input and are therefore one matrix here.
_FUSED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, from its config.json."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    norm_epsilon: float
    rope_theta: float
    longest: int

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """Read config.json.

        Raises:
            ValueError: the model is not a plain Llama.
        """
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        plain = rope.get("rope_type", rope.get("type", "default")) == "default"
        biased = config.get("attention_bias") or config.get("mlp_bias")
        if config.get("model_type") != "llama" or not plain or biased:
            raise ValueError("the rehearsal serves models of the plain Llama architecture only")
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            norm_epsilon=config["rms_norm_eps"],
            rope_theta=rope.get("rope_theta", config.get("rope_theta", 10000.0)),
            longest=config["max_position_embeddings"],
        )


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, float32 tensor) of every weight file in a folder, one tensor at a time in memory.

    Raises:
        FileNotFoundError: there is none.
    """
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is not a dict
                yield name, opened.get_tensor(name).float()
    if files:
        return
    files = sorted(folder.glob("*.bin"))
    if not files:
        raise FileNotFoundError(f"{folder} holds neither *.safetensors nor *.bin")
    for file in files:
        for name, tensor in torch.load(file, map_location="cpu", weights_only=True, mmap=True).items():
            yield name, tensor.float()


class Matrix:
    """One or more projections of the same input as one matrix, and an adapter's share of them.

    The weights lie transposed: with a handful of rows that is a fifth to a third faster here. The adapter's
    first factor is further columns of the same matrix, so that it costs no pass of its own.
    """

    def __init__(self, weights: Sequence[Tensor], factors: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        self.width = sum(weight.shape[0] for weight in weights)
        columns = [weight.T for weight in weights]
        self.second: Tensor | None = None
        pairs = [pair for pair in factors if pair is not None]
        if pairs:
            self.second = torch.zeros(sum(first.shape[0] for first, _ in pairs), self.width)
            row = column = 0
            for weight, pair in zip(weights, factors, strict=True):
                if pair is not None:
                    first, second = pair
                    columns.append(first.T)
                    self.second[row : row + first.shape[0], column : column + weight.shape[0]] = second.T
                    row += first.shape[0]
                column += weight.shape[0]
        self.matrix = torch.cat(columns, dim=1).contiguous()

    def __call__(self, rows: Tensor, adapted: Tensor | None) -> Tensor:
        """Apply to rows; `adapted` is 1 for the rows that the adapter changes and 0 for the others."""
        if self.second is None:
            return rows @ self.matrix
        if adapted is None:
            return rows @ self.matrix[:, : self.width]
        product = rows @ self.matrix
        return torch.addmm(product[:, : self.width], product[:, self.width :] * adapted, self.second)


def read_adapter(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Read a LoRA adapter as PEFT writes it: projection name to (first factor, scaled second factor).

    Raises:
        ValueError: the adapter changes something that this server cannot serve.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        raise ValueError("the adapter is not a plain LoRA adapter")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        raise ValueError("the adapter has a rank or alpha of its own for some layers, which is not served")
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_tensors(folder):
        inner = name.removeprefix("base_model.model.").removesuffix(".weight")
        place, _, half = inner.rpartition(".lora_")
        if half not in ("A", "B"):
            raise ValueError(f"the adapter changes {inner}, which is not served")
        halves.setdefault(place, {})[half] = tensor
    return {place: (pair["A"], pair["B"] * scale) for place, pair in halves.items()}


class Llama:
    """A base model and at most one LoRA adapter, in float32."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        self.shape = shape = Shape.read(folder)
        factors = read_adapter(adapter) if adapter else {}
        tensors = dict(read_tensors(folder))
        self.embedding = tensors.pop("model.embed_tokens.weight")
        head = tensors.pop("lm_head.weight", self.embedding)
        self.head = head.T.contiguous()
        self.norm = tensors.pop("model.norm.weight")
        self.norms: list[tuple[Tensor, Tensor]] = []
        self.matrices: list[dict[str, Matrix]] = []
        for number in range(shape.layers):
            at = f"model.layers.{number}."
            first, second = (f"{at}{name}_layernorm.weight" for name in ("input", "post_attention"))
            self.norms.append((tensors.pop(first), tensors.pop(second)))
            self.matrices.append(
                {
                    fused: Matrix(
                        [tensors.pop(f"{at}{part}.weight") for part in parts],
                        [factors.pop(f"{at}{part}", None) for part in parts],
                    )
                    for fused, parts in _FUSED.items()
                }
            )
        if factors:
            raise ValueError(f"the adapter changes {next(iter(factors))}, which the base model does not have")
        even = torch.arange(0, shape.head_size, 2) / shape.head_size
        angles = torch.outer(torch.arange(shape.longest), 1.0 / shape.rope_theta**even)
        self.cosine = torch.cat((angles, angles), -1).cos()[:, None]
        self.sine = torch.cat((angles, angles), -1).sin()[:, None]

    def _turned(self, vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        half = self.shape.head_size // 2
        swapped = torch.cat((-vectors[..., half:], vectors[..., :half]), dim=-1)
        return vectors * cosine + swapped * sine

    @torch.inference_mode()
    def forward(self, cache: Cache, running: Tensor, prompts: Sequence[Tensor], adapted: Tensor | None) -> Tensor:
        """Take running requests one token further and read new prompts, all in one pass.

        Args:
            cache: what has been read; slots 0 to n-1 are the running requests, the prompts get the next ones.
            running: the last token of each running request.
            prompts: the tokens of each new request.
            adapted: a column with 1 for each row of the adapted model; rows are the running tokens, then all
                prompt tokens one after the other. None if all are of the base model.

        Returns:
            Logits for the next token, one row for each running request and then for each new one.
        """
        shape, count = self.shape, len(running)
        tokens = torch.cat((running, *prompts))
        places = cache.extend(count, [len(prompt) for prompt in prompts])
        cosine, sine = self.cosine[places.positions], self.sine[places.positions]
        hidden = F.embedding(tokens, self.embedding)
        heads, kv = shape.heads, shape.kv_heads
        for number, (matrices, norms) in enumerate(zip(self.matrices, self.norms, strict=True)):
            rows = F.rms_norm(hidden, (shape.hidden,), norms[0], shape.norm_epsilon)
            mixed = matrices["qkv"](rows, adapted).view(len(tokens), heads + 2 * kv, shape.head_size)
            turned = self._turned(mixed[:, : heads + kv], cosine, sine)
            query, key, value = turned[:, :heads], turned[:, heads:], mixed[:, heads + kv :]
            seen = cache.attend(number, places, query, key, value)
            hidden = hidden + matrices["out"](seen.reshape(len(tokens), heads * shape.head_size), adapted)
            rows = F.rms_norm(hidden, (shape.hidden,), norms[1], shape.norm_epsilon)
            gate, up = matrices["up"](rows, adapted).chunk(2, dim=-1)
            hidden = hidden + matrices["down"](F.silu(gate) * up, adapted)
        last = F.rms_norm(hidden[places.last_rows], (shape.hidden,), self.norm, shape.norm_epsilon)
        return last @ self.head
