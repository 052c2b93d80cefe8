"""An emulated AWS account: ministack in a separate process, with our SageMaker stand-in beside it."""

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.account.clients import Clients
from rehearsal.account.gateway import Gateway
from rehearsal.events import Clock
from rehearsal.programs import PROJECT, StepFailed, python_packages
from rehearsal.sagemaker.real.container import Container, free_port
from rehearsal.sagemaker.standin import PLAYED, StandIn
from verification.fake_engines import FakeHosting, FakeTraining

NUMBER, REGION = "123456789012", "us-east-1"
REQUIREMENTS = PROJECT / "requirements/ministack.txt"
_EMULATOR = Path(__file__).parent / "emulator"
_START_SECONDS = 60
_OWNER = "standin"  # the emulator's owner, who may do everything; the stand-in's S3 client acts as the owner
_WAIT_SCALE = "0.02"  # what a second of a Wait state or a Retry takes
# With these no SDK looks for the credentials, profiles or instance role of this machine.
_PERSON = {
    "AWS_ACCESS_KEY_ID": NUMBER,  # an access key of twelve digits names its account
    "AWS_SECRET_ACCESS_KEY": "conformance",  # pragma: allowlist secret
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def version() -> str:
    """The pinned version of the emulator."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line.split()[0].replace("==", " ") for line in lines if line.startswith("ministack=="))


@dataclass
class Account:
    """One account. `sagemaker` is the stand-in, with engines that finish immediately; its calls come through `gateway`."""

    url: str
    sagemaker: StandIn
    gateway: Gateway

    def environment(self) -> dict[str, str]:
        """The variables with which every AWS SDK and the CDK CLI find this account and no other."""
        names = [f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}" for service in PLAYED]
        return {"AWS_ENDPOINT_URL": self.url, **dict.fromkeys(names, self.gateway.url), **_PERSON}

    def client(self, service: str) -> Any:
        """Return a boto3 client of a person in this account."""
        return Clients(self.gateway.url if service in PLAYED else self.url, REGION).get(service, NUMBER)

    def answers(self) -> bool:
        """Whether the emulator answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5) as answer:
                return bool(json.load(answer))
        except (OSError, ValueError):
            return False


@contextmanager
def opened(folder: Path, log: Path) -> Iterator[Account]:
    """Start an empty account, and end it with all its processes.

    Args:
        folder: a folder for what it writes; emptied.
        log: the file for the emulator's output.

    Raises:
        CannotRun: the emulator cannot be installed here.
        StepFailed: it did not start.
    """
    python = python_packages("ministack", REQUIREMENTS)
    shutil.rmtree(folder, ignore_errors=True)
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    clock, s3 = Clock(), Clients(url, REGION)
    gateway = Gateway(clock)
    try:
        sagemaker = StandIn(
            folder / "sagemaker",
            lambda role: s3.get("s3", _OWNER),
            clock,
            training=FakeTraining(),
            hosting=FakeHosting(),
        )
        gateway.players = dict.fromkeys(PLAYED, sagemaker.answer)
        account = Account(url, sagemaker, gateway)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **account.environment(),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "AUTH": "true",  # roles are held to their policies
            "AWS_ACCESS_KEY_ID": _OWNER,
            "AWS_SECRET_ACCESS_KEY": _OWNER,
            "MINISTACK_ACCOUNT_ID": NUMBER,
            "SFN_WAIT_SCALE": _WAIT_SCALE,
            "TMPDIR": str(scratch),
        }
        log.unlink(missing_ok=True)
        emulator = Container([str(python), str(_EMULATOR)], environment, scratch, log, lambda line: None)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not account.answers():
                if emulator.ended.is_set() or time.monotonic() > deadline:
                    raise StepFailed(f"the emulator ended, or did not answer within {_START_SECONDS} s; see {log}")
                time.sleep(0.2)
            yield account
        finally:
            emulator.kill()
    finally:
        gateway.stop()
