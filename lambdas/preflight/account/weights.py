"""A run's weights, checked for free: the base model's in JumpStart's bucket or a folder of the user's, an adapter."""

import json
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

from botocore.exceptions import ClientError

from common import architecture
from common.architecture import CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS, UNDIVIDED
from common.aws import error_code, error_message
from common.contracts import run_folder
from common.errors import AdapterRejected, WeightsNotFound, WeightsRejected
from common.storage import Storage
from preflight.model import Model
from preflight.settings import BaseModel, RunSettings

HUB = "SageMakerPublicHub"
# Where a hub's document says that the files of a model lie: the one that was found, of Llama 2 13B Chat (aws/sagemaker-python-sdk at
# a248126, sagemaker-core/tests/unit/jumpstart/hub_content_document.json), has the first; the SDK reads the second too.
_PLACES = ("HostingArtifactUri", "HostingPrepackedArtifactUri")
_WHERE_IT_SHOWS = "If the weights are not there, training fails in its first minute (WeightsUnusable). Then run captune copy-weights, which copies the model into your bucket."
CHAT_TEMPLATE = "chat_template.jinja"
# What transformers can make a tokenizer of, as training/inputs.py has them.
TOKENIZER_FILES = (TOKENIZER, "tokenizer.model", "vocab.json")
# Files of weights hold little beside the weights: with less, some of them are missing or were made smaller.
LEAST_SHARE = 0.95
# SageMaker downloads whatever lies below the address ("all objects that match the prefix": botocore, S3DataSource and
# S3ModelDataSource). Tokenizers, read-me files and a small quantised copy stay below this; the same weights in another form, or the
# states of an optimiser, do not. A gigabyte takes ten seconds, so that small models may have whatever lies beside them.
MOST_SPARE_SHARE, MOST_SPARE_BYTES = 0.5, 1_000_000_000
# No config.json or tokenizer.json is larger, and Preflight holds in memory what it reads.
MOST_BYTES_READ = 20_000_000
_SECONDS = 10  # for a file behind a presigned address
_LEAST_ADAPTER_BYTES = 9  # a safetensors file has a header of eight bytes before anything else
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
                f"No weights of {model.name}: the bucket {bucket} does not exist in this region. Set region in cdk.json to one with JumpStart, such as us-east-1, and run make deploy."
            ) from None
        return [
            f"S3 did not list the weights at {model.weights_uri} ({error_code(error)}). SageMaker reads them with its own role."
        ]
    if not found:
        raise WeightsNotFound(
            f"No weights of {model.name} exist at {model.weights_uri}. Set another region or base_model in cdk.json, and run make deploy."
        )
    return []


def fetch(url: str) -> bytes:
    """The content at a presigned address. Raises OSError if it cannot be read."""
    try:
        with urlopen(url, timeout=_SECONDS) as answer:
            content: bytes = answer.read(MOST_BYTES_READ)
    except (HTTPException, ValueError) as error:  # half an answer, and an address that is none
        raise OSError(str(error)) from error
    return content


def hub_content(name: str, version: str) -> dict[str, str]:
    """The four fields by which every call names a model of JumpStart's public hub."""
    return {"HubName": HUB, "HubContentType": "Model", "HubContentName": name, "HubContentVersion": version}


def hub_files(client: Any, content: dict[str, str], uri: str, accept_eula: bool) -> dict[str, str]:
    """A model's files in the hub: addresses by path, valid for 15 minutes. Raises ClientError and BotoCoreError."""
    access = {"AcceptEula": accept_eula, "ExpectedS3Url": uri}
    pages = client.get_paginator("create_hub_content_presigned_urls").paginate(**content, AccessConfig=access)
    listed = [
        (one.get("LocalPath"), one.get("Url")) for page in pages for one in page.get("AuthorizedUrlConfigs") or ()
    ]
    return {path: url for path, url in listed if isinstance(path, str) and isinstance(url, str)}


def model_folder(paths: Iterable[str]) -> str | None:
    """The first folder with config.json beside *.safetensors, with a slash at its end; "" without one in the paths, None if there is none."""
    known = set(paths)
    folders = sorted({path[: path.rfind("/") + 1] for path in known if path.endswith(".safetensors")})
    return next((folder for folder in folders if folder + CONFIGURATION in known), None)


