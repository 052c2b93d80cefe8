"""The base model and its adapter in one process, answering mixed batches through transformers and PEFT."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessor, StoppingCriteria

from .contract import Sampling
from .queueing import Request

ADAPTER, BASE = "adapter", "__base__"  # names of PEFT's: the second one leaves a row unadapted
_CANDIDATES = 256  # enough tokens to hold top_p of the mass nearly always; else the whole vocabulary is sorted
KEY_VALUE_BYTES = 1 << 30  # for the keys and values of a batch, beside the weights
BFLOAT16_WORTH = 1.3  # a CPU must multiply that much faster in bfloat16 before float32's accuracy is given up
_TYPES = {"float32": torch.float32, "float": torch.float32, "bfloat16": torch.bfloat16}


def number_format(asked: str, weight_bytes: int) -> torch.dtype:
    """Return the number format of the weights in memory: 16 bits where that is faster here or where 32 don't fit.

    Args:
        asked: SM_VLLM_DTYPE: "float32" is taken at its word; "bfloat16" and "auto" stand for weights of 16 bits, which a CPU
            that is slow in them holds in 32.
        weight_bytes: size of the weight files, 16 bits a weight.

    Raises:
        ValueError: a format that the rehearsal does not play.
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


class Generator:
    """A causal model with one adapter, or none.

    Args:
        folder: the model with its tokenizer, in the Hugging Face layout.
        adapter: the folder of a PEFT LoRA adapter.
        dtype: see `number_format`.

    Attributes:
        longest: tokens of context that the model was made for.
        room: tokens whose keys and values fit `KEY_VALUE_BYTES`.
    """

    def __init__(self, folder: Path, adapter: Path | None, dtype: str = "auto") -> None:
        files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
        kind = number_format(dtype, sum(file.stat().st_size for file in files))
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
        self._ends = _ends(model.generation_config, model.config)
        # Nothing of the folder's own settings counts: a Llama's would sample where a greedy answer is asked for.
        model.generation_config = GenerationConfig()
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

    @torch.inference_mode()
    def answer(self, batch: list[Request]) -> None:
        """Fill in the tokens of each request. Base rows and adapted rows, greedy and sampled ones go together."""
        longest = max(len(request.prompt) for request in batch)
        padding = min(self._ends, default=0)
        prompts = torch.full((len(batch), longest), padding)
        seen = torch.zeros_like(prompts)
        for row, request in enumerate(batch):
            prompts[row, longest - len(request.prompt) :] = torch.tensor(request.prompt)
            seen[row, longest - len(request.prompt) :] = 1
        settings = GenerationConfig(
            max_new_tokens=max(request.max_tokens for request in batch),
            do_sample=False,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=padding,
        )
        adapters = {"adapter_names": [ADAPTER if request.adapted else BASE for request in batch]}
        whole: Tensor = self._model.generate(
            input_ids=prompts,
            attention_mask=seen,
            generation_config=settings,
            logits_processor=[Draws([request.sampling for request in batch])],
            stopping_criteria=[_Lengths(longest, [request.max_tokens for request in batch])],
            **(adapters if self._adapted else {}),
        )
        for request, row in zip(batch, whole[:, longest:].tolist(), strict=True):
            tokens = row[: request.max_tokens]
            end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
            request.tokens, request.ended = tokens[:end], end is not None


class _Lengths(StoppingCriteria):
    """Ends each row at its own number of tokens."""

    def __init__(self, prompt: int, lengths: list[int]) -> None:
        self._ends = torch.tensor(lengths) + prompt

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Any:
        """Whether each row is long enough."""
        return input_ids.shape[1] >= self._ends


def _ends(*configurations: Any) -> set[int]:
    """The tokens that end a text, from the first configuration that names any."""
    for configuration in configurations:
        ends = getattr(configuration, "eos_token_id", None)
        if ends is not None:
            return set(ends) if isinstance(ends, list) else {int(ends)}
    return set()


class Draws(LogitsProcessor):
    """Leaves greedy rows as they are and, of each other row, only the token that was drawn.

    With it `generate` may search greedily over greedy and sampled rows together. Each row draws from a generator of its
    own, so that what else is in the batch has no part in its draws.
    """

    def __init__(self, rows: Sequence[Sampling]) -> None:
        self._drawn = [number for number, row in enumerate(rows) if row.temperature > 0]
        self._top_p = [rows[number].top_p for number in self._drawn]
        self._heat = torch.tensor([[rows[number].temperature] for number in self._drawn])
        self._sources = [_source(rows[number].seed) for number in self._drawn]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores (rows, words) with all but the drawn token of each sampled row ruled out."""
        if not self._drawn:
            return scores
        scaled = scores[self._drawn].float() / self._heat
        whole = torch.logsumexp(scaled, dim=-1, keepdim=True)
        values, words = torch.topk(scaled, min(_CANDIDATES, scaled.shape[1]), dim=-1)
        cumulated = (values - whole).exp().double().cumsum(dim=-1)
        scores = scores.clone()
        for row, (number, top_p, source) in enumerate(zip(self._drawn, self._top_p, self._sources, strict=True)):
            sums, names = cumulated[row], words[row]
            if sums[-1] < top_p and len(sums) < scaled.shape[1]:
                ordered, names = torch.sort(scaled[row], descending=True)
                sums = (ordered - whole[row]).exp().double().cumsum(dim=-1)
            # The smallest set whose mass reaches top_p, then a draw within it.
            size = min(int(torch.searchsorted(sums, top_p)) + 1, len(sums))
            point = float(torch.rand((), generator=source, dtype=torch.float64)) * float(sums[size - 1])
            chosen = names[min(int(torch.searchsorted(sums[:size], point, right=True)), size - 1)]
            scores[number] = -torch.inf
            scores[number, chosen] = 0.0
        return scores


def _source(seed: int | None) -> torch.Generator:
    source = torch.Generator()
    if seed is None:
        source.seed()
    else:
        source.manual_seed(seed % (1 << 63))  # of any integer what a generator takes
    return source
