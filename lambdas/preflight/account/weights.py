"""The weights of the base model: in JumpStart's bucket, or in a folder of the user's, of which what training and hosting need is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from common.architecture import Shape, UnknownShape, shape_of
from common.aws import error_code, error_message
from common.contracts.weights_folder import CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS, UNDIVIDED
from common.environment import RunSettings
from common.errors import WeightsNotFound, WeightsRejected
from preflight.model import Model

# What transformers can make a tokenizer of, as training/inputs.py has them.
TOKENIZER_FILES = (TOKENIZER, "tokenizer.model", "vocab.json")
# Files of weights hold little beside the weights: with less, some of them are missing or were made smaller.
LEAST_SHARE = 0.95
# SageMaker downloads whatever lies below the address ("all objects that match the prefix": botocore, S3DataSource and
# S3ModelDataSource). Tokenizers, read-me files and a small quantised copy stay below this; the same weights in another form, or the
# states of an optimiser, do not. A gigabyte takes ten seconds, so that small models may have whatever lies beside them.
MOST_SPARE_SHARE, MOST_SPARE_BYTES = 0.5, 1_000_000_000
# Nobody's config.json or tokenizer.json is larger, and Preflight holds in memory what it reads.
MOST_BYTES_READ = 20_000_000
_NO_BUCKET = {"NoSuchBucket", "404"}
_REFUSED = {"AccessDenied", "403", "AllAccessDisabled", "InvalidObjectState"} | _NO_BUCKET


def of_jumpstart(s3: Any, settings: RunSettings) -> list[str]:
    """A warning where the gated bucket refuses a listing, which the training job may be allowed. Raises WeightsNotFound."""
    model, (bucket, prefix) = settings.base_model, _place(settings)
    try:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount", 0)
    except ClientError as error:
        if error_code(error) in _NO_BUCKET:
            raise WeightsNotFound(
                f"The weights of {model.name} were not found: the bucket {bucket} does not exist in this region. Choose a region with JumpStart, such as us-east-1."
            ) from None
        return [
            f"The weights at {model.weights_uri} could not be listed ({error_code(error)}); SageMaker will read them with its own role."
        ]
    if not found:
        raise WeightsNotFound(
            f"The weights of {model.name} were not found: there are no weights at {model.weights_uri}. Set region in cdk.json, or another base_model, and deploy."
        )
    return []


def of_user(s3: Any, settings: RunSettings) -> tuple[Model, list[str]]:
    """The model in the user's folder, and a warning where it is another than the settings name.

    Raises WeightsNotFound where nothing can be read there or SageMaker could not read it, and WeightsRejected naming all that is wrong
    with what is there.
    """
    folder = _Folder(s3, settings)
    sizes = folder.sizes()
    named = set(map(str, folder.read(INDEX).get("weight_map", {}).values())) if INDEX in sizes else {UNDIVIDED}
    tensors = {name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name}
    loaded = {name: size for name, size in tensors.items() if name in named}
    configuration = folder.read(CONFIGURATION) if CONFIGURATION in sizes else {}
    shape, unknown = _shape(configuration)
    context = configuration.get("max_position_embeddings")
    served = min(settings.base_model.served_tokens, context) if isinstance(context, int) else 0
    spare = sum(sizes.values()) - sum(loaded.values())
    needed = shape.weights_bytes if shape else 0
    checked = [
        (not configuration, f"{CONFIGURATION} is missing"),
        (bool(configuration) and shape is None, unknown),
        (
            "quantization_config" in configuration,
            "its weights are quantised, and adapters are trained on and served beside 16-bit ones",
        ),
        (not sizes.keys() & set(TOKENIZER_FILES), f"there is no tokenizer ({', '.join(TOKENIZER_FILES)})"),
        (
            any(not name or name.endswith("/") for name in sizes),
            "SageMaker cannot load a folder with empty objects that stand for folders",
        ),
        (
            not loaded or not named <= sizes.keys(),
            f"there are no *.safetensors in it, or not those that {INDEX} names",
        ),
        (
            bool(loaded) and sum(loaded.values()) < LEAST_SHARE * needed,
            f"its *.safetensors hold {sum(loaded.values()) / 1e9:.2f} GB, and its parameters take {needed / 1e9:.2f} GB in 16 bits: some are missing, cut off "
            "or quantised",
        ),
        (
            spare > MOST_SPARE_SHARE * needed + MOST_SPARE_BYTES,
            f"SageMaker downloads all of it, for training and again for the endpoint, and {spare / 1e9:.1f} GB of it are not loaded: copy the model alone to "
            "a folder of its own",
        ),
        (
            shape is not None and _foreign_tokenizer(sizes, folder, shape),
            f"its {TOKENIZER} is another model's: it has words that the model (vocab_size in {CONFIGURATION}) has no room for",
        ),
        (
            bool(configuration) and served < settings.sequence_length,
            f"its context (max_position_embeddings) is {context} tokens, and sequence_length is {settings.sequence_length}",
        ),
    ]
    problems = [fault for is_there, fault in checked if is_there]
    if problems or shape is None:
        raise WeightsRejected(
            f"The folder {folder.uri} of weights_uri cannot be trained and served: {'; '.join(problems)}. "
            "It needs config.json, a tokenizer and *.safetensors side by side, as Hugging Face's save_pretrained writes them, and nothing large beside them."
        )
    name = str(configuration.get("_name_or_path") or folder.uri).rstrip("/").rpartition("/")[2]
    planned, warnings = settings.base_model, list[str]()
    if shape != planned.shape:
        warnings.append(
            f"The weights at {folder.uri} are {name} with {shape.parameters:,} parameters, not {planned.name} (base_model); "
            "they are taken as they are."
        )
    has_template = "chat_template.jinja" in sizes or (
        TOKENIZER_SETTINGS in sizes and bool(folder.read(TOKENIZER_SETTINGS).get("chat_template"))
    )
    return Model(name, shape.parameters, shape, served, has_template, sum(sizes.values())), warnings


def _shape(configuration: Mapping[str, Any]) -> tuple[Shape | None, str]:
    """The model's shape, or why it cannot be told."""
    try:
        return (shape_of(configuration) if configuration else None), ""
    except UnknownShape as error:
        return None, str(error)


