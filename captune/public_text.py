"""Openly licensed text of the medical field, from its public homes at fixed versions. None of it is part of this project.

PubMedQA's expert-labelled part (Jin et al., 2019): 1,000 abstracts of PubMed. MedQuAD (Ben Abacha and Demner-Fushman, 2019): pages of the NIH for patients.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captune.account import Refused
from rehearsal import user_files

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Source:
    """One public text. Its file starts with `begins`; `sha256` is that of the unpacked content, since an archive may be compressed differently one day."""

    name: str
    address: str
    begins: bytes
    largest_bytes: int
    unpack: Callable[[bytes], bytes]
    sha256: str
    attribution: str

    def fetch(self, files: Iterable[Path] = (), seconds: float = 60) -> bytes:
        """The unpacked text, from the one of the downloaded files that is this source's, or else from its address.

        Raises Refused if it cannot be read, is not the pinned version, or takes longer.
        """
        file = next((one for one in files if _beginning(one, len(self.begins)) == self.begins), None)
        place = file or self.address
        fix = f"Download {self.address} with a browser, copy the file to this machine, and add --from-file FILE to captune external or captune corpus."
        try:
            found = self.unpack(_read(file.resolve().as_uri() if file else self.address, self.largest_bytes, seconds))
        except (OSError, EOFError, tarfile.TarError) as error:  # urllib's URLError and TimeoutError are OSErrors
            raise Refused(f"{place} cannot be read ({error}). {fix}") from error
        if (digest := hashlib.sha256(found).hexdigest()) != self.sha256:
            raise Refused(f"{place} is not the pinned version: its SHA-256 is {digest}, not {self.sha256}. {fix}")
        return found


def write_whole(target: Path, text: str) -> None:
    """Writes a file that has its name only when all of it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, target)


def _beginning(file: Path, size: int) -> bytes:
    user_files.checked_size(file)
    with file.open("rb") as opened:
        return opened.read(size)


def _read(address: str, largest_bytes: int, seconds: float) -> bytes:
    """The content at an address. Raises OSError if that takes longer in all, or is larger."""
    until, content = time.monotonic() + seconds, bytearray()
    with urllib.request.urlopen(address, timeout=seconds) as answer:
        while part := answer.read(_CHUNK_BYTES):
            content += part
            if len(content) > largest_bytes:
                raise OSError(f"it is larger than {largest_bytes:,} bytes")
            if time.monotonic() > until:
                raise TimeoutError(f"it takes longer than {seconds:g} seconds")
    return bytes(content)


# Abstracts ------------------------------------------------------------------------------------------------------------

_PUBMEDQA = "1cbae8e92f72f20c8d3747cbb3bf5bc53554d997"
ABSTRACTS = Source(
    "abstracts",
    f"https://raw.githubusercontent.com/pubmedqa/pubmedqa/{_PUBMEDQA}/data/ori_pqal.json",
    b"{",
    16 * 2**20,  # the file has 2.5 MiB
    lambda content: content,
    "8b3276be8942ebbd77f3ddcda12c1749bf0e490045a736fd8438ee40cf37a41d",
    "Abstracts of PubMed, from PubMedQA (Jin et al., EMNLP 2019, https://pubmedqa.github.io), MIT licence.",
)


@dataclass(frozen=True)
class Abstract:
    """One abstract: its number in PubMed, its question as the title, and its MeSH terms."""

    number: int
    title: str
    terms: tuple[str, ...]
    text: str


def abstracts(content: bytes) -> list[Abstract]:
    """PubMedQA's abstracts, in the order of their numbers in PubMed."""
    records: Mapping[str, Mapping[str, Any]] = json.loads(content)
    return [
        Abstract(
            int(key), str(one["QUESTION"]), tuple(one["MESHES"]), "\n\n".join([*one["CONTEXTS"], one["LONG_ANSWER"]])
        )
        for key, one in sorted(records.items(), key=lambda row: int(row[0]))
    ]


# Pages for patients -----------------------------------------------------------------------------------------------------

_MEDQUAD = "577bd37b96c02d1833b2c9eed2de9f96964e96cb"
_END = b"\0"


def _documents(archive: bytes) -> bytes:
    """The XML documents of MedQuAD's archive in the order of their paths, each after its path."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        found = {
            one.name.partition("/")[2]: file.read()
            for one in members
            if (file := members.extractfile(one)) and one.name.endswith(".xml")
        }
    return b"".join(part for path in sorted(found) for part in (path.encode(), _END, found[path], _END))


MEDQUAD = Source(
    "medquad",
    f"https://codeload.github.com/abachaa/MedQuAD/tar.gz/{_MEDQUAD}",
    b"\x1f\x8b",
    32 * 2**20,  # the archive has 7 MiB
    _documents,
    "e4362a4a9ba1357795e38c0353bf3c0fa1f6ad2d87e0985d11fb89aa9c65afd0",
    "Pages of the US National Institutes of Health, from MedQuAD (Ben Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019, "
    "https://github.com/abachaa/MedQuAD), CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Questions and link lists were left out.",
)


@dataclass(frozen=True)
class Page:
    """One page: its institute's folder, its number there, what it is about, and its answers by type of question."""

    folder: str
    number: int
    title: str
    answers: Mapping[str, str]

    def text(self, *types: str) -> str:
        """The answers to these types of question, or all, as paragraphs."""
        return "\n\n".join(self.answers[one] for one in types or self.answers if one in self.answers)


def pages(content: bytes, within: str = "") -> Iterator[Page]:
    """MedQuAD's pages that have an answer, by folder and number: those of one folder, or all."""
    parts = content.split(_END)
    for path, document in zip(parts[:-1:2], parts[1::2], strict=True):
        if not path.startswith(within.encode()):
            continue
        root, answers = ElementTree.fromstring(document), dict[str, str]()
        for pair in root.iter("QAPair"):
            question, answer = pair.find("Question"), _paragraphs(pair.findtext("Answer") or "")
            if question is not None and answer:
                kind = str(question.get("qtype"))
                answers[kind] = f"{answers[kind]}\n\n{answer}" if kind in answers else answer
        if answers:
            folder, _, file = path.decode().partition("/")
            yield Page(folder, int(re.sub(r"\D", "", file)), (root.findtext("Focus") or "").strip(), answers)


def _paragraphs(answer: str) -> str:
    """An answer with its paragraphs apart: two spaces or a line end lie between them."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\s*\n\s*|(?<=[.:])  +", answer) if part.strip())
