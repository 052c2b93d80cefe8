"""Which licences a dependency may have, and the list of third parties: python -m gates.licences > THIRD_PARTY_NOTICES.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Its own packages, and setuptools, pip-licenses calls the system's; a set-up installs them all the same.
LISTING = ("pip-licenses", "--from=mixed", "--format=json", "--with-system")
# Permissive (BSL-1.0 is Boost's), or copyleft that ends at the file or the library (MPL, LGPL). A licence that reaches further is not one of ours.
ALLOWED = re.compile(
    r"\b(0?BSD|BSL-1.0|MIT|MIT-0|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LGPL|Zlib|HPND|Unlicense|CC0|CNRI)\b|Permission is hereby granted",
    re.IGNORECASE,
)
REFUSED = re.compile(r"(?<!L)\bA?GPL|Affero|SSPL|Business Source|Non-?Commercial", re.IGNORECASE)
# Whose metadata does not say it in words that a program knows, with what their licence file says.
READ_BY_HAND = {
    "huey": "MIT",
    "lizard": "MIT",
    "sagemaker-train": "Apache-2.0",
    "skops": "MIT",
}
REQUIREMENTS = (
    "requirements/constraints.txt",
    "requirements.txt",
    "requirements/rehearsal.txt",
    "requirements/dev.txt",
)
REQUIREMENT = re.compile(
    r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?(?:==(?P<exact>[^\s;]+)|(?P<range>[<>][^\s;]+))", re.MULTILINE
)
# What a machine's own build of torch brings along; nothing of it is passed on by this project.
WITH_TORCH = re.compile(r"^(nvidia-.*|cuda-.*|triton)$")


@dataclass(frozen=True)
class Package:
    """A dependency with its licence, in one line."""

    name: str
    version: str
    licence: str

    @property
    def is_allowed(self) -> bool:
        """Whether each licence that holds for it is one that we accept; of two to choose from, one is enough."""
        parts = re.split(r"\bAND\b|;", self.licence)
        return all(ALLOWED.search(part) for part in parts) and not REFUSED.search(self.licence)


def read(listed: str) -> list[Package]:
    """The packages that pip-licenses lists as JSON, this project and what torch brings along left out."""
    packages = []
    for row in json.loads(listed):
        name = row["Name"]
        if name == "captune" or WITH_TORCH.match(name):
            continue
        words = " ".join(row["License"].split())
        licence = "MIT" if "Permission is hereby granted, free of charge" in words else words
        packages.append(Package(name, row["Version"], READ_BY_HAND.get(name, licence)))
    return sorted(packages, key=lambda package: package.name.lower())


def notices(packages: list[Package], required: str) -> str:
    """A table of those packages that this project asks for, in lines of requirements; of a range, the range and not what is installed."""
    versions = {_key(found["name"]): found["exact"] or found["range"] for found in REQUIREMENT.finditer(required)}
    rows = [f"| {p.name} | {versions[_key(p.name)]} | {p.licence} |" for p in packages if _key(p.name) in versions]
    return "\n".join(
        [
            "# Third-party notices",
            "",
            "What a set-up of this project installs from the Python Package Index, with its licence as its metadata has it. Nothing of it is",
            "passed on with the source. Made by `make notices`; `make check` refuses a licence that is neither permissive nor weak copyleft.",
            "The base model of a rehearsal, SmolLM2-135M, is under Apache 2.0; Llama 2 is under Meta's own licence, which its user accepts.",
            "",
            "| package | version | licence |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _key(name: str) -> str:
    return name.lower().replace("_", "-")


if __name__ == "__main__":
    tool = str(Path(sys.executable).parent / LISTING[0])
    listed = subprocess.run([tool, *LISTING[1:]], capture_output=True, text=True, check=True).stdout
    print(notices(read(listed), "".join((PROJECT / name).read_text("utf-8") for name in REQUIREMENTS)), end="")
