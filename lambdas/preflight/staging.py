"""Everything a run needs, read from the deployed assets or the user's files, and checked.

Nothing is written here: whoever reads it may not have the run's name yet. lambdas/stage writes it once the run owns its prefix.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from common import records
from common.aws import error_code, error_message, is_missing
from common.contracts import run_folder
from common.environment import required
from common.errors import AssetUnreadable
from common.text.utf8 import encoded
from preflight.prompts import made_prompts, prompt_file
from preflight.records import gathering as training_records
from preflight.request import Request
from preflight.texts import outside_text, text_file, training_text
from preflight.texts.files import Files
from preflight.texts.text_file import Document
from preflight.texts.training_text import Amount, Attempt

# Prompts of a smoke run: the starters stand first in the project's files.
SMOKE_PROMPTS = 4
# What the trial model points to in place of the adapter, which does not exist yet: SageMaker looks whether there is something.
_PLACEHOLDER = '{"note": "In place of the adapter while hosting is tried. It is never loaded."}'
# Training reads records with Preflight's own reader.
READER = {"common/records.py": Path(records.__file__).read_bytes()}


@dataclass(frozen=True)
class Material:
    """The checked texts and prompts of a run."""

    training: list[Document]
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


def gather(files: Files, request: Request, attempt: Attempt, amount: Amount | None = None) -> Material | None:
    """Reads and checks texts and prompts, each whatever is wrong with the others; None when `attempt` kept a fault.

    `amount` says how much of the corpus is learned at most. The faults are DatasetRejected (or one of its kinds) and PromptsRejected.
    """
    prompts, key = None, request.prompts
    makes_prompts = request.corpus is not None and key is None
    if not makes_prompts:
        name = files.name(key, "prompts.jsonl")
        prompts = attempt(lambda: prompt_file.parse(files.content(key, "prompts.jsonl"), name))
    others, outside_name = None, request.held_outside
    if outside_name is not None:
        others = attempt(lambda: outside_text.read(files.content(outside_name, ""), outside_name))
    control = attempt(files.control) or []
    gather_texts = training_records.gather if records.are_records(request.corpus) else training_text.gather
    texts = gather_texts(files, request, amount or Amount(), attempt, [*control, *(others or [])])
    if texts is None:
        return None
    warnings = texts.warnings
    outside = outside_text.Outside([], outside_text.NONE_GIVEN)
    if outside_name is not None:
        if others is None:
            return None
        outside = outside_text.measured(others, outside_name, texts.overlap, texts.held_out, attempt)
        warnings += outside.warnings
    if makes_prompts:
        make = made_prompts.from_records if texts.held_out[0].records else made_prompts.from_text
        prompts, told = attempt(lambda: make(texts.held_out)) or (None, [])
        warnings += told
    if prompts is None:
        return None
    return Material(
        texts.training,
        texts.held_out,
        [part for part in control if texts.overlap.first(part.text) is None],
        prompts[:SMOKE_PROMPTS] if request.smoke else prompts,
        texts.words,
        tuple(warnings),
        outside.documents,
        outside.told,
    )


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
    return staged | {f"{run_folder.CODE}{path}": content for path, content in {**code, **READER}.items()}


def _corpus(training: list[Document]) -> dict[str, bytes]:
    """The corpus channel: running text, or records."""
    if training[0].records:
        return {run_folder.RECORDS: encoded(text_file.as_lines(training))}
    return {run_folder.CORPUS: encoded(text_file.as_text(training))}


def digest(staged: dict[str, bytes]) -> str:
    """The SHA-256 of files with their paths: the same for the same files, whatever their order."""
    total = hashlib.sha256()
    for path, content in sorted(staged.items()):
        # Lengths first, so that no file can continue in the next one.
        total.update(f"{len(path.encode())} {path} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()
