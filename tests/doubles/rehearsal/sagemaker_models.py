"""A tiny random Llama with an adapter, and what transformers makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS, END = 96, 1
Folders = tuple[Path, Path]  # the base model's and the adapter's


def make_model(base: Path, adapter: Path) -> None:
    """Write a Llama whose words are w0 to w95, and an adapter on all its projections."""
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=END, rope_theta=5000.0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(base)
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=f"w{END}", unk_token="w0").save_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    tuned.save_pretrained(adapter)


class References:
    """Greedy continuations by transformers and PEFT alone, the whole text read anew for each token."""

    def __init__(self, folders: Folders) -> None:
        from peft import PeftModel
        from transformers import LlamaForCausalLM

        base: Any = LlamaForCausalLM.from_pretrained(folders[0], dtype=torch.float32)
        self._tuned = PeftModel.from_pretrained(base, folders[1]).eval()

    def text(self, prompt: list[int], count: int, *, adapted: bool) -> tuple[list[int], bool]:
        """Return at most `count` tokens up to the one that ends the text, and whether there was one."""
        tokens = list(prompt)
        with torch.inference_mode():
            for _ in range(count):
                if adapted:
                    logits = self._tuned(torch.tensor([tokens])).logits
                else:
                    with self._tuned.disable_adapter():
                        logits = self._tuned(torch.tensor([tokens])).logits
                tokens.append(int(logits[0, -1].argmax()))
                if tokens[-1] == END:
                    return tokens[len(prompt) : -1], True
        return tokens[len(prompt) :], False
