"""The folders that a rehearsal's account is in, while it runs and afterwards."""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

STATE = Path(".rehearsal")  # in the project's folder
WEIGHTS = STATE / "weights"  # the folders of models that are made once
_PROCESSES = 10_000  # a name ends with the last four digits of its process's number
_NAME = re.compile(r"rehearsal-\d{8}-\d{6}-(\d{4})")


def new_name() -> str:
    """A name for a rehearsal that begins now, in this process."""
    return f"rehearsal-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid() % _PROCESSES:04d}"


@dataclass(frozen=True)
class RunFolders:
    """The folders of one rehearsal of a project."""

    project: Path
    name: str

    @property
    def account(self) -> Path:
        """What its account holds, beside the assembly."""
        return (self.project / STATE / "runs" / self.name).absolute()

    @property
    def assembly(self) -> Path:
        """What was deployed; it stays."""
        return self.account / "cdk.out"

    @property
    def logs(self) -> Path:
        """What training and the Lambdas said; it stays."""
        return self.project / STATE / "logs" / self.name

    def clear_away(self) -> None:
        """Keep the assembly and the logs; take the rest away."""
        lambda_logs = self.account / "lambda" / "logs"
        if lambda_logs.is_dir():
            shutil.copytree(lambda_logs, self.logs, dirs_exist_ok=True)
        if self.account.is_dir():
            for path in self.account.iterdir():
                if path != self.assembly:
                    shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # it stays while the assembly is in it
                self.account.rmdir()


def of_ended_rehearsals(parent: Path) -> list[Path]:
    """The folders in `parent` that are named after rehearsals of which no process is running, oldest first."""
    running = {process % _PROCESSES for process in psutil.pids()}
    named = ((folder, _NAME.fullmatch(folder.name)) for folder in sorted(parent.glob("rehearsal-*")))
    return [folder for folder, made_by in named if made_by and int(made_by[1]) not in running]


def clear_abandoned(project: Path) -> None:
    """Clear away after rehearsals that were killed."""
    for folder in of_ended_rehearsals(project / STATE / "runs"):
        with suppress(OSError):  # another rehearsal, which begins too, may be at it
            RunFolders(project, folder.name).clear_away()
