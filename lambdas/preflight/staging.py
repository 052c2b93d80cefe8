"""Everything a run needs, read from the deployed assets or the user's files, and checked.

Nothing is written here: whoever reads it may not have the run's name yet. lambdas/stage writes it once the run owns its prefix.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from common.aws import error_code, error_message, is_missing
from common.environment import required
from common.errors import AssetUnreadable, DatasetRejected, HeldOutLeaks
from common.storage import Storage
from common.text import words
from preflight.prompts import prompt_file
from preflight.request import Request
from preflight.texts import holding_out, outside_text, personal_data, text_file
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document

# Below training/, which is all that the hosting role may read of a run.
TRIAL_FOLDER = "training/trial/"
PROMPTS = "input/prompts.jsonl"
# Prompts of a smoke run: the starters stand first in the project's files.
SMOKE_PROMPTS = 4
# What the trial model points to in place of the adapter, which does not exist yet: SageMaker looks whether there is something.
_PLACEHOLDER = '{"note": "In place of the adapter while hosting is tried. It is never loaded."}'

T = TypeVar("T")
Attempt = Callable[[Callable[[], T]], T | None]


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


def gather(
    storage: Storage,
    data: dict[str, bytes],
    request: Request,
    domain: str,
    attempt: Attempt[Any],
    corpus_words: int = 0,
) -> Material | None:
    """Reads and checks texts and prompts, each whatever is wrong with the others; None when `attempt` kept a fault.

    `corpus_words` trains on a part of the corpus, 0 on all of it. The faults are DatasetRejected (or one of its kinds) and
    PromptsRejected.
    """
    files = _Files(storage, data, domain)
    makes_held_out = request.corpus is not None and request.held_out is None
    makes_prompts = request.corpus is not None and request.prompts is None
    corpus = attempt(lambda: files.text(request.corpus, "dataset.txt", text_file.MINIMUM_WORDS))
    apart = None
    if not makes_held_out:
        apart = attempt(lambda: files.text(request.held_out, "heldout.txt", text_file.MINIMUM_HELD_OUT_WORDS))
    asked = None
    if not makes_prompts:
        name = files.name(request.prompts, "prompts.jsonl")
        asked = attempt(lambda: prompt_file.parse(files.content(request.prompts, "prompts.jsonl"), name))
    others = None
    if (key := request.held_outside) is not None:
        others = attempt(lambda: files.outside(key))
    if corpus is None or (apart is None and not makes_held_out):
        return None
    training, held_out = holding_out.split(corpus) if apart is None else _documents(corpus, apart)
    training = text_file.part(training, corpus_words)
    overlap = Overlap(text_file.as_text(training))
    if apart is None:
        # What a text says twice cannot be held out.
        held_out = [part for part in held_out if overlap.first(part.text) is None]
        if not held_out:
            attempt(lambda: _refuse_repetition(files.name(request.corpus, "dataset.txt")))
            return None
    else:
        attempt(lambda: overlap.refuse(files.name(request.held_out, "heldout.txt"), apart))
    held_out, repeated = holding_out.different(held_out)
    warnings = _told_of_held_out(held_out, repeated)
    outside = outside_text.Outside([], outside_text.NONE_GIVEN)
    if request.held_outside is not None:
        if others is None:
            return None
        outside = outside_text.measured(others, request.held_outside, overlap, held_out, attempt)
        warnings += outside.warnings
    if asked is None and makes_prompts:
        asked = prompt_file.from_held_out(held_out)
    if asked is None:
        return None
    control = [part for part in attempt(files.control) or [] if overlap.first(part.text) is None]
    if request.smoke:
        asked = asked[:SMOKE_PROMPTS]
    return Material(
        training,
        held_out,
        control,
        asked,
        words.count(text_file.as_text(training)),
        tuple(warnings),
        outside.documents,
        outside.told,
    )


def _told_of_held_out(held_out: list[Document], repeated: int) -> list[str]:
    """What is to be told of the held-out documents before the run; `repeated` of them were left out."""
    warnings = []
    if repeated:
        warnings.append(f"{repeated} held-out documents say what another one says; each is measured once.")
    if len(held_out) < holding_out.MINIMUM_DOCUMENTS:
        warnings.append(
            f"Only {len(held_out)} held-out documents: with fewer than {holding_out.MINIMUM_DOCUMENTS} the verdict is always “not shown”. Give a longer "
            "text, or more documents under `# Title` lines."
        )
    elif holding_out.are_passages(held_out):
        warnings.append(
            f"The text has too few documents under `# Title` lines, so it was cut into passages: {len(held_out)} of them are held out and count as documents. "
            "Passages of one document are alike, so the interval looks surer than it is."
        )
    return warnings


def _refuse_repetition(name: str) -> None:
    """Raises HeldOutLeaks for a corpus of which no part can be held out."""
    raise HeldOutLeaks(
        f"Every part of {name} that was to be held out stands in another part as well, so its loss would prove nothing. "
        "Remove the repetitions, or give `heldOut` text of its own."
    )


def files(material: Material, code: dict[str, bytes]) -> dict[str, bytes]:
    """What lies under a run's prefix when it begins, by path below it; plan.json apart."""
    staged = {
        f"{TRIAL_FOLDER}adapter_config.json": _PLACEHOLDER.encode(),
        "input/corpus/corpus.txt": _bytes(text_file.as_text(material.training)),
        "input/evaluation/heldout.jsonl": _bytes(text_file.as_lines(material.held_out)),
        PROMPTS: _bytes("".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in material.prompts)),
    }
    if material.outside:
        staged["input/evaluation/outside.jsonl"] = _bytes(text_file.as_lines(material.outside))
    if material.control:
        staged["input/evaluation/control.jsonl"] = _bytes(text_file.as_lines(material.control))
    return staged | {f"code/{path}": content for path, content in code.items()}


