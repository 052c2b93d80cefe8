"""Everything a run needs, read from the deployed assets or the user's files, checked, and copied once under the run's prefix."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

from common.environment import required
from common.errors import DatasetRejected, PromptsRejected
from common.storage import Storage
from preflight import guards, prompts, texts
from preflight.request import Request
from preflight.texts import Document


@dataclass(frozen=True)
class Material:
    """The checked texts and prompts of a run."""

    training: list[Document]
    held_out: list[Document]
    control: list[Document]
    prompts: list[dict[str, Any]]
    words: int


def asset(s3: Any, name: str) -> dict[str, bytes]:
    """The files of a deployed asset, by path. `name` is `DATA` or `TRAINING`."""
    body = s3.get_object(Bucket=required(f"{name}_ASSET_BUCKET"), Key=required(f"{name}_ASSET_KEY"))["Body"].read()
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}


def gather(storage: Storage, data: dict[str, bytes], request: Request, domain: str) -> Material:
    """Reads and checks the texts and prompts. Raises DatasetRejected (or one of its kinds) or PromptsRejected."""
    corpus_name = request.corpus or f"data/{domain}dataset.txt"
    corpus = texts.decode(_file(storage, data, request.corpus, f"{domain}dataset.txt"), corpus_name)
    texts.check(corpus, corpus_name, texts.MINIMUM_WORDS)
    guards.refuse_patient_data(corpus, corpus_name)
    if request.corpus and not request.held_out:
        training, held_out = _split(corpus)
    else:
        training = texts.documents(corpus, "training")
        held_out = _held_out(storage, data, request, domain, corpus)
    control = _control(data, corpus)
    if request.prompts or not request.corpus:
        name = request.prompts or f"data/{domain}prompts.jsonl"
        asked = prompts.parse(_text(_file(storage, data, request.prompts, f"{domain}prompts.jsonl"), name), name)
    else:
        asked = prompts.from_held_out(held_out)
    return Material(training, held_out, control, asked, len(corpus.split()))


def stage(storage: Storage, prefix: str, material: Material, code: dict[str, bytes]) -> None:
    """Writes the run's input under its prefix."""
    storage.write(f"{prefix}input/corpus/corpus.txt", texts.as_text(material.training))
    storage.write(f"{prefix}input/evaluation/heldout.jsonl", texts.as_lines(material.held_out))
    if material.control:
        storage.write(f"{prefix}input/evaluation/control.jsonl", texts.as_lines(material.control))
    storage.write_lines(f"{prefix}input/prompts.jsonl", material.prompts)
    for path, content in code.items():
        storage.write(f"{prefix}code/{path}", content)


def _split(corpus: str) -> tuple[list[Document], list[Document]]:
    training, held_out = texts.split(corpus)
    text = texts.as_text(training)
    clean = [part for part in held_out if not _leaks(text, part)]
    return training, clean or held_out


def _leaks(training: str, part: Document) -> bool:
    try:
        guards.refuse_leakage(training, [(part.title, part.text)])
    except guards.HeldOutLeaks:
        return True
    return False


def _held_out(storage: Storage, data: dict[str, bytes], request: Request, domain: str, corpus: str) -> list[Document]:
    name = request.held_out or f"data/{domain}heldout.txt"
    text = texts.decode(_file(storage, data, request.held_out, f"{domain}heldout.txt"), name)
    texts.check(text, name, texts.MINIMUM_HELD_OUT_WORDS)
    guards.refuse_patient_data(text, name)
    guards.refuse_leakage(corpus, [(name, text)])
    return texts.documents(text, "heldout")


def _control(data: dict[str, bytes], corpus: str) -> list[Document]:
    if "control.txt" not in data:
        return []
    return [
        part
        for part in texts.documents(texts.decode(data["control.txt"], "data/control.txt"), "control")
        if not _leaks(corpus, part)
    ]


def _file(storage: Storage, data: dict[str, bytes], key: str | None, default: str) -> bytes:
    if key is None:
        if default not in data:
            raise DatasetRejected(
                f"data/{default} does not exist. Add it for this domain, or correct the setting `domain`, and deploy again."
            )
        return data[default]
    size = storage.size(key)
    if size is None:
        raise DatasetRejected(
            f"There is no {key} in the bucket {storage.bucket}. Upload it: aws s3 cp FILE s3://{storage.bucket}/{key}"
        )
    if size > texts.MAXIMUM_BYTES:
        raise DatasetRejected(
            f"{key} has {size / 2**20:.0f} MiB; at most {texts.MAXIMUM_BYTES // 2**20} MiB can be trained on within the cap. Take a part of it."
        )
    return storage.read(key) or b""


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptsRejected(f"{name} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8.") from None


def plan_copy(storage: Storage, prefix: str, plan: dict[str, Any]) -> None:
    """Keeps the plan beside what it produced, so that a run can be understood and repeated later."""
    storage.write(f"{prefix}plan.json", json.dumps(plan, indent=2), "application/json")
