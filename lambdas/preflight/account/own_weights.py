"""The folder of weights that a user names instead of JumpStart's: what training and hosting need of it is looked at here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from common.architecture import Shape, UnknownShape, shape_of
from common.aws import error_code
from common.contracts.weights_folder import CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS
from common.environment import RunSettings
from common.errors import WeightsNotFound, WeightsRejected
from preflight.model import Model

# What transformers can make a tokenizer of, as training/model/weights.py has them.
TOKENIZER_FILES = (TOKENIZER, "tokenizer.model", "vocab.json")
# Files of weights hold little beside the weights: with less, some of them are missing or were made smaller.
LEAST_SHARE = 0.95
# Embeddings are rounded up by a few rows, never doubled: of Qwen 2.5's 152,064 its tokenizer has 151,643 words.
LEAST_SHARE_OF_TOKENS = 0.5
# Nobody's config.json is larger, and Preflight has a gigabyte of memory for all that it reads.
MOST_BYTES_READ = 20_000_000
_REFUSED = {"AccessDenied", "403", "AllAccessDisabled", "InvalidObjectState"}
_NO_BUCKET = {"NoSuchBucket", "404"}


def look(s3: Any, settings: RunSettings) -> tuple[Model, str]:
    """The model in the user's folder, and a warning where it is another than the settings name, else "".

    Raises WeightsNotFound where nothing can be read there, and WeightsRejected naming all that is wrong with what is there.
    """
    folder = _Folder(s3, settings.base_model.weights_uri)
    sizes = folder.sizes()
    problems = [*_missing(sizes), *_cut_off(sizes, folder)]
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
        problems = [*_too_small(sizes, shape), *_foreign_tokenizer(sizes, folder, shape)]
    context = configuration.get("max_position_embeddings")
    served = min(settings.base_model.served_tokens, context) if isinstance(context, int) else 0
    if configuration and served < settings.sequence_length:
        problems.append(
            f"its context (max_position_embeddings) is {context} tokens, and sequence_length is {settings.sequence_length}"
        )
    if problems or shape is None:
        raise WeightsRejected(
            f"The folder {folder.uri} of weights_uri holds no model that can be trained and served: {'; '.join(problems)}. "
            "It needs config.json, a tokenizer and *.safetensors side by side, as Hugging Face's save_pretrained writes them."
        )
    name = str(configuration.get("_name_or_path") or "").rstrip("/").rpartition("/")[2] or folder.name
    planned, warning = settings.base_model, ""
    if shape != planned.shape:
        warning = (
            f"The weights at {folder.uri} are {name} with {shape.parameters:,} parameters, not {planned.name} (base_model); "
            "they are taken as they are."
        )
    return Model(name, shape.parameters, shape, served, _has_chat_template(sizes, folder)), warning


def _has_chat_template(sizes: Mapping[str, int], folder: _Folder) -> bool:
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
    if not _tensors(sizes):
        others = sorted(name for name in sizes if name.endswith((".bin", ".pt", ".pth", ".gguf", ".tar.gz", ".zip")))
        found = f", but {others[0]}: convert it, or unpack it" if others else ""
        problems.append(f"there are no *.safetensors{found}")
    return problems


def _cut_off(sizes: Mapping[str, int], folder: _Folder) -> list[str]:
    """The files of weights that the index names and that are not there."""
    if INDEX not in sizes:
        return []
    named = folder.read(INDEX).get("weight_map")
    if not isinstance(named, dict):
        return [f"{INDEX} has no weight_map"]
    gone = sorted({str(file) for file in named.values()} - sizes.keys())
    return [f"{', '.join(gone[:3])} of {INDEX} {'is' if len(gone) == 1 else 'are'} missing"] if gone else []


def _too_small(sizes: Mapping[str, int], shape: Shape) -> list[str]:
    there, needed = sum(_tensors(sizes).values()), shape.weights_bytes
    if there >= LEAST_SHARE * needed:
        return []
    return [
        f"its *.safetensors hold {there / 1e9:.2f} GB, and {shape.parameters:,} parameters take {needed / 1e9:.2f} GB in 16 bits: "
        "some are missing, cut off or quantised"
    ]


def _foreign_tokenizer(sizes: Mapping[str, int], folder: _Folder, shape: Shape) -> list[str]:
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


def _tensors(sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name}


class _Folder:
    """What lies under the address, by name and size."""

    def __init__(self, s3: Any, uri: str) -> None:
        self.uri = uri
        self._s3 = s3
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self._prefix.rstrip("/").rpartition("/")[2]

    def sizes(self) -> dict[str, int]:
        """The files by their names below the folder. Raises WeightsNotFound where there are none, or none can be seen."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        try:
            sizes = {
                entry["Key"].removeprefix(self._prefix): int(entry["Size"])
                for page in pages
                for entry in page.get("Contents", [])
            }
        except ClientError as error:
            raise self._unreadable(self.uri, "list", "s3:ListBucket", error) from error
        if not sizes:
            raise WeightsNotFound(f"There is nothing at {self.uri}, which weights_uri names. Upload the model there.")
        return sizes

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder. Raises WeightsNotFound where it cannot be read, WeightsRejected where it is none."""
        place = f"{self.uri}{name}"
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            content = answer["Body"].read(MOST_BYTES_READ)
        except ClientError as error:
            raise self._unreadable(place, "read", "s3:GetObject", error) from error
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise WeightsRejected(f"{place} is not a JSON object. Upload the model's own file again.")
        return value

    def _unreadable(self, place: str, verb: str, action: str, error: ClientError) -> WeightsNotFound:
        code = error_code(error)
        if code in _NO_BUCKET:
            return WeightsNotFound(
                f"There is no bucket {self._bucket}, which weights_uri names. Correct it and deploy."
            )
        if code in _REFUSED:
            return WeightsNotFound(
                f"{place} cannot be {verb if verb == 'read' else 'listed'} ({code}). The roles of this deployment are allowed {action} there, so a policy "
                "of the bucket, its key or your organisation refuses it: allow it for this account."
            )
        raise error
