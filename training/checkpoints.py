"""The trainer's checkpoints, made safe, and what is lost without them.

One that is not whole, or of another run, is never used. Beside them stands how often the job was begun and how far it came each
time: what its interruptions have cost.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from progress import say

_NOT_UPLOADED = ".sagemaker-ignore"  # the end of a name that SageMaker leaves alone, as its XGBoost container uses it
# SageMaker's own notes beside a file that it copies to S3 come and go at any moment, and are nothing of ours.
_PASSING = (".sagemaker-uploading", ".sagemaker-uploaded", _NOT_UPLOADED)
KEPT = 2  # the newest may turn out damaged, so the one before it stays
MANIFEST = "manifest.json"
STARTS = "starts.json"
# A note of the step is written so often between two checkpoints: SageMaker uploads each, and what is lost is known to a thirtieth.
NOTES_PER_CHECKPOINT = 30


def fingerprint(*parts: object) -> str:
    """A short hash of everything that must be the same for a checkpoint to be of use."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def seal(place: Path, state: dict[str, Any], identity: str) -> None:
    """Adds the manifest without which a checkpoint counts as half written: whose it is, its files' hashes, and `state`.

    Raises OSError for a full disk.
    """
    (place / MANIFEST).unlink(missing_ok=True)  # of an earlier run that got as far
    files = sorted(path for path in place.iterdir() if path.suffix not in _PASSING and path.is_file())
    for path in files:
        _flush(path)
    manifest = {"identity": identity, "files": {path.name: _hash(path) for path in files}, "state": state}
    write_whole(place / MANIFEST, manifest)


def write_whole(path: Path, value: object) -> None:
    """Writes a value as JSON at once: no reader finds half of it. Raises OSError."""
    partial = path.with_name(f"{path.name}{_NOT_UPLOADED}")
    partial.write_text(json.dumps(value), encoding="utf-8")
    _flush(partial)
    os.replace(partial, path)


def newest(folder: Path, identity: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole and of this run's settings, corpus and model, with its state; None where there is none.

    A half-written one is removed; a damaged one (a download that was cut off, a disk that was full) is passed over with a note.
    """
    for place in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        if not (place / MANIFEST).is_file():
            shutil.rmtree(place, ignore_errors=True)
            continue
        state = state_of(place, identity)
        if state is not None:
            return place, state
    return None


def state_of(place: Path, identity: str) -> dict[str, Any] | None:
    """The state that a folder was sealed with; None, with a note, where it is not whole or of another run."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        if manifest["identity"] != identity:
            say("note", text=f"{place.name} belongs to other settings, corpus or model and is not used")
            return None
        if any(_hash(place / name) != expected for name, expected in manifest["files"].items()):
            raise ValueError("a file has changed")
        return dict(manifest["state"])
    except Exception as error:  # whatever is wrong with it, another one may be whole
        say("note", text=f"{place.name} is damaged ({type(error).__name__}: {error}) and is not used")
        return None


def step_of(place: Path) -> int:
    """The step after which a checkpoint was written, by its name; -1 for a name of another form."""
    number = place.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Onto the disk before the rename: otherwise a power cut could leave the name without the content."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@dataclasses.dataclass
class Starts:
    """All starts of one job until now.

    A step that is made after the last note before a kill leaves no trace, so that `steps_again` may be a few short.
    """

    path: Path
    identity: str  # whose they are: as for a checkpoint, another run's count for nothing
    pause: float  # seconds between two notes
    begun: float  # when the present one was, by the machine's clock: loading the model takes of the job's time too
    precision: str  # in which all of them compute, such as "bfloat16"
    count: int = 1
    steps_again: int = 0  # made by an earlier one, lost, and made again
    seconds_before: float = 0.0  # of all earlier ones, as far as they noted them

    def __post_init__(self) -> None:
        self._noted = time.monotonic()

    def note(self, step: int, *, at_once: bool = False) -> None:
        """Writes how far the training is, where the last note is old enough."""
        if not at_once and time.monotonic() - self._noted < self.pause:
            return
        self._noted = time.monotonic()
        counts = {"count": self.count, "step": step, "steps_again": self.steps_again}
        seconds = self.seconds_before + time.monotonic() - self.begun
        write_whole(self.path, {"identity": self.identity, "precision": self.precision, **counts, "seconds": seconds})


def precision_of_earlier_starts(folder: Path) -> str:
    """In which precision the job's earlier starts computed, such as "bfloat16"; "" where there was none.

    A CPU measures which precision is faster, and may find another one in a later start, whose checkpoints would then be of no use.
    """
    try:
        return str(json.loads((folder / STARTS).read_text(encoding="utf-8"))["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def count_start(
    folder: Path, identity: str, *, resumed_step: int, checkpoint_minutes: float, begun: float, precision: str
) -> Starts:
    """Counts another start of the job, which goes on from `resumed_step` and `begun` at that second of the machine's clock.

    What the file of earlier ones lacks counts as nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Without checkpoints nothing is lost that was kept: one note in twenty seconds, as with the usual ten minutes.
    pause = (60 * checkpoint_minutes or 600) / NOTES_PER_CHECKPOINT
    starts = Starts(folder / STARTS, identity, pause, begun, precision)
    try:
        kept = json.loads(starts.path.read_text(encoding="utf-8"))
        if kept["identity"] == identity:
            starts.count = int(kept["count"]) + 1
            starts.steps_again = int(kept["steps_again"]) + max(0, int(kept["step"]) - resumed_step)
            starts.seconds_before = float(kept["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there was none, or it is damaged: nothing but this count depends on it
    starts.note(resumed_step, at_once=True)
    return starts
