"""An AWS account that is not ours: ministack in a process of its own, with our SageMaker stand-in beside it.

with Account(folder, logs) as account:
    account.client("cloudformation")…
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from verification.conformance.environments import PROJECT, python_packages
from rehearsal.sagemaker import StandIn
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from rehearsal.sagemaker.real.ports import free_port

NUMBER, REGION = "123456789012", "us-east-1"
REQUIREMENTS = PROJECT / "requirements/ministack.txt"
_OWNER = "standin"
_START_SECONDS, _END_SECONDS = 60, 10
_WAIT_SCALE = "0.02"  # what a second of a Wait state or a Retry takes
# So that nobody's own credentials, profiles or instance are ever looked for.
_NO_OTHER_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": NUMBER,  # an access key of twelve digits names its account
    "AWS_SECRET_ACCESS_KEY": "conformance",  # pragma: allowlist secret
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class AccountFailed(RuntimeError):
    """The emulator did not start, or broke off; the message says where its log lies."""


def version() -> str:
    """The pinned version of the emulator."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line.split()[0].replace("==", " ") for line in lines if line.startswith("ministack=="))


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started in a session of its own, and all its children."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        # The leader has ended; those whom it left behind are ended by the second round.
    process.wait(_END_SECONDS)


class Account:
    """One account, empty at first. Use it in a with-statement.

    Args:
        folder: a folder for what it writes; emptied.
        logs: where emulator.log goes.

    Attributes:
        sagemaker: the stand-in, with engines that finish at once.
        ignored: a file with what the emulator did not look at; see emulator/ignored_properties.py.
    """

    def __init__(self, folder: Path, logs: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        logs.mkdir(parents=True, exist_ok=True)
        self._folder, self._log = folder, logs / "emulator.log"
        self.ignored = folder / "ignored.jsonl"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.sagemaker = StandIn(
            folder / "sagemaker", s3_endpoint=self.url, training=FakeTraining(), hosting=FakeHosting()
        )

    def __enter__(self) -> Account:
        python = python_packages(REQUIREMENTS, "ministack")
        self.sagemaker.start()
        try:
            self._start(python)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process)
        self.sagemaker.stop()

    def environment(self) -> dict[str, str]:
        """The variables with which every AWS SDK and the CDK CLI find this account and no other."""
        return {"AWS_ENDPOINT_URL": self.url, **self.sagemaker.environment(), **_NO_OTHER_ACCOUNT}

    def client(self, service: str) -> Any:
        """Return a boto3 client of a person in this account."""
        own = self.sagemaker.environment().get(f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}")
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=own or self.url,
            aws_access_key_id=NUMBER,
            aws_secret_access_key="conformance",  # pragma: allowlist secret
            config=Config(proxies={}, s3={"addressing_style": "path"}, read_timeout=60),
        )

    def check(self) -> None:
        """Raise AccountFailed when the emulator has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            raise AccountFailed(f"the emulator ended by itself; its last words are in {self._log}")

    def _start(self, python: Path) -> None:
        scratch = self._folder / "scratch"
        scratch.mkdir()
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {
            **inherited,
            **self.environment(),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._port),
            "AUTH": "true",  # roles are held to their policies
            # The owner of the emulator, whom it lets do everything, and whose account is NUMBER: the stand-in's S3 client.
            "AWS_ACCESS_KEY_ID": _OWNER,
            "AWS_SECRET_ACCESS_KEY": _OWNER,
            "MINISTACK_ACCOUNT_ID": NUMBER,
            "SFN_WAIT_SCALE": _WAIT_SCALE,
            "TMPDIR": str(scratch),
            "IGNORED_PROPERTIES": str(self.ignored),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).parent / "emulator")],
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                raise AccountFailed(f"the emulator did not answer within {_START_SECONDS} s; see {self._log}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5) as answer:
                return bool(json.load(answer))
        except (urllib.error.URLError, OSError, ValueError):
            return False
