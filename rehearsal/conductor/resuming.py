"""Keeps the checkpoints of a rehearsal that ended before its training did, for `captune rehearse --resume`.

The training job of a rehearsal writes them to a folder that outlives it, also when its process is killed. The host of a job that
completes removes it, and then those of all rehearsals that are over go.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .folders import STATE, of_ended_rehearsals

_ROOT = STATE / "checkpoints"
_ARGUMENTS, _JOB = "arguments.json", "job"
# Written by training (training/checkpoints.py): the last file of a whole checkpoint, and the seconds that a job's earlier starts took.
_WHOLE, _STARTS = "checkpoint-*/manifest.json", "starts.json"


def newest(project: Path) -> Path | None:
    """The folder of the last rehearsal that is over and left a whole checkpoint; None where there is none."""
    left = reversed(of_ended_rehearsals(project / _ROOT))
    return next((folder for folder in left if any(folder.rglob(_WHOLE))), None)


def arguments_of(folder: Path) -> list[str]:
    """The command line of the rehearsal that left a folder. Raises ValueError or OSError where it cannot be read."""
    return [str(word) for word in json.loads((folder / _ARGUMENTS).read_text("utf-8"))]


def begin(project: Path, name: str, arguments: Sequence[str], earlier: Path | None = None) -> Path:
    """The folder for the checkpoints of the training job of a rehearsal: empty, or with those of an earlier rehearsal."""
    folder = project / _ROOT / name
    if earlier:
        earlier.rename(folder)
        for file in folder.rglob(_STARTS):
            with suppress(OSError, ValueError):  # training passes over a damaged one
                # Another job has its whole time.
                file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "seconds": 0.0}), "utf-8")
    (folder / _JOB).mkdir(parents=True, exist_ok=True)
    (folder / _ARGUMENTS).write_text(json.dumps(list(arguments)), "utf-8")
    return folder / _JOB


def end(project: Path, name: str) -> bool:
    """Remove what nobody can go on from; return whether `--resume` can go on from this rehearsal."""
    own = project / _ROOT / name
    if left := any(own.rglob(_WHOLE)):
        return left
    completed = own.is_dir() and not (own / _JOB).exists()
    for folder in (own, *(of_ended_rehearsals(project / _ROOT) if completed else [])):
        shutil.rmtree(folder, ignore_errors=True)
    return False
