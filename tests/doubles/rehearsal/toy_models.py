"""Every architecture of the catalogue with a few thousand weights drawn by the seed of the run, a tokenizer of its kind, an adapter, and their answers."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2ForCausalLM,
    set_seed,
)

from tests import surroundings

Folders = tuple[Path, Path]  # the base model's and the adapter's

_VOCABULARY = "the cell gene virus protein binds copies breaks repairs one two of in and a strand"
_SMALL: Mapping[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256,
}  # fmt: skip
# The scaling of Llama 3.1 (factor 8) and 3.2 (factor 32), with a context that is as much shorter as the toy is.
_LLAMA_3_ROPE: Mapping[str, Any] = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def prose(number: int, words: int) -> str:
    """Return sentences of sixteen words that differ from document to document and can be learned by a few thousand weights."""
    known = _VOCABULARY.split()
    return " ".join(known[(number * 7 + place * place) % len(known)] for place in range(words)) + "."


def _trained(tokenizer: Tokenizer, special: list[str], alphabet: list[str]) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([prose(number, 200) for number in range(5)], trainer)
    return tokenizer


def _begins_with(tokenizer: Tokenizer, start: str) -> None:
    """A start token before every text, as the tokenizers of Meta and Mistral put it."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )


def sentence_pieces() -> PreTrainedTokenizerFast:
    """Words with a mark for the space before them and bytes for what is unknown, no padding token: Llama 2 and Mistral."""
    plain = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    plain.pre_tokenizer = pre_tokenizers.Metaspace()
    plain.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    _trained(plain, ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))], [])
    _begins_with(plain, "<s>")
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _bytes(special: list[str]) -> Tokenizer:
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    return _trained(plain, special, pre_tokenizers.ByteLevel.alphabet())


def bytes_with_a_start() -> PreTrainedTokenizerFast:
    """Pairs of bytes, with a start token before every text: Llama 3."""
    start, end = "<|begin_of_text|>", "<|end_of_text|>"
    plain = _bytes([start, end])
    _begins_with(plain, start)
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token=start, eos_token=end)


def bytes_without_a_start() -> PreTrainedTokenizerFast:
    """Pairs of bytes, and one token that ends a text and pads it, none that begins it: Qwen 2."""
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=_bytes([end]), eos_token=end, pad_token=end)


@dataclass(frozen=True)
class Family:
    """How the toy of a family is made, and how the models of the catalogue that are of its kind begin."""

    begins: str
    causal: Any
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    sizes: Mapping[str, Any]

    def make(self, folder: Path, spread: float = 0.12) -> None:
        """Writes the model folder in the Hugging Face layout, its weights drawn with a standard deviation of `spread`.

        Wider ones make models that are sure of what they never learned: of 0.2, one in forty lost more than a job takes for guessing.
        """
        tokenizer = self.tokenizer()
        set_seed(surroundings.weights_seed)
        configuration = self.causal.config_class(
            vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            initializer_range=spread, **{**_SMALL, **self.sizes},
        )  # fmt: skip
        self.causal(configuration).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "_name_or_path": "Tiny"}))


_GROUPED: Mapping[str, Any] = {"num_key_value_heads": 2}
_LLAMA_3_1: Mapping[str, Any] = {**_GROUPED, "rope_parameters": dict(_LLAMA_3_ROPE)}
_LLAMA_3_2: Mapping[str, Any] = {
    **_GROUPED, "head_dim": 16, "tie_word_embeddings": True, "rope_parameters": {**_LLAMA_3_ROPE, "factor": 32.0},
}  # fmt: skip
FAMILIES: dict[str, Family] = {
    "Llama 2": Family("llama-2-", LlamaForCausalLM, sentence_pieces, {}),
    "Llama 3.1": Family("llama-3.1-", LlamaForCausalLM, bytes_with_a_start, _LLAMA_3_1),
    "Llama 3.2": Family("llama-3.2-", LlamaForCausalLM, bytes_with_a_start, _LLAMA_3_2),
    "Mistral": Family("mistral-", MistralForCausalLM, sentence_pieces, {**_GROUPED, "sliding_window": None}),
    "Qwen 2.5": Family("qwen-2.5-", Qwen2ForCausalLM, bytes_without_a_start, _GROUPED),
}


def tiny_layer(dropout: float = 0.0) -> Any:
    """A Llama of one layer in bfloat16 with random LoRA matrices: both get gradients, which PEFT's zeros would prevent.

    It is always the same, and the test's own random numbers stay as they were.
    """
    shape = LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    targets = ["q_proj", "v_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_dropout=dropout, target_modules=targets, init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return get_peft_model(LlamaForCausalLM(shape).to(torch.bfloat16), lora)


def make_adapter(base: Path, adapter: Path) -> None:
    set_seed(surroundings.weights_seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    tuned.save_pretrained(adapter)


def endless_copy(base: Path, folder: Path) -> Path:
    """The same model in another folder, none of whose tokens ends a text: its answers are as long as they may be."""
    for file in base.iterdir():
        if file.name not in ("config.json", "generation_config.json"):
            (folder / file.name).symlink_to(file)
    configuration = {**json.loads((base / "config.json").read_text("utf-8")), "eos_token_id": None}
    (folder / "config.json").write_text(json.dumps(configuration))
    return folder


class References:
    """Greedy continuations by transformers and PEFT alone, the whole text read anew for each token."""

    def __init__(self, folders: Folders) -> None:
        base: Any = AutoModelForCausalLM.from_pretrained(folders[0], dtype=torch.float32)
        self.end = base.config.eos_token_id
        self.tuned = PeftModel.from_pretrained(base, folders[1]).eval()

    def tokens(self, prompt: list[int], count: int, *, adapted: bool) -> tuple[list[int], bool]:
        """Return at most `count` tokens up to the one that ends the text, and whether there was one."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.logits(tokens, adapted=adapted)[-1].argmax()))
            if tokens[-1] == self.end:
                return tokens[len(prompt) : -1], True
        return tokens[len(prompt) :], False

    def logits(self, tokens: list[int], *, adapted: bool) -> torch.Tensor:
        with torch.inference_mode(), nullcontext() if adapted else self.tuned.disable_adapter():
            found: torch.Tensor = self.tuned(torch.tensor([tokens])).logits[0]
        return found
