"""Everything a run needs, read from the deployed assets or the user's files, and checked.

Nothing is written here: whoever reads it may not have the run's name yet. lambdas/stage writes it once the run owns its prefix.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from common.aws import error_code, error_message, is_missing
from common.contracts import run_folder
from common.environment import required
from common.errors import AssetUnreadable
from common.storage import Storage
from common.text.utf8 import encoded
from preflight.prompts import openings, prompt_file
from preflight.prompts.from_records import from_records
from preflight.records import gathering as training_records
from preflight.records import reading
from preflight.request import Request
from preflight.texts import large_text, outside_text, text_file, training_text
from preflight.texts.files import Files
from preflight.texts.large_text import Amount
from preflight.texts.text_file import Document

# Prompts of a smoke run: the starters stand first in the project's files.
SMOKE_PROMPTS = 4
# What the trial model points to in place of the adapter, which does not exist yet: SageMaker looks whether there is something.
_PLACEHOLDER = '{"note": "In place of the adapter while hosting is tried. It is never loaded."}'

T = TypeVar("T")
Attempt = Callable[[Callable[[], T]], T | None]


@dataclass(frozen=True)
class Material:
    """The checked texts and prompts of a run."""

    training: Sequence[Document]
    held_out: list[Document]
    control: list[Document]
    prompts: list[dict[str, Any]]
    words: int
    warnings: tuple[str, ...] = ()
    outside: list[Document] = field(default_factory=list)
    # What the plan and the report say of the outside text, or that there is none.
    outside_told: str = outside_text.NONE_GIVEN


def asset(s3: Any, name: str) -> dict[str, bytes]:
    """The files of a deployed asset, by path. `name` is `DATA` or `TRAINING`. Raises AssetUnreadable for a refusal."""
    bucket, key = required(f"{name}_ASSET_BUCKET"), required(f"{name}_ASSET_KEY")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        # Without the right to list the bucket, a file that was deleted is refused as well, not missing.
        if error_code(error) != "AccessDenied" and not is_missing(error) and not error_code(error).startswith("KMS."):
            raise
        raise AssetUnreadable(
            f"The deployed file s3://{bucket}/{key} may not be read ({error_code(error)}: {error_message(error)}). Where cdk bootstrap was given a "
            "KMS key of yours, the policy of that key must let the roles of this account decrypt through S3 (kms:Decrypt with kms:ViaService "
            "s3.REGION.amazonaws.com), as the key that cdk bootstrap --bootstrap-customer-key makes does. Where the file was deleted, make deploy puts it back."
        ) from error
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}


def gather(
    storage: Storage,
    data: dict[str, bytes],
    request: Request,
    domain: str,
    attempt: Attempt[Any],
    amount: Amount | None = None,
) -> Material | None:
    """Reads and checks texts and prompts, each whatever is wrong with the others; None when `attempt` kept a fault.

    `amount` says how much of the corpus is learnt at most, and how long prompts and corpus may take to be read. The faults are
    DatasetRejected (or one of its kinds) and PromptsRejected.
    """
    begun = time.monotonic()
    files = Files(storage, data, domain)
    makes_prompts = request.corpus is not None and request.prompts is None
    amount = amount or Amount()
    asked = None
    if not makes_prompts:
        name = files.name(request.prompts, "prompts.jsonl")
        asked = attempt(lambda: prompt_file.parse(files.content(request.prompts, "prompts.jsonl"), name))
    others = None
    if (key := request.held_outside) is not None:
        others = attempt(lambda: files.outside(key))
    control = attempt(files.control) or []
    if large_text.is_large(files, request):
        # What the prompts took is not there for the corpus: PARSE_SECONDS at most.
        left = replace(amount, seconds=amount.seconds - (time.monotonic() - begun))
        texts = large_text.gather(files, request, left, attempt, [*control, *(others or [])])
    else:
        gather_texts = training_records.gather if reading.are_records(request.corpus) else training_text.gather
        texts = gather_texts(files, request, amount.words, attempt)
    if texts is None:
        return None
    held_out, overlap, warnings = texts.held_out, texts.overlap, texts.warnings
    outside = outside_text.Outside([], outside_text.NONE_GIVEN)
    if request.held_outside is not None:
        if others is None:
            return None
        outside = outside_text.measured(others, request.held_outside, overlap, held_out, attempt)
        warnings += outside.warnings
    if asked is None and makes_prompts:
        make = from_records if held_out[0].records else _from_text
        asked, told = attempt(lambda: make(held_out)) or (None, [])
        warnings += told
    if asked is None:
        return None
    control = [part for part in control if overlap.first(part.text) is None]
    if request.smoke:
        asked = asked[:SMOKE_PROMPTS]
    return Material(
        texts.training,
        held_out,
        control,
        asked,
        texts.words,
        tuple(warnings),
        outside.documents,
        outside.told,
    )


def _from_text(held_out: list[Document]) -> tuple[list[dict[str, Any]], list[str]]:
    return openings.from_held_out(held_out), []


def files(material: Material, code: dict[str, bytes]) -> dict[str, bytes]:
    """What lies under a run's prefix when it begins, by path below it; plan.json apart."""
    staged = {
        f"{run_folder.TRIAL}{run_folder.ADAPTER_CONFIGURATION}": _PLACEHOLDER.encode(),
        **_corpus(material.training),
        run_folder.HELD_OUT: encoded(text_file.as_lines(material.held_out)),
        run_folder.PROMPTS: encoded(
            "".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in material.prompts)
        ),
    }
    if material.outside:
        staged[run_folder.OUTSIDE] = encoded(text_file.as_lines(material.outside))
    if material.control:
        staged[run_folder.CONTROL] = encoded(text_file.as_lines(material.control))
    return staged | {f"{run_folder.CODE}{path}": content for path, content in code.items()}


def _corpus(training: Sequence[Document]) -> dict[str, bytes]:
    """The corpus channel: running text, or records."""
    if training[0].records:
        return {run_folder.RECORDS: encoded(text_file.as_lines(training))}
    # As text_file.as_text has it, document by document: a large corpus is held once only.
    return {run_folder.CORPUS: b"\n".join(encoded(text_file.titled(part)) for part in training)}


def digest(staged: dict[str, bytes]) -> str:
    """The SHA-256 of files with their paths: the same for the same files, whatever their order."""
    total = hashlib.sha256()
    for path, content in sorted(staged.items()):
        # Lengths first, so that no file can continue in the next one.
        total.update(f"{len(path.encode())} {path} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()
