"""The base model with its LoRA adapter: loaded once, asked for hidden states, saved as an adapter."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from arguments import Arguments
from failure import TrainingFailure
from loss import token_losses
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from progress import say
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from weights import ModelFolder

BFLOAT16_WORTH = 1.3  # a CPU must multiply that much faster in bfloat16 before we give up float32's accuracy
AGREEMENT = 0.05  # nats by which our loss may differ from the model's own: rounding in bfloat16 stays below


@dataclasses.dataclass
class Network:
    """A causal language model with an adapter on every linear layer but the output layer."""

    adapted: Any  # the PEFT model
    causal: Any  # the transformers model inside it
    tokenizer: Any
    device: torch.device
    autocast: bool
    quantization: str
    parameters: int
    name: str

    @property
    def output_matrix(self) -> torch.Tensor:
        """The frozen (words, width) matrix that turns hidden states into logits."""
        matrix: torch.Tensor = self.causal.get_output_embeddings().weight
        return matrix

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's parameters by name."""
        return {name: value for name, value in self.adapted.named_parameters() if value.requires_grad}

    @property
    def precision(self) -> str:
        """The number format of the multiplications."""
        return "bfloat16" if self.autocast else "float32"

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """Last hidden states (batch × length, width) of token ids (batch, length).

        No attention mask: padding stands only at the end, where causal attention never lets it be seen.
        """
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            states = self.causal.get_decoder()(input_ids=inputs.to(self.device), use_cache=False).last_hidden_state
        return states.reshape(-1, states.shape[-1])

    @contextlib.contextmanager
    def scoring(self, *, tuned: bool) -> Iterator[None]:
        """Dropout and gradients off, and the adapter on only where `tuned`."""
        self.adapted.eval()
        with torch.no_grad(), contextlib.nullcontext() if tuned else self.adapted.disable_adapter():
            yield
        self.adapted.train()

    def adapter(self) -> dict[str, torch.Tensor]:
        """The adapter's weights as PEFT files name them, on the CPU."""
        state = get_peft_model_state_dict(self.adapted, save_embedding_layers=False)
        return {key: value.detach().cpu().contiguous() for key, value in state.items()}

    def restore(self, adapter: dict[str, torch.Tensor]) -> None:
        """Puts back what `adapter()` returned."""
        set_peft_model_state_dict(self.adapted, adapter)


def load_network(folder: ModelFolder, arguments: Arguments) -> Network:
    """Loads the model (4-bit NF4 on a GPU, float32 on a CPU) and attaches a fresh adapter.

    Raises TrainingFailure for a model that is not causal or does not load.
    """
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    torch.manual_seed(arguments.seed)  # the adapter's initial weights are drawn here
    try:
        configuration = AutoConfig.from_pretrained(folder.path)
        with torch.device(
            "meta"
        ):  # quantised tensors hide their size, so parameters are counted on a model without data
            parameters = sum(value.numel() for value in AutoModelForCausalLM.from_config(configuration).parameters())
        tokenizer = AutoTokenizer.from_pretrained(folder.path)
        if device.type == "cuda":
            causal, quantization = _load_quantised(folder.path, device), "nf4"
        else:
            causal = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
            quantization = "none"
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise TrainingFailure(
            f"The model in the model channel does not load: {' '.join(str(error).split())[:500]}.",
            "It must be a causal language model that this container's transformers knows, with all its files whole.",
        ) from error
    causal.config.use_cache = False
    lora = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=arguments.lora_dropout,
        target_modules=linear_layers(causal),
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(causal, lora)
    if device.type == "cuda":  # activations are computed again in the backward pass: 7B then fits 24 GB with room
        causal.gradient_checkpointing_enable({"use_reentrant": False})
    lora.base_model_name_or_path = folder.name  # a path inside this container would say nothing to a server
    autocast = device.type == "cuda" or bfloat16_is_faster()
    network = Network(adapted, causal, tokenizer, device, autocast, quantization, parameters, folder.name)
    _check_agreement(network)
    adapted.train()
    return network


def linear_layers(causal: Any) -> list[str]:
    """The names, such as q_proj, of every linear layer but the output layer, which stays frozen.

    Short names, where PEFT's own "all-linear" writes full paths for small models: servers match short ones.
    """
    output = causal.get_output_embeddings()
    linear = [
        name for name, layer in causal.named_modules() if isinstance(layer, torch.nn.Linear) and layer is not output
    ]
    return sorted({name.rpartition(".")[2] for name in linear})


def _load_quantised(path: Path, device: torch.device) -> Any:
    """The model in 4-bit NormalFloat with doubly quantised scales, computing in bfloat16 (float16 is unstable at 7B)."""
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise TrainingFailure(
            f"The GPU {torch.cuda.get_device_name(device)} has no bfloat16.",
            "Choose a training instance with an A10G, L4, A100 or newer, such as ml.g5.2xlarge.",
        )
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        path, quantization_config=quantisation, dtype=torch.bfloat16, device_map={"": device.index}
    )


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


def _check_agreement(network: Network) -> None:
    """Compares our loss with the model's own on a few tokens.

    Raises TrainingFailure for an architecture that scales or caps its logits, which our loss would get wrong.
    """
    tokens = torch.arange(5, 22, device=network.device).clamp_max(network.causal.config.vocab_size - 1)[None]
    with network.scoring(tuned=False):
        ours = token_losses(network.hidden(tokens[:, :-1]), network.output_matrix, tokens[0, 1:]).mean().item()
        with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=network.autocast):
            logits = network.causal(input_ids=tokens[:, :-1]).logits.float()
        theirs = torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:]).item()
    if not math.isfinite(theirs):
        raise TrainingFailure(
            "The base model's loss is not a finite number.", "Check that the weights in the model channel are whole."
        )
    if not abs(ours - theirs) <= AGREEMENT * max(1.0, abs(theirs)):
        raise TrainingFailure(
            f"The model's own loss is {theirs:.4f} where this script computes {ours:.4f}.",
            "Use a Llama-like architecture: one that changes its logits after the output layer is not supported.",
        )


def describe_environment(network: Network) -> dict[str, str]:
    """Device and versions, for metrics.json."""
    import platform

    import peft
    import transformers

    on_gpu = network.device.type == "cuda"
    return {
        "device": network.device.type,
        "device_name": torch.cuda.get_device_name(network.device) if on_gpu else _processor_name(),
        "precision": network.precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }


def _processor_name() -> str:
    import os
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def announce(network: Network) -> None:
    """One line on what was loaded."""
    trainable = sum(value.numel() for value in network.trainable.values())
    say("model", parameters=network.parameters, trainable=trainable, precision=network.precision)
