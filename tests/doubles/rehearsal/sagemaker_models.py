"""A tiny random Llama with an adapter, and what transformers makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = 96


def make_model(base: Path, adapter: Path) -> None:
    """Write a Llama whose words are w0 to w95, and an adapter on all its projections."""
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=1, rope_theta=5000.0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(base)
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1", unk_token="w0").save_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    tuned.save_pretrained(adapter)


def reference(folders: tuple[Path, Path], prompt: list[int], count: int, *, adapted: bool) -> list[int]:
    """The greedy continuation by transformers and PEFT, the whole text read anew for each token."""
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(folders[0], dtype=torch.float32)
    if adapted:
        model = PeftModel.from_pretrained(model, folders[1])
    model.eval()
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]