def _foreign_tokenizer(sizes: Mapping[str, int], folder: _Folder, shape: Shape) -> bool:
    """Whether a tokenizer has words that the model has no room for. Only tokenizer.json can be read here; training looks at every kind."""
    if not 0 < sizes.get(TOKENIZER, 0) <= MOST_BYTES_READ:
        return False
    model = folder.read(TOKENIZER).get("model")
    known = model.get("vocab") if isinstance(model, dict) else None
    # Of the Unigram kind: words with their weights, in the order of their ids.
    ids = [*range(len(known))] if isinstance(known, list) else [*known.values()] if isinstance(known, dict) else []
    return any(isinstance(number, int) and number >= shape.vocabulary for number in ids)


def _place(settings: RunSettings) -> tuple[str, str]:
    bucket, _, prefix = settings.base_model.weights_uri.removeprefix("s3://").partition("/")
    return bucket, prefix


class _Folder:
    """What lies under the address of a user's weights."""

    def __init__(self, s3: Any, settings: RunSettings) -> None:
        self.uri, self._s3, self._region = settings.base_model.weights_uri, s3, settings.region
        self._bucket, self._prefix = _place(settings)

    def sizes(self) -> dict[str, int]:
        """The files by their names below the folder, in bytes. Raises WeightsNotFound where there are none or SageMaker could not read them."""
        sizes: dict[str, int] = {}
        try:
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
                # A client is led on to the bucket's own region without a word, and SageMaker is not.
                headers = page.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                there = headers.get("x-amz-bucket-region") or self._region
                if there != self._region:
                    raise WeightsNotFound(
                        f"weights_uri names {self.uri}, and the bucket {self._bucket} lies in {there}: SageMaker in {self._region} reads buckets of {self._region} "
                        f"alone. Copy the folder to a bucket there, or deploy in {there}."
                    )
                sizes |= {one["Key"].removeprefix(self._prefix): int(one["Size"]) for one in page.get("Contents", [])}
        except ClientError as error:
            raise self._unreadable(self.uri, error) from error
        if not sizes:
            raise WeightsNotFound(f"There is nothing at {self.uri}, which weights_uri names. Upload the model there.")
        return sizes

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder. Raises WeightsNotFound where it cannot be read, WeightsRejected where it is none."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            value = json.loads(answer["Body"].read(MOST_BYTES_READ))
        except ClientError as error:
            raise self._unreadable(f"{self.uri}{name}", error) from error
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise WeightsRejected(f"{self.uri}{name} is not a JSON object. Upload the model's own file again.")
        return value

    def _unreadable(self, place: str, error: ClientError) -> ClientError | WeightsNotFound:
        """What to raise for an error of S3: itself, where nobody has to mend anything."""
        code, message = error_code(error), error_message(error)
        if code not in _REFUSED and not code.startswith("KMS.") and "kms:" not in message:
            return error
        return WeightsNotFound(
            f"{place}, which weights_uri names, cannot be read ({code}: {message}). Correct the address, or let the policies of its bucket and of its KMS key "
            "allow this deployment's account s3:ListBucket, s3:GetObject and kms:Decrypt there; archived objects have to be restored first."
        )
