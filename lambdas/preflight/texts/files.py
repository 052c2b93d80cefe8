"""The user's files in the bucket, and the domain's own files in the deployed data."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.errors import DatasetRejected
from common.storage import Head, Storage
from preflight.texts import outside_text, personal_data, text_file
from preflight.texts.text_file import Document


@dataclass(frozen=True)
class Files:
    """The user's files in the bucket, and the domain's own files in the deployed data."""

    storage: Storage
    data: dict[str, bytes]
    domain: str
    _heads: dict[str, Head | None] = field(default_factory=dict, repr=False, compare=False)

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
        head = self.head(key)
        if head is None:
            raise DatasetRejected(
                f"There is no {key} in the bucket {self.storage.bucket}. Upload it: aws s3 cp FILE s3://{self.storage.bucket}/{key}"
            )
        if head.size > text_file.MAXIMUM_BYTES:
            raise text_file.too_large(key, head.size)
        return self.storage.read(key) or b""

    def head(self, key: str) -> Head | None:
        """Size and version of a user's file, as they were when it was first asked for; None for one that is missing."""
        if key not in self._heads:
            self._heads[key] = self.storage.head(key)
        return self._heads[key]

    def control(self) -> list[Document]:
        """Text on unrelated subjects, to see what is forgotten; none where the data has none."""
        content = self.data.get("control.txt")
        return text_file.documents(text_file.decode(content, "data/control.txt"), "control") if content else []
