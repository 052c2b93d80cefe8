"""How the endpoint is asked and what its server must have room for: figures that Ask, the plan and the container share."""

from __future__ import annotations

# Together 32 requests cost a server little more than one of them.
REQUESTS_AT_ONCE = 32  # to one model
MODELS_ASKED_AT_ONCE = 2  # the base model and the fine-tuned one, by two branches of the state machine
MOST_REQUESTS_AT_ONCE = MODELS_ASKED_AT_ONCE * REQUESTS_AT_ONCE

# Prompt and answer together. A longer context of the model is not made room for: its keys and values would fill the card (16 GB for the
# 131,072 tokens of Llama 3.1 8B), and vLLM refuses to start where one request of the longest kind does not fit.
MOST_TOKENS_SERVED = 4096

# vLLM takes no other value of --max-lora-rank (MaxLoRARanks in vllm/config/lora.py, 0.27 to 0.32).
SERVER_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def server_lora_rank(trained: int) -> int:
    """The smallest --max-lora-rank with room for an adapter of this rank. Raises ValueError where vLLM has none."""
    for rank in SERVER_LORA_RANKS:
        if 1 <= trained <= rank:
            return rank
    raise ValueError(f"vLLM serves adapters of rank 1 to {SERVER_LORA_RANKS[-1]}, not {trained}: train a smaller rank")
