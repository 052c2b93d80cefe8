"""The base model with its LoRA adapter: on which device, its memory planned, loaded once, asked for logits, saved as an adapter."""

import contextlib
import dataclasses
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import peft
import psutil
import torch
import transformers
import trl
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

import launching
from arguments import Arguments
from common import memory
from common.memory import MOST_SEQUENCES_PER_STEP, Sizes
from driver import versions
from failure import TrainingFailure
from inputs import ModelFolder
from model.loss import OutputLayer
from model.precision import bfloat16_is_faster
from processes import ALONE, Group
from progress import say

SERVED = torch.bfloat16  # vLLM loads an adapter in the number format of its base model
# The speed of a CPU is measured by so many tokens, twice: other programs disturb it for moments.
WARM_UP_TOKENS, MEASURED_TOKENS = 16, 256
# Set to "cpu" where a machine without a GPU plays ml.g5.2xlarge on purpose. A job on AWS does not set it.
PERMISSION = "CAPTUNE_ACCELERATOR"
ACCELERATED = re.compile(r"ml\.(g|p|trn|inf)\d")  # SageMaker's families of instances with an accelerator
# NVIDIA's table of least drivers: 525 for CUDA 12, 580 for CUDA 13 (CUDA toolkit release notes).
ANOTHER_HOST = (
    "Start a new execution, which may get another host. If the error returns, choose another training_instance_type; CUDA 13 needs driver "
    "580 or newer, CUDA 12 driver 525."
)


