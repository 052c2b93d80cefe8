"""What the first seed gave, kept among the checkpoints: a job that is interrupted later on does not train it again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import checkpoints
from output import ADAPTER_FILES, publish_files
from progress import say
from watch import Progress

KEPT = "first-seed"


@dataclasses.dataclass
class First:
    """The metrics of the first seed, as metrics.json has them, and what its training took."""

    metrics: dict[str, Any]
    progress: Progress

    @property
    def steps(self) -> int:
        """How many were made."""
        return int(self.metrics["training"]["steps"])

    @property
    def cut_short(self) -> str | None:
        """Why it is no whole training that another one may be held against; None where it is one."""
        stopped = self.metrics["training"]["stopped_early"]
        if stopped:
            return f"the first seed's own training ended early ({stopped})"
        if unmeasured := self.metrics["training"]["unmeasured"]:
            return f"the first seed's losses were not measured ({unmeasured})"
        return None


def keep(root: Path, first: First, identity: str) -> None:
    """Copies what was published. A disk that is too full for the copy costs a training after an interruption, and nothing else."""
    place = root / "checkpoints" / KEPT
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in ADAPTER_FILES:
            shutil.copyfile(root / "model" / name, place / name)
        (place / "metrics.json").write_text(json.dumps(first.metrics), encoding="utf-8")
        checkpoints.seal(place, dataclasses.asdict(first.progress), identity)
    except OSError as error:
        say("note", text=f"the first seed's result could not be kept for an interruption: {error}")


def find(root: Path, identity: str) -> First | None:
    """What an earlier start of this job has kept; None where there is none, or where it is damaged."""
    place = root / "checkpoints" / KEPT
    if not place.is_dir():
        return None
    state = checkpoints.state_of(place, identity)
    if state is None:
        return None
    return First(json.loads((place / "metrics.json").read_text(encoding="utf-8")), Progress(**state))


def publish_again(root: Path, first: First) -> None:
    """Writes the files of the job out of what was kept. Raises OSError."""
    publish_files(root, root / "checkpoints" / KEPT, first.metrics)