def digest(staged: dict[str, bytes]) -> str:
    """The SHA-256 of files with their paths: the same for the same files, whatever their order."""
    total = hashlib.sha256()
    for path, content in sorted(staged.items()):
        # Lengths first, so that no file can continue in the next one.
        total.update(f"{len(path.encode())} {path} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()


def _bytes(text: str) -> bytes:
    # As Storage.write does it: half of a surrogate pair, which UTF-8 does not hold, becomes a question mark.
    return text.encode("utf-8", "replace")


def _documents(corpus: str, apart: str) -> tuple[list[Document], list[Document]]:
    held_out = text_file.documents(apart, "heldout")
    if len(held_out) < holding_out.MINIMUM_DOCUMENTS:
        held_out = holding_out.blocks(apart)
    return text_file.documents(corpus, "training"), held_out


@dataclass(frozen=True)
class _Files:
    """The user's files in the bucket, and the domain's own files in the deployed data."""

    storage: Storage
    data: dict[str, bytes]
    domain: str

    def name(self, key: str | None, default: str) -> str:
        """How a message calls the file."""
        return key or f"data/{self.domain}{default}"

    def text(self, key: str | None, default: str, minimum_words: int) -> str:
        """A text that can be learned from or measured on."""
        name = self.name(key, default)
        text = text_file.decode(self.content(key, default), name)
        text_file.check(text, name, minimum_words)
        personal_data.refuse_patient_data(text, name)
        return text

    def outside(self, key: str) -> list[Document]:
        """The documents of a user's outside text."""
        return outside_text.read(self.content(key, ""), key)

    def content(self, key: str | None, default: str) -> bytes:
        """The bytes of a file. Raises DatasetRejected for one that is missing or too large to be read."""
        if key is None:
            file = f"{self.domain}{default}"
            if file not in self.data:
                raise DatasetRejected(
                    f"data/{file} does not exist. Add it for this domain, or correct the setting `domain`, and deploy again."
                )
            return self.data[file]
        size = self.storage.size(key)
        if size is None:
            raise DatasetRejected(
                f"There is no {key} in the bucket {self.storage.bucket}. Upload it: aws s3 cp FILE s3://{self.storage.bucket}/{key}"
            )
        if size > text_file.MAXIMUM_BYTES:
            raise text_file.too_large(key, size)
        return self.storage.read(key) or b""

    def control(self) -> list[Document]:
        """Text on unrelated subjects, to see what is forgotten; none where the data has none."""
        content = self.data.get("control.txt")
        return text_file.documents(text_file.decode(content, "data/control.txt"), "control") if content else []
