"""Everything a run needs, read and checked here; lambdas/stage writes it, once the run owns its prefix."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from common import memory, records, settings, text
from common.aws import error_code, error_message, is_missing
from common.contracts import run_folder
from common.environment import required
from common.errors import AssetUnreadable
from common.text import encoded
from preflight.request import Request
from preflight.texts import outside_text, prompts, text_file, training
from preflight.texts.held_out import Overlap
from preflight.texts.text_file import Document, Files
from preflight.texts.training import Material

# Prompts of a smoke run: the starters stand first in the project's files.
SMOKE_PROMPTS = 4
# What the trial model points to in place of the adapter, which does not exist yet: SageMaker looks whether there is something.
_PLACEHOLDER = '{"note": "Placeholder for the adapter while Captune tries hosting. It is never loaded."}'
# Training reads records with Preflight's own reader, plans its memory as Preflight does, and finds words as Preflight does.
SHARED = {
    f"common/{path.name}": path.read_bytes()
    for path in (Path(str(one.__file__)) for one in (memory, records, settings, text))
}


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
            f"Preflight cannot read the deployed file s3://{bucket}/{key} ({error_code(error)}: {error_message(error)}). If it was deleted, run make deploy. "
            "If you bootstrapped CDK with your own KMS key, allow kms:Decrypt for this account's roles in its policy, with kms:ViaService "
            "s3.REGION.amazonaws.com, as the key of cdk bootstrap --bootstrap-customer-key does."
        ) from error
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}


def read_material(files: Files, request: Request) -> Material | None:
    """Texts and prompts, each checked by itself; None where `files` kept a DatasetRejected or PromptsRejected."""
    if request.serve_only:
        return Material([], [], Overlap([]), 0, [], outside_told=outside_text.NONE_GIVEN)
    made = request.corpus is not None and request.prompts is None
    key, file = request.prompts, "prompts.jsonl"
    given = None if made else files.attempt(lambda: prompts.parse(files.content(key, file), files.name(key, file)))
    name = outside_text.name_of(files, request)
    outside: Any = []
    if name:
        outside = files.attempt(lambda: outside_text.read(files.content(request.held_outside, "outside.jsonl"), name))
    control = files.attempt(files.control) or []
    material: Material | None = files.attempt(lambda: training.read(files, request, [*control, *(outside or [])]))
    if material is None or outside is None:
        return None
    material.outside_told = outside_text.NONE_GIVEN
    if name:
        outside_text.measure(outside, files, request, material)
    if made:
        given, told = files.attempt(lambda: prompts.make(material.held_out)) or (None, [])
        material.warnings += told
    if given is None:
        return None
    material.control = [part for part in control if material.overlap.first(part.text) is None]
    outside_text.choose_by_control(files, request, material)
    asked = [prompt for prompt in given if prompts.is_asked(prompt)]
    material.prompts = asked[:SMOKE_PROMPTS] if request.smoke else asked
    material.choices = [prompt for prompt in given if prompts.CHOICES in prompt and not request.smoke]
    return material


def files(material: Material, code: dict[str, bytes]) -> dict[str, bytes]:
    """What lies under a run's prefix when it begins, by path below it; plan.json apart. A run that only serves has nothing but that."""
    if not material.training:
        return {}
    staged = {
        f"{run_folder.TRIAL}{run_folder.ADAPTER_CONFIGURATION}": _PLACEHOLDER.encode(),
        run_folder.HELD_OUT: _lines(material.held_out),
        run_folder.PROMPTS: _rows(
            {key: value for key, value in one.items() if key != prompts.CHOICES} for one in material.prompts
        ),
    }
    if material.choices:
        staged[run_folder.CHOICES] = _rows(material.choices)
    if material.training[0].records:
        staged[run_folder.RECORDS] = _lines(material.training)
    else:
        staged[run_folder.CORPUS] = encoded(text_file.as_text(material.training))
    measured = {
        run_folder.OUTSIDE: material.outside,
        run_folder.SCALE_BY_CONTROL if material.scale_by_control else run_folder.SCALE: material.scale,
        run_folder.CONTROL: material.control,
    }
    staged |= {path: _lines(parts) for path, parts in measured.items() if parts}
    return staged | {f"{run_folder.CODE}{path}": content for path, content in {**code, **SHARED}.items()}


def _rows(rows: Iterable[dict[str, Any]]) -> bytes:
    return encoded("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _lines(parts: list[Document]) -> bytes:
    return encoded(text_file.as_lines(parts))


def digest(staged: dict[str, bytes]) -> str:
    """The SHA-256 of files with their paths: the same for the same files, whatever their order."""
    total = hashlib.sha256()
    for path, content in sorted(staged.items()):
        # Lengths first, so that no file can continue in the next one.
        total.update(f"{len(path.encode())} {path} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()
