"""The base model and its adapter, loaded through transformers and PEFT, and the draw of a token."""

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from .contract import Sampling

ADAPTER, BASE = "adapter", "__base__"  # names of PEFT's: the second one leaves a row unadapted
_CANDIDATES = 256  # enough tokens to hold top_p of the mass nearly always; else the whole vocabulary is sorted
KEY_VALUE_BYTES = 1 << 30  # for the keys and values of a batch, beside the weights
BFLOAT16_WORTH = 1.3  # a CPU must multiply that much faster in bfloat16 before float32's accuracy is given up
_TYPES = {"float32": torch.float32, "float": torch.float32, "bfloat16": torch.bfloat16}


def number_format(asked: str, weight_bytes: int) -> torch.dtype:
    """The number format of the weights in memory: 16 bits where that is faster here or where 32 don't fit.

    SM_VLLM_DTYPE "float32" is taken at its word; "bfloat16" and "auto" stand for weights of 16 bits, which a CPU that is slow in them holds in
    32. Raises ValueError for a format that the rehearsal does not play.
    """
    if asked not in (*_TYPES, "auto"):
        raise ValueError(f"SM_VLLM_DTYPE={asked} is not played here; use one of auto, {', '.join(_TYPES)}")
    if _TYPES.get(asked) is torch.float32:
        return torch.float32
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wide_fits = 2 * weight_bytes < memory / 3
    return torch.float32 if wide_fits and not bfloat16_is_faster() else torch.bfloat16


def bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies in bfloat16 clearly faster than in float32 (it takes a fifth of a second to ask)."""
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(6):  # taking turns, and the best of six, because other work may run on the machine
        for kind in best:
            left, right = torch.ones(512, 576, dtype=kind), torch.ones(576, 1536, dtype=kind)
            begun = time.perf_counter()
            left @ right
            best[kind] = min(best[kind], time.perf_counter() - begun)
    return best[torch.float32] > BFLOAT16_WORTH * best[torch.bfloat16]


class LoadedModel:
    """A causal model in the Hugging Face layout with one LoRA adapter of PEFT's, or none.

    `longest` is the context that the model was made for, and `room` how many tokens' keys and values fit `KEY_VALUE_BYTES`.
    """

    def __init__(self, folder: Path, adapter: Path | None, dtype: str = "auto") -> None:
        files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
        kind = number_format(dtype, sum(file.stat().st_size for file in files))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
        self._ends = _ends(model.generation_config, model.config)
        self._adapted = adapter is not None
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter, adapter_name=ADAPTER, autocast_adapter_dtype=False)
            model = model.to(kind)
        # The last positions alone are a view with gaps, and torch multiplies such a view by a copy of the matrix for each row.
        model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        self._model = model.eval()
        config = model.config
        self.longest = int(config.max_position_embeddings)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.room = KEY_VALUE_BYTES // (2 * config.num_hidden_layers * heads * size * kind.itemsize)
        self.description = f"{kind} weights".removeprefix("torch.")


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
