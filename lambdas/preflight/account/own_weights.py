"""The folder of weights that a user names instead of JumpStart's: what training and hosting need of it is looked at here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from common.architecture import Shape, UnknownShape, shape_of
from common.contracts.weights_folder import CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS, UNDIVIDED
from common.environment import RunSettings
from common.errors import WeightsRejected
from preflight.account.own_folder import MOST_BYTES_READ, Folder
from preflight.model import Model

# What transformers can make a tokenizer of, as training/inputs.py has them.
TOKENIZER_FILES = (TOKENIZER, "tokenizer.model", "vocab.json")
# Files of weights hold little beside the weights: with less, some of them are missing or were made smaller.
LEAST_SHARE = 0.95
# Embeddings are rounded up by a few rows, never doubled: of Qwen 2.5's 152,064 its tokenizer has 151,643 words.
LEAST_SHARE_OF_TOKENS = 0.5
# SageMaker downloads whatever lies below the address ("all objects that match the prefix": botocore, S3DataSource and
# S3ModelDataSource). Tokenizers, read-me files and a small quantised copy stay below this; the same weights in another form, or the
# states of an optimiser, do not. A gigabyte takes ten seconds, so that small models may have whatever lies beside them.
MOST_SPARE_SHARE, MOST_SPARE_BYTES = 0.5, 1_000_000_000


def look(s3: Any, settings: RunSettings) -> tuple[Model, str]:
    """The model in the user's folder, and a warning where it is another than the settings name, else "".

    Raises WeightsNotFound where nothing can be read there or SageMaker could not read it, and WeightsRejected naming all that is wrong
    with what is there.
    """
    folder = Folder(s3, settings.base_model.weights_uri, settings.region)
    sizes = folder.sizes()
    named, cut_off = _named(sizes, folder)
    problems = [*_missing(sizes), *cut_off]
    configuration = folder.read(CONFIGURATION) if CONFIGURATION in sizes else {}
    shape = None
    if configuration:
        try:
            shape = shape_of(configuration)
        except UnknownShape as error:
            problems.append(str(error))
        if configuration.get("quantization_config"):
            problems.append("its weights are quantised, and adapters are trained on and served beside 16-bit ones")
    if shape and not problems:
        loaded = loaded_files(sizes, named)
        problems = [*_too_small(loaded, shape), *_foreign_tokenizer(sizes, folder, shape)]
        if spare := told_of_spare(sizes, loaded, shape.weights_bytes):
            problems.append(spare)
    context = configuration.get("max_position_embeddings")
    served = min(settings.base_model.served_tokens, context) if isinstance(context, int) else 0
    if configuration and served < settings.sequence_length:
        problems.append(
            f"its context (max_position_embeddings) is {context} tokens, and sequence_length is {settings.sequence_length}"
        )
    if problems or shape is None:
        raise WeightsRejected(
            f"The folder {folder.uri} of weights_uri cannot be trained and served: {'; '.join(problems)}. "
            "It needs config.json, a tokenizer and *.safetensors side by side, as Hugging Face's save_pretrained writes them, and nothing large beside them."
        )
    name = str(configuration.get("_name_or_path") or "").rstrip("/").rpartition("/")[2] or folder.name
    planned, warning = settings.base_model, ""
    if shape != planned.shape:
        warning = (
            f"The weights at {folder.uri} are {name} with {shape.parameters:,} parameters, not {planned.name} (base_model); "
            "they are taken as they are."
        )
    has_template = _has_chat_template(sizes, folder)
    return Model(name, shape.parameters, shape, served, has_template, sum(sizes.values())), warning


def loaded_files(sizes: Mapping[str, int], named: Collection[str] = ()) -> dict[str, int]:
    """The files of weights that are loaded, with their bytes: those that an index has `named`, else the one of the usual name.

    All of the folder's own where there is neither, as in a listing whose index was not read.
    """
    tensors = {name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name}
    return {name: size for name, size in tensors.items() if name in (named or {UNDIVIDED})} or tensors


def told_of_spare(sizes: Mapping[str, int], loaded: Mapping[str, int], weights_bytes: int) -> str:
    """What is wrong with a folder of which far more is downloaded than the model's weights, else ""."""
    spare = {name: size for name, size in sizes.items() if name not in loaded}
    if sum(spare.values()) <= MOST_SPARE_SHARE * weights_bytes + MOST_SPARE_BYTES:
        return ""
    largest = sorted(spare, key=lambda name: (-spare[name], name))[:3]
    return (
        f"SageMaker downloads all that lies below it, for training and again for the endpoint, and beside the {sum(loaded.values()) / 1e9:.1f} GB of weights "
        f"there are {sum(spare.values()) / 1e9:.1f} GB that nobody reads, the largest of them "
        f"{', '.join(f'{name} ({spare[name] / 1e9:.1f} GB)' for name in largest)}: move them elsewhere, or copy the model alone to a folder of its own and "
        "point weights_uri at that"
    )


