"""The base model and its adapter, loaded through transformers and PEFT, attention of rows with their own caches, and the draw of a token."""

import math
import os
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer

from .contract import Sampling

_ADAPTER = "adapter"  # PEFT's name of the only one
_CANDIDATES = 256  # enough tokens to hold top_p of the mass nearly always; else the whole vocabulary is sorted
KEY_VALUE_BYTES = 1 << 30  # for the keys and values of a batch, beside the weights
_TYPES = {"float32": torch.float32, "float": torch.float32, "bfloat16": torch.bfloat16}


def number_format(asked: str, weight_bytes: int) -> torch.dtype:
    """The number format of the weights in memory: 32 bits, or 16 if 32 don't fit, whatever is faster.

    Rounding depends on what else is in the batch. In bfloat16 that changes sampled tokens: of eight answers with equal seeds two were equal, of
    eight in float32 all. Raises ValueError for a format that the rehearsal does not play.
    """
    if asked not in (*_TYPES, "auto"):
        raise ValueError(f"SM_VLLM_DTYPE={asked} is not played here; use one of auto, {', '.join(_TYPES)}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wide = _TYPES.get(asked) is torch.float32 or 2 * weight_bytes < memory / 3
    return torch.float32 if wide else torch.bfloat16


def attend(
    module: Any, query: Tensor, keys: list[Tensor], values: list[Tensor], mask: None, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention of each row to its own tokens, without padding, whose width would change how a sum is rounded.

    `query` is (row, head, token, size), and keys and values of a row (head, token, size), with fewer heads where heads share them.
    """
    found = []
    for one, key, value in zip(query, keys, values, strict=True):
        heads, count, size = one.shape
        before = key.shape[1] - count
        if count == 1:  # heads that share keys ask as several tokens of one head
            one = one.reshape(len(key), -1, size)
        seen = torch.ones(count, key.shape[1], dtype=torch.bool).tril(before) if before and count > 1 else None
        answer = scaled_dot_product_attention(
            one[None],
            key[None],
            value[None],
            seen,
            is_causal=count > 1 and not before,
            scale=scaling,
            enable_gqa=count > 1,
        )
        found.append(answer.reshape(1, heads, count, size))
    return torch.cat(found).transpose(1, 2), None


_ROWS = "captune_rows"
AttentionInterface.register(_ROWS, attend)


class LoadedModel:
    """A causal model in the Hugging Face layout with one LoRA adapter of PEFT's, or none, for rows of which some are adapted.

    `longest` is the context that the model was made for, and `room` how many tokens' keys and values fit `KEY_VALUE_BYTES`.
    """

    def __init__(self, folder: Path, adapter: Path | None, dtype: str = "auto") -> None:
        files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
        kind = number_format(dtype, sum(file.stat().st_size for file in files))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, attn_implementation=_ROWS)
        self.ends = _ends(model.generation_config, model.config)
        self._share: Tensor | None = None  # of the adapter, for each row: 1 or 0
        if adapter is not None:
            model = self._with_adapter(model, adapter)
        # The last positions alone are a view with gaps, and torch multiplies such a view by a copy of the matrix for each row.
        model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        self.model, self.kind = model.eval(), kind
        config = model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._cache = config.num_hidden_layers, 2, heads, size
        # `attend` knows no sliding window: within its width there is none to know.
        window = getattr(config, "sliding_window", None)
        self.longest = min(int(config.max_position_embeddings), int(window or config.max_position_embeddings))
        self.room = KEY_VALUE_BYTES // (math.prod(self._cache) * kind.itemsize)
        self.description = f"{kind} weights".removeprefix("torch.")

    def _with_adapter(self, model: Any, folder: Path) -> Any:
        """The model with the adapter added to its linear layers, in the rows that `adapt` names.

        PEFT divides each layer's rows by their adapters, one layer after the other, which takes three times as long as the layers themselves;
        a share of 0 or 1 leaves the same values.
        """
        wrapped: Any = PeftModel.from_pretrained(model, folder, adapter_name=_ADAPTER, autocast_adapter_dtype=False)
        layers = {name: one for name, one in wrapped.base_model.model.named_modules() if isinstance(one, LoraLayer)}
        bare: Any = wrapped.unload()
        for name, layer in layers.items():
            down, up = (part[_ADAPTER].weight.detach().to(model.dtype) for part in (layer.lora_A, layer.lora_B))
            bare.get_submodule(name).register_forward_hook(self._adding(down, up, float(layer.scaling[_ADAPTER])))
        return bare

    def _adding(self, down: Tensor, up: Tensor, scaling: float) -> Any:
        """A hook that adds the adapter's part to what a layer answers."""

        def add(_: Any, inputs: tuple[Tensor], answer: Tensor) -> Tensor:
            if self._share is None:
                return answer
            return answer + linear(linear(inputs[0], down), up) * (self._share * scaling)

        return add

    def adapt(self, rows: list[bool]) -> None:
        """Say which rows of the next forward pass the adapter answers."""
        self._share = torch.tensor(rows, dtype=self.kind)[:, None, None] if any(rows) else None

    def cache_shape(self, tokens: int) -> tuple[int, ...]:
        """The shape of a row's keys and values: layer, which of both, head, token, size."""
        *before, size = self._cache
        return (*before, tokens, size)


def _ends(*configurations: Any) -> set[int]:
    """The tokens that end a text, from the first configuration that names any."""
    for configuration in configurations:
        ends = getattr(configuration, "eos_token_id", None)
        if ends is not None:
            return set(ends) if isinstance(ends, list) else {int(ends)}
    return set()


class Draw:
    """Chooses the tokens of one answer: the likeliest one at temperature 0, else one that is drawn by the answer's own generator."""

    def __init__(self, sampling: Sampling) -> None:
        self._top_p, self._heat, self._source = sampling.top_p, sampling.temperature, torch.Generator()
        if sampling.seed is None:
            self._source.seed()
        else:
            self._source.manual_seed(sampling.seed % (1 << 63))  # of any integer what a generator takes

    def token(self, logits: Tensor) -> int:
        """The next token, by the logits of all words."""
        if self._heat == 0:
            return int(logits.argmax())
        scaled = logits.float() / self._heat
        whole = torch.logsumexp(scaled, dim=-1)
        values, words = torch.topk(scaled, min(_CANDIDATES, len(scaled)))
        sums = (values - whole).exp().double().cumsum(dim=-1)
        if sums[-1] < self._top_p and len(sums) < len(scaled):
            values, words = torch.sort(scaled, descending=True)
            sums = (values - whole).exp().double().cumsum(dim=-1)
        # The smallest set whose mass reaches top_p, then a draw within it.
        size = min(int(torch.searchsorted(sums, self._top_p)) + 1, len(sums))
        point = float(torch.rand((), generator=self._source, dtype=torch.float64)) * float(sums[size - 1])
        return int(words[min(int(torch.searchsorted(sums[:size], point, right=True)), size - 1)])