def choose_device(root: Path, environment: Mapping[str, str] = os.environ) -> torch.device:
    """This process's GPU, which is the first where it is alone; or the CPU where none is promised.

    Raises TrainingFailure with the versions on an instance whose GPU torch cannot use: on its CPU, 7 billion parameters
    would train, and bill, until the time is over.
    """
    allowed = environment.get(PERMISSION) == "cpu"
    if torch.cuda.is_available():
        device = torch.device("cuda", int(environment.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            if allowed:  # an older GPU in your own machine
                return torch.device("cpu")
            raise TrainingFailure(
                f"The GPU {torch.cuda.get_device_name(device)} has no bfloat16 ({versions()}).",
                "Choose a training instance with an A10G, L4, A100 or newer, such as ml.g5.2xlarge.",
            )
        return device
    kind = str(launching.read_resources(root).get("current_instance_type", ""))  # such as "ml.g5.2xlarge"
    if ACCELERATED.match(kind) and not allowed:
        raise TrainingFailure(f"torch finds no GPU on this {kind} ({versions()}).", ANOTHER_HOST)
    return torch.device("cpu")


class Plan(memory.Plan):
    """How the model is to be held, with torch's own name of its number format."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights that are not quantised, and of the multiplications."""
        found: torch.dtype = getattr(torch, self.dtype_name)
        return found


def sizes_of(causal: Any, adapted_layers: list[str], rank: int) -> Sizes:
    """Measures a model, which may be one without data (on torch's meta device)."""
    linear = [
        layer
        for name, layer in causal.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] in adapted_layers
    ]
    configuration = causal.config
    hidden = configuration.hidden_size
    return Sizes(
        parameters=sum(value.numel() for value in causal.parameters()),
        linear_parameters=sum(layer.weight.numel() for layer in linear),
        adapter_parameters=sum(rank * (layer.in_features + layer.out_features) for layer in linear),
        layers=configuration.num_hidden_layers,
        hidden=hidden,
        intermediate=getattr(configuration, "intermediate_size", 4 * hidden),
        vocabulary=configuration.vocab_size,
    )


def free_bytes(device: torch.device) -> int:
    """What the card, or the machine without one, has free now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def plan_memory(sizes: Sizes, arguments: Arguments, device_type: str, free: int, *, fast_bfloat16: bool = True) -> Plan:
    """The most precise way that fits `free` bytes. A CPU without fast bfloat16 computes in float32 where that fits comfortably.

    Raises TrainingFailure for a GPU that is too small even for 4 bits; a CPU's machine may have memory to swap to, and is let try.
    """
    sequences = arguments.sequences_per_step or MOST_SEQUENCES_PER_STEP
    length, in_float32 = arguments.sequence_length, not fast_bfloat16
    found = memory.most_precise(sizes, free, device_type, length=length, sequences=sequences, in_float32=in_float32)
    if device_type == "cuda" and not found.fits:
        raise TrainingFailure(
            f"The model does not fit one GPU: even 4-bit weights need about {found.needed_bytes / 1e9:.1f} GB, and the GPU has {free / 1e9:.1f} GB free. "
            "More GPUs do not help, because training copies the model to each.",
            "Choose a training instance whose GPU has more memory, or lower sequence_length or lora_rank.",
        )
    return Plan(**dataclasses.asdict(found))


@dataclasses.dataclass
class Network:
    """A causal language model with an adapter on every linear layer but the output layer."""

    adapted: Any  # the PEFT model
    causal: Any  # the transformers model inside it
    tokenizer: Any
    device: torch.device
    plan: Plan
    parameters: int
    name: str
    output: OutputLayer  # taken off the model
    learned: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # the adapter at its full scale

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's parameters by name."""
        return {name: value for name, value in self.adapted.named_parameters() if value.requires_grad}

    @property
    def trainable_parameters(self) -> int:
        """How many weights the adapter has."""
        return sum(value.numel() for value in self.trainable.values())

    @property
    def known_tokens(self) -> int:
        """Rows of the embedding: token ids from 0 to one below."""
        return int(self.causal.get_input_embeddings().num_embeddings)

    @property
    def autocast(self) -> bool:
        """Whether the float32 adapter must be narrowed to multiply with bfloat16 activations."""
        return self.plan.dtype is torch.bfloat16

    def token_losses(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood in nats (batch, length) of `labels`, 0 where they are ignored, each after the token ids `inputs`.

        No attention mask: padding stands only at the end, where causal attention never lets it be seen.
        """
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            hidden = self.causal(input_ids=inputs.to(self.device), use_cache=False).logits  # without its output layer
        return self.output.token_losses(hidden, labels.to(self.device))

    @contextlib.contextmanager
    def scoring(self, *, tuned: bool) -> Iterator[None]:
        """Dropout and gradients off, and the adapter on only where `tuned`."""
        self.adapted.eval()
        with torch.no_grad(), contextlib.nullcontext() if tuned else self.adapted.disable_adapter():
            yield
        self.adapted.train()

    def adapter(self, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """The adapter's weights as PEFT files name them, on the CPU."""
        state = get_peft_model_state_dict(self.adapted, save_embedding_layers=False)
        return {key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()}

    @torch.no_grad()
    def scale_adapter(self, scale: float) -> None:
        """Keeps `scale` of what was learned: the model stands so far on the line from the base model to the trained one.

        The manner of a corpus is learned in larger steps than what it says, and is the first to go on the way back; so the text of others
        gains (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022). The factor goes into the weights, for every server, and
        these are rounded to the bfloat16 in which they are saved and served: what is measured next is that adapter. Another call
        begins again with the whole of what was learned.
        """
        for name, value in self.trainable.items():
            whole = self.learned.setdefault(name, value.detach().to("cpu", copy=True)).to(value.device)
            value.copy_((whole * scale if ".lora_B." in name else whole).to(SERVED))

    @torch.no_grad()
    def widen_adapter(self) -> None:
        """Sees to it that the adapter is in float32: small steps would be lost in 16 bits."""
        for value in self.trainable.values():
            value.data = value.data.float()

    def restore(self, checkpoint: Path) -> None:
        """Takes the adapter's weights from a checkpoint."""
        set_peft_model_state_dict(self.adapted, load_file(checkpoint / "adapter_model.safetensors"))


def attach(causal: Any, arguments: Arguments, name: str, *, narrow: bool) -> Any:
    """The PEFT model of a causal model with a fresh adapter in float32, the same for a seed, independent of what was drawn before.

    `name` is what the adapter's files call their base model; `narrow` says that activations are in bfloat16.
    """
    lora = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=linear_layers(causal),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(arguments.seed)  # the adapter's initial weights are drawn here
    # PEFT makes it float32 beside 16-bit weights: small steps would be lost in 16.
    adapted = get_peft_model(causal, lora)
    lora.base_model_name_or_path = name  # a path inside this container would say nothing to a server
    if narrow:
        # PEFT would widen bfloat16 activations to the adapter's float32, only for autocast to narrow them again: the same
        # numbers, twice the memory.
        for module in adapted.modules():
            if isinstance(module, LoraLayer):
                module.cast_input_dtype_enabled = False
    adapted.train()
    return adapted


def linear_layers(causal: Any) -> list[str]:
    """The names, such as q_proj, of every linear layer but the output layer, which stays frozen.

    Short names, where PEFT's own "all-linear" writes full paths for small models: servers match short ones.
    """
    output = causal.get_output_embeddings()
    linear = [
        name for name, layer in causal.named_modules() if isinstance(layer, torch.nn.Linear) and layer is not output
    ]
    return sorted({name.rpartition(".")[2] for name in linear})


def load_network(
    folder: ModelFolder, arguments: Arguments, device: torch.device, group: Group = ALONE, *, precision: str = ""
) -> Network:
    """Loads the model in bfloat16, as it is served, and attaches a fresh adapter in float32; alike in each process of the group.

    4-bit NF4 only where the plan of memory finds no room for 16 bits. `precision` is that of the job's earlier starts, where there were
    any: it is kept. Raises TrainingFailure for a model that is not causal, does
    not load or does not fit.
    """
    try:
        configuration = AutoConfig.from_pretrained(folder.path)
        with torch.device("meta"):  # shapes without data: what is to come is planned before it is loaded
            empty = AutoModelForCausalLM.from_config(configuration)
        sizes = sizes_of(empty, linear_layers(empty), arguments.lora_rank)
        # What the first process finds: beside others that measure at the same time, the answer of each would be chance.
        fast = bool(group.of_first(group.first and _computes_in_bfloat16(device, precision)))
        free = -int(group.highest(-free_bytes(device))[0])  # of the fullest GPU
        plan = plan_memory(sizes, arguments, device.type, free, fast_bfloat16=fast)
        _tell(plan)
        tokenizer = AutoTokenizer.from_pretrained(folder.path)
        causal = _load(folder.path, device, plan)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise TrainingFailure(
            f"The model in the model channel does not load: {' '.join(str(error).split())[:500]}.",
            "Use a causal language model that this container's transformers supports, and upload all its files.",
        ) from error
    causal.config.use_cache = False
    adapted = attach(causal, arguments, folder.name, narrow=plan.dtype is torch.bfloat16)
    return Network(adapted, causal, tokenizer, device, plan, sizes.parameters, folder.name, OutputLayer(causal))


def _load(path: Path, device: torch.device, plan: Plan) -> Any:
    """The model as planned. Weights are rounded to bfloat16 whatever follows, for those are the weights that are served."""
    if device.type == "cpu":
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).to(plan.dtype)
    quantisation = None
    if plan.quantization == "nf4":
        quantisation = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return AutoModelForCausalLM.from_pretrained(
        path, quantization_config=quantisation, dtype=torch.bfloat16, device_map={"": device.index}
    )


def _tell(plan: Plan) -> None:
    """One line on the plan of memory, and one more where training and serving will differ."""
    say(
        "memory",
        quantization=plan.quantization,
        dtype=plan.dtype_name,
        needed_gb=f"{plan.needed_bytes / 1e9:.1f}",
        free_gb=f"{plan.free_bytes / 1e9:.1f}",
        micro_batch=plan.micro_batch,
        checkpointing=plan.checkpointing,
    )
    if plan.quantization != "none":
        say(
            "note",
            text="16-bit weights don't fit this GPU: training and its losses use 4-bit ones, the endpoint 16-bit ones",
        )
    elif plan.needed_bytes > plan.free_bytes:
        say("note", text="this machine may run out of memory: the plan needs more than is free")


def _computes_in_bfloat16(device: torch.device, precision: str) -> bool:
    """A GPU always; a CPU as in the job's earlier starts, or where it is faster."""
    if device.type == "cuda":
        return True
    return precision == "bfloat16" if precision else bfloat16_is_faster()


def describe_environment(network: Network) -> dict[str, str]:
    """Device and versions, for metrics.json."""
    on_gpu = network.device.type == "cuda"
    return {
        "device": network.device.type,
        "device_name": torch.cuda.get_device_name(network.device) if on_gpu else _processor_name(),
        "precision": network.plan.dtype_name,
        "python": platform.python_version(),
        **{library.__name__: library.__version__ for library in (torch, transformers, peft, trl)},
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def seconds_a_token_on_cpu(network: Network) -> tuple[float, float]:
    """Seconds for a token of training and of scoring, by about a second of both.

    Machines without a GPU differ tenfold, and you wait for it. On a GPU the progress lines tell it within seconds.
    """
    return _seconds_a_token(network, _train, sequences=1), _seconds_a_token(network, _score, sequences=2)


def _seconds_a_token(network: Network, work: Callable[[Network, torch.Tensor], None], *, sequences: int) -> float:
    found: list[float] = []
    for count in (WARM_UP_TOKENS, MEASURED_TOKENS, MEASURED_TOKENS):  # the first call of an operation takes longer
        tokens = (torch.arange(count) % network.known_tokens).repeat(sequences, 1)
        begun = time.monotonic()
        with torch.random.fork_rng(devices=[]):  # dropout draws, and the run's own numbers stay as they were seeded
            work(network, tokens)
        found.append((time.monotonic() - begun) / tokens.numel())
    return min(found)


def _score(network: Network, tokens: torch.Tensor) -> None:
    with network.scoring(tuned=True):
        network.token_losses(tokens, tokens)


def _train(network: Network, tokens: torch.Tensor) -> None:
    """Forward and backward, without a step."""
    with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=network.autocast):
        hidden = network.causal(input_ids=tokens, use_cache=False).logits
    network.output.summed_loss(hidden, tokens).backward()
    network.adapted.zero_grad()