def in_hub(client: Any, model: BaseModel, get: Callable[[str], bytes] = fetch) -> tuple[bool, list[str]]:
    """Whether the model's folder in JumpStart's public hub has a chat template, and warnings.

    Nothing that the hub answers ends a run: one document was seen, and no list of files.
    """
    content = hub_content(model.hub_name, model.hub_version)
    try:
        described = client.describe_hub_content(**content)
        urls = hub_files(client, content, model.weights_uri, model.requires_eula)
    except (
        Exception
    ) as error:  # for an answer of another form botocore's parser raises what it stumbles over, such as AttributeError
        why = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        return model.has_chat_template, [
            f"JumpStart's hub did not describe {model.name} ({why}), so Preflight could not check its files. {_WHERE_IT_SHOWS}"
        ]
    warnings = _of_document(described.get("HubContentDocument"), model)
    folder = model_folder(urls)
    if folder is None:
        warnings.append(
            f"JumpStart's hub does not list {CONFIGURATION} and *.safetensors in one folder for {model.name}; it lists {', '.join(sorted(urls)[:5]) or 'no files'}. "
            f"{_WHERE_IT_SHOWS}"
        )
    status = described.get("SupportStatus") or "Supported"
    warnings += [f"JumpStart's hub calls {model.name} {model.hub_version} {status}."] if status != "Supported" else []
    if folder is None or not model.has_chat_template or folder + CHAT_TEMPLATE in urls:
        return model.has_chat_template, warnings
    try:
        settings = _json_object(get(urls[folder + TOKENIZER_SETTINGS]))
    except (KeyError, OSError):
        settings = None
    if settings is None:
        unread = f"Preflight could not read whether {model.name} has a chat template, which only conversations need."
        return True, [*warnings, unread]
    return bool(settings.get("chat_template")), warnings


def _of_document(text: Any, model: BaseModel) -> list[str]:
    """A warning if the hub's document of a model cannot be read or names another folder of weights. Its bucket may be that of another region."""
    if (document := _json_object(text)) is None:
        return [
            f"JumpStart's hub describes {model.name} {model.hub_version} in an unknown format, so Preflight could not check the folder of its weights. {_WHERE_IT_SHOWS}"
        ]
    places = [str(document[name]).rstrip("/") for name in _PLACES if document.get(name)]
    ours = model.weights_uri.rstrip("/").split("/", 3)[-1]
    if not places or any(place.split("/", 3)[-1] == ours for place in places):
        return []
    return [
        f"JumpStart's hub lists the weights of {model.name} {model.hub_version} at {' and '.join(places)}, but this deployment reads {model.weights_uri} "
        f"(weights_prefix in stacks/configuration/catalog.yaml). {_WHERE_IT_SHOWS}"
    ]


