"""The code of the Lambdas: one folder for all of them, and the same folder with packages for those that render a report.

The packages are those of requirements/bundle.txt, fetched by their hashes for Lambda's processor while the template is made. Functions that
hold money get none. A synthesis that deploys nothing fetches nothing: it sets the CDK's own context `aws:cdk:bundling-stacks` to [],
and its asset is the folder itself.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

# What Python leaves behind in a folder does not belong into an asset of it.
ASSET_OPTIONS: dict[str, Any] = {
    "exclude": ["**/__pycache__", "**/*.pyc", "**/.DS_Store", "**/.*_cache"],
    "ignore_mode": cdk.IgnoreMode.GLOB,
}
PYTHON = lambda_.Runtime.PYTHON_3_14
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")
NOT_FETCHED = (
    "captune: The packages of requirements/bundle.txt, which write the report, could not be fetched. Let this machine reach the Python package "
    "registry (or set PIP_INDEX_URL to a mirror of it), and run the same command again. pip said: "
)


def plain_code(folder: Path) -> lambda_.Code:
    """The Lambdas' folder without what Python leaves behind in it."""
    return lambda_.Code.from_asset(str(folder), **ASSET_OPTIONS)


def code_with_packages(folder: Path, requirements: Path) -> lambda_.Code:
    """The same folder with the packages beside it. Its key does not depend on whether they were fetched.

    A synthesis that fetches nothing (`captune check`) so gives the template that a deployment gives.
    """
    content = cdk.FileSystem.fingerprint(str(folder), extra_hash=requirements.read_text("utf-8"), **ASSET_OPTIONS)
    return lambda_.Code.from_asset(
        str(folder),
        **ASSET_OPTIONS,
        # Of what goes in: what pip writes beside the packages is not the same twice.
        asset_hash=content,
        asset_hash_type=cdk.AssetHashType.CUSTOM,
        bundling=cdk.BundlingOptions(image=PYTHON.bundling_image, local=Packages(folder, requirements)),
    )


@jsii.implements(cdk.ILocalBundling)
class Packages:
    """Copies the code and installs the packages beside it, on this machine and without Docker."""

    def __init__(self, folder: Path, requirements: Path) -> None:
        self._folder, self._requirements = folder, requirements

    def try_bundle(self, output_dir: str, options: Any) -> bool:
        """Fills the folder of the asset. Ends the synthesis where a package cannot be fetched: a report without them could not be written."""
        shutil.copytree(
            self._folder, output_dir, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"), dirs_exist_ok=True
        )
        done = subprocess.run(pip_command(output_dir, self._requirements), capture_output=True, text=True, check=False)
        if done.returncode:
            # Not an exception, which the CDK would wrap into fifty lines.
            sys.exit(NOT_FETCHED + (done.stderr.strip() or done.stdout.strip()))
        return True


def pip_command(target: str, requirements: Path) -> list[str]:
    """How pip installs the packages for Lambda's processor and Python, each file by its hash."""
    return [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, "--require-hashes", "--no-deps",
        "--no-compile", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON.name.removeprefix("python"),
        *(f"--platform={platform}" for platform in PLATFORMS), "--requirement", str(requirements),
    ]  # fmt: skip
