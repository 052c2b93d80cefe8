"""The files of a run, each read once: a user's from the bucket, in the version that was checked, and the domain's own from the deployed data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.errors import DatasetRejected
from common.storage import Storage
from preflight.texts import text_file


@dataclass(frozen=True)
class Files:
    """The files of a run. `versions` are those that must be read, by key; what is read without one is noted there."""

    storage: Storage
    data: dict[str, bytes]
    domain: str
    versions: dict[str, str] = field(default_factory=dict)

    def name(self, key: str | None, default: str) -> str:
        """How a message calls the file."""
        return key or f"data/{self.domain}{default}"

    def text(self, key: str | None, default: str, minimum_words: int, most_bytes: int = text_file.MOST_BYTES) -> str:
        """A text that can be learned from or measured on. Raises DatasetRejected or PatientDataSuspected."""
        name = self.name(key, default)
        return text_file.checked(self.content(key, default, most_bytes), name, minimum_words)

    def content(self, key: str | None, default: str, most_bytes: int = text_file.MOST_BYTES) -> bytes:
        """The bytes of a file. Raises DatasetRejected for one that is missing or too large."""
        if key is None:
            file = f"{self.domain}{default}"
            if file not in self.data:
                raise DatasetRejected(
                    f"data/{file} does not exist. Add it for this domain, or correct the setting `domain`, and deploy again."
                )
            return self.data[file]
        found = self.storage.fetch(key, most_bytes, self.versions.get(key, ""))
        if found is None:
            raise DatasetRejected(
                f"There is no {key} in the bucket {self.storage.bucket}. Upload it: aws s3 cp FILE s3://{self.storage.bucket}/{key}"
            )
        text_file.refuse_too_large(key, found.size, most_bytes)
        self.versions[key] = found.version
        return found.content

    def control(self) -> list[text_file.Document]:
        """Text on unrelated subjects, to see what is forgotten; none where the data has none."""
        content = self.data.get("control.txt")
        return text_file.documents(text_file.decode(content, "data/control.txt"), "control") if content else []