def _json_object(text: Any) -> dict[str, Any] | None:
    """What a JSON text holds; None for anything but an object."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def of_user(s3: Any, settings: RunSettings) -> tuple[Model, list[str]]:
    """The model in the user's folder, and a warning where it is another than the settings name.

    Raises WeightsNotFound where nothing can be read there or SageMaker could not read it, and WeightsRejected naming all that is wrong
    with what is there.
    """
    folder = _Folder(s3, settings)
    problems = list(folder.problems())
    if problems or folder.shape is None:
        raise WeightsRejected(
            f"Captune cannot train and serve the model at {folder.uri} (weights_uri): {'; '.join(problems)}. Upload config.json, a tokenizer and "
            "*.safetensors to one folder, as Hugging Face's save_pretrained writes them, without other large files. Then start a new execution."
        )
    shape, planned = folder.shape, settings.base_model
    name = str(folder.configuration.get("_name_or_path") or folder.uri).rstrip("/").rpartition("/")[2]
    warnings = []
    if shape != planned.shape:
        warnings.append(
            f"The weights at {folder.uri} are {name} with {shape.parameters:,} parameters, not {planned.name} (base_model). The run uses them."
        )
    has_template = CHAT_TEMPLATE in folder.sizes or bool(folder.read(TOKENIZER_SETTINGS).get("chat_template"))
    return Model(name, shape.parameters, shape, folder.served, has_template, sum(folder.sizes.values())), warnings


def _place(settings: RunSettings) -> tuple[str, str]:
    bucket, _, prefix = settings.base_model.weights_uri.removeprefix("s3://").partition("/")
    return bucket, prefix


class _Folder:
    """What lies under the address of a user's weights, and the model that its config.json describes."""

    def __init__(self, s3: Any, settings: RunSettings) -> None:
        """Lists the folder and reads its config.json. Raises WeightsNotFound, and WeightsRejected for a file that is no JSON object."""
        self.uri, self._s3, self._settings = settings.base_model.weights_uri, s3, settings
        self._bucket, self._prefix = _place(settings)
        self.sizes = self._list()
        self.configuration = self.read(CONFIGURATION)
        self.shape: architecture.Shape | None = None
        self._unknown = ""
        try:
            self.shape = architecture.shape_of(self.configuration)
        except architecture.UnknownShape as error:
            self._unknown = str(error)
        self.context = self.configuration.get("max_position_embeddings")
        self.served = min(settings.base_model.served_tokens, self.context) if isinstance(self.context, int) else 0

    def problems(self) -> Iterator[str]:
        """Why what is there cannot be trained and served. Raises as `read` does."""
        sizes, configuration = self.sizes, self.configuration
        named = set(map(str, self.read(INDEX).get("weight_map", {}).values())) if INDEX in sizes else {UNDIVIDED}
        loaded = sum(size for name, size in sizes.items() if name in named and name.endswith(".safetensors"))
        spare, needed = sum(sizes.values()) - loaded, self.shape.weights_bytes if self.shape else 0
        if not configuration:
            yield f"{CONFIGURATION} is missing"
        elif self._unknown:
            yield self._unknown
        if "quantization_config" in configuration:
            yield "its weights are quantised, and Captune needs 16-bit ones"
        if not sizes.keys() & set(TOKENIZER_FILES):
            yield f"there is no tokenizer ({', '.join(TOKENIZER_FILES)})"
        if any(not name or name.endswith("/") for name in sizes):
            yield "it contains empty objects for folders, which SageMaker cannot load: delete them"
        if not loaded or not named <= sizes.keys():
            yield f"it lacks *.safetensors, or some of those that {INDEX} names"
        if 0 < loaded < LEAST_SHARE * needed:
            yield (
                f"its *.safetensors have {loaded / 1e9:.2f} GB, but its parameters take {needed / 1e9:.2f} GB in 16 bits: some are missing, truncated "
                "or quantised"
            )
        if spare > MOST_SPARE_SHARE * needed + MOST_SPARE_BYTES:
            yield (
                f"{spare / 1e9:.1f} GB of it are other files, which SageMaker would download for training and for the endpoint: copy only the model to a new folder"
            )
        if self.shape and self._has_words_beyond(self.shape.vocabulary):
            yield f"its {TOKENIZER} belongs to another model: it has more tokens than vocab_size in {CONFIGURATION}"
        if configuration and self.served < self._settings.sequence_length:
            yield f"its context (max_position_embeddings) is {self.context} tokens, shorter than sequence_length ({self._settings.sequence_length})"

    def _has_words_beyond(self, vocabulary: int) -> bool:
        """Whether a tokenizer has words that the model has no room for. Only tokenizer.json can be read here; training looks at every kind."""
        if not 0 < self.sizes.get(TOKENIZER, 0) <= MOST_BYTES_READ:
            return False
        model = self.read(TOKENIZER).get("model")
        known = model.get("vocab") if isinstance(model, dict) else None
        # Of the Unigram kind: words with their weights, in the order of their ids.
        ids = [*range(len(known))] if isinstance(known, list) else [*known.values()] if isinstance(known, dict) else []
        return any(isinstance(number, int) and number >= vocabulary for number in ids)

    def _list(self) -> dict[str, int]:
        """The files by their names below the folder, in bytes. Raises WeightsNotFound where there are none or SageMaker could not read them."""
        sizes: dict[str, int] = {}
        here = self._settings.region
        try:
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
                # A client is led on to the bucket's own region without a word, and SageMaker is not.
                headers = page.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                there = headers.get("x-amz-bucket-region") or here
                if there != here:
                    raise WeightsNotFound(
                        f"The bucket {self._bucket} of weights_uri ({self.uri}) is in {there}, but SageMaker in {here} reads only buckets in {here}. "
                        f"Copy the folder to a bucket in {here} and correct weights_uri, or set region to {there}; then run make deploy."
                    )
                sizes |= {one["Key"].removeprefix(self._prefix): int(one["Size"]) for one in page.get("Contents", [])}
        except ClientError as error:
            raise self._unreadable(self.uri, error) from error
        if not sizes:
            raise WeightsNotFound(f"No files exist at {self.uri} (weights_uri). Upload the model there.")
        return sizes

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object; {} without a file. Raises WeightsNotFound if unreadable, WeightsRejected if no object."""
        if name not in self.sizes:
            return {}
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
            value = _json_object(answer["Body"].read(MOST_BYTES_READ))
        except ClientError as error:
            raise self._unreadable(f"{self.uri}{name}", error) from error
        if value is None:
            raise WeightsRejected(f"{self.uri}{name} is not a JSON object. Upload the model's own file again.")
        return value

    def _unreadable(self, place: str, error: ClientError) -> ClientError | WeightsNotFound:
        """What to raise for an error of S3: the error itself where it is transient."""
        code, message = error_code(error), error_message(error)
        if code not in _REFUSED and not code.startswith("KMS.") and "kms:" not in message:
            return error
        return WeightsNotFound(
            f"Captune cannot read {place} of weights_uri ({code}: {message}). Correct the address, or allow this deployment's account s3:ListBucket, "
            "s3:GetObject and kms:Decrypt in the policies of the bucket and its KMS key. If the objects are archived, restore them first."
        )


def refuse_unusable_adapter(storage: Storage, uri: str, settings: RunSettings) -> None:
    """Raises AdapterRejected for an adapter that is not whole, not this project's, or not made for the model that is served."""
    found = run_folder.ADAPTER_URI.fullmatch(uri)
    if found is None or found[1] != storage.bucket:
        raise AdapterRejected(
            f"adapterUri is {uri}, which is not an adapter in this deployment's bucket. Pass the adapter's address from an earlier run's report: "
            f"{run_folder.adapter_uri(storage.bucket, 'RUN', 'JOB')}."
        )

    def incomplete(where: str, what: str) -> AdapterRejected:
        return AdapterRejected(
            f"The adapter is incomplete: {where} {what}. Choose a run whose training completed, or omit adapterUri to train again."
        )

    def read(key: str) -> dict[str, Any]:
        content = storage.read(key)
        if content is None:
            raise incomplete(storage.uri(key), "does not exist")
        if (value := _json_object(content)) is None:
            raise incomplete(storage.uri(key), "is not a JSON object")
        return value

    prefix = storage.key_of(uri)
    configuration, metrics = read(prefix + run_folder.ADAPTER_CONFIGURATION), read(prefix + run_folder.METRICS)
    if (storage.size(prefix + run_folder.ADAPTER_WEIGHTS) or 0) < _LEAST_ADAPTER_BYTES:
        raise incomplete(uri, f"has no {run_folder.ADAPTER_WEIGHTS}, or an empty one")
    rank = configuration.get("r")
    if not isinstance(rank, int):
        raise incomplete(uri, f"has no rank (r) in {run_folder.ADAPTER_CONFIGURATION}")
    if rank > settings.lora_rank:
        raise AdapterRejected(
            f"The adapter {uri} has rank {rank}, above lora_rank ({settings.lora_rank}). Set lora_rank in cdk.json to {rank} and run make deploy."
        )
    if not (metrics.get("evaluation") or {}).get("heldout"):
        raise incomplete(uri, f"has no held-out losses in {run_folder.METRICS}")
    made_for = (read(run_folder.key(found[2], run_folder.PLAN)).get("baseModel") or {}).get("weightsUri")
    if made_for != settings.base_model.weights_uri:
        raise AdapterRejected(
            f"The adapter {uri} was trained on the weights {made_for}, but this deployment serves {settings.base_model.weights_uri}. Set base_model, weights_uri "
            "and region in cdk.json to those of the earlier run, and run make deploy."
        )