def _has_chat_template(sizes: Mapping[str, int], folder: Folder) -> bool:
    """Whether conversations can be written as the model knows them, by a file of its own or by what its tokenizer's settings hold."""
    if "chat_template.jinja" in sizes:
        return True
    return TOKENIZER_SETTINGS in sizes and bool(folder.read(TOKENIZER_SETTINGS).get("chat_template"))


def _missing(sizes: Mapping[str, int]) -> list[str]:
    """What has to lie in the folder itself and does not."""
    problems = []
    marks = sorted(name for name in sizes if not name or name.endswith("/"))
    if marks:
        named = ", ".join(repr(name or "the folder itself") for name in marks[:3])
        problems.append(
            f"SageMaker cannot load a folder with empty objects that stand for folders ({named}): delete them, for example with aws s3api delete-object"
        )
    if CONFIGURATION not in sizes:
        nested = sorted(name for name in sizes if name.endswith(f"/{CONFIGURATION}"))
        where = f"; it lies in {nested[0].removesuffix(CONFIGURATION)}, so add that to weights_uri" if nested else ""
        problems.append(f"{CONFIGURATION} is missing{where}")
    if not any(name in sizes for name in TOKENIZER_FILES):
        problems.append(f"there is no tokenizer ({', '.join(TOKENIZER_FILES)})")
    if not loaded_files(sizes):
        others = sorted(name for name in sizes if name.endswith((".bin", ".pt", ".pth", ".gguf", ".tar.gz", ".zip")))
        found = f", but {others[0]}: convert it, or unpack it" if others else ""
        problems.append(f"there are no *.safetensors{found}")
    return problems


def _named(sizes: Mapping[str, int], folder: Folder) -> tuple[set[str], list[str]]:
    """The files of weights that the index names, none without an index; and what is wrong with it, or missing of them."""
    if INDEX not in sizes:
        return set(), []
    weight_map = folder.read(INDEX).get("weight_map")
    if not isinstance(weight_map, dict):
        return set(), [f"{INDEX} has no weight_map"]
    named = {str(file) for file in weight_map.values()}
    gone = sorted(named - sizes.keys())
    missing = f"{', '.join(gone[:3])} of {INDEX} {'is' if len(gone) == 1 else 'are'} missing"
    return named, [missing] if gone else []


def _too_small(loaded: Mapping[str, int], shape: Shape) -> list[str]:
    there, needed = sum(loaded.values()), shape.weights_bytes
    if there >= LEAST_SHARE * needed:
        return []
    return [
        f"its *.safetensors hold {there / 1e9:.2f} GB, and {shape.parameters:,} parameters take {needed / 1e9:.2f} GB in 16 bits: "
        "some are missing, cut off or quantised"
    ]


def _foreign_tokenizer(sizes: Mapping[str, int], folder: Folder, shape: Shape) -> list[str]:
    """What shows that the tokenizer is another model's. Only tokenizer.json can be read here; training looks at what each kind gives."""
    if not 0 < sizes.get(TOKENIZER, 0) <= MOST_BYTES_READ:
        return []
    known = token_ids(folder.read(TOKENIZER))
    if not known or LEAST_SHARE_OF_TOKENS * shape.vocabulary <= len(known) and max(known) < shape.vocabulary:
        return []
    return [
        f"its {TOKENIZER} is another model's: its {len(known):,} tokens reach to the id {max(known)}, and the model has the ids 0 to {shape.vocabulary - 1} "
        "(vocab_size in config.json)"
    ]


def token_ids(tokenizer: Mapping[str, Any]) -> set[int]:
    """The ids of the words of a tokenizer.json; none where it is of a kind that is not known.

    Tokens that were added to them, such as one for padding, are left out: models come with some that they have no room for and never meet.
    """
    model = tokenizer.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(words, list):  # of the Unigram kind: words with their weights, in the order of their ids
        return set(range(len(words)))
    if not isinstance(words, dict):
        return set()
    return {number for number in words.values() if isinstance(number, int)}
