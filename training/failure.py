"""The cause of a failure and its fix, in the place where SageMaker looks for them.

SageMaker shows the first 1,024 characters of /opt/ml/output/failure as the training job's FailureReason.
"""

import errno
import os
import traceback
from pathlib import Path

from driver import versions
from progress import say

REASON_CHARACTERS = 1024  # SageMaker drops what follows
ADAPTER_SAVED = "adapter-is-saved"  # beside the failure file; on each host
# What CUDA, its run-time compiler and the loader say where driver, libraries and GPU don't go together.
DRIVER_SIGNS = (
    "CUDA error",
    "CUDA driver version is insufficient",
    "NVIDIA driver on your system is too old",
    "no kernel image is available",
    "nvrtc",
    "NVRTC",
    "libcuda",
    "libcudart",
)
# What gloo and NCCL say when another process has ended.
LOST_SIGNS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Application timeout caused pair closure",
    "Timed out waiting",
    "ncclRemoteError",
    "NCCL communicator was aborted",
)
OF_ANOTHER = "Another process of this job ended, or its host was lost."
# What safetensors and torch say where the operating system said that the disk is full.
FULL_DISK_SIGNS = ("No space left on device", "PytorchStreamWriter failed writing", "unexpected pos ")


class TrainingFailure(Exception):
    """A reason to stop: one sentence with the cause, one with the fix."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} {fix}")
        self.what = what
        self.fix = fix


def explain(error: BaseException, process: str = "") -> TrainingFailure:
    """Turns any error into a `TrainingFailure`; one that is already such comes back unchanged.

    `process` says which one of several it happened in; it is empty where a job has one alone, which can lose no other.
    """
    if isinstance(error, TrainingFailure):
        return error
    message, where = " ".join(str(error).split()), f" in {process}" if process else ""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(sign in message for sign in FULL_DISK_SIGNS):
        file = getattr(error, "filename", None)
        place = f" while writing {file}" if file else ""
        return TrainingFailure(
            f"The disk is full{place}.",
            "On your own machine, free some space. On SageMaker, set training_instance_type to a type with a larger disk, and start a new execution.",
        )
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in message:
        larger = "an instance whose GPUs have more memory each" if process else "an instance with more GPU memory"
        return TrainingFailure(
            f"The GPU's memory is full{where or ' even with one sequence at a time'}.",
            f"Lower sequence_length (for example to half) or lora_rank, or choose {larger}.",
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in message:
        return TrainingFailure(
            f"The machine's memory is full{where}.",
            "Lower sequence_length, or choose an instance type with more memory.",
        )
    if process and any(sign in message for sign in LOST_SIGNS):
        return TrainingFailure(OF_ANOTHER, "Read the log of its host, then start a new execution.")
    if any(sign in message for sign in DRIVER_SIGNS):
        return TrainingFailure(
            f"The GPU or its driver cannot run this image's code ({versions()}): {message[:400]}.",
            "Start a new execution, which may get another host. If the error returns, choose another training_instance_type.",
        )
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return TrainingFailure(
        f"Unexpected {type(error).__name__}{place}: {message[:600]}.",
        "Read the full traceback in the training job's log (captune logs RUN), correct its cause, and start a new execution.",
    )


def shown(failure: TrainingFailure) -> str:
    """The reason in at most 1,024 characters, with the way to fix it never cut off."""
    room = REASON_CHARACTERS - len(failure.fix) - 1
    what = failure.what if len(failure.what) <= room else failure.what[: room - 1] + "…"
    return f"{what} {failure.fix}"


def write(root: Path, failure: TrainingFailure) -> str:
    """Returns the whole reason after writing what is shown of it into <root>/output/failure.

    Never raises: on a disk too full for the reason, the log is what remains.
    """
    _write(root, shown(failure))
    return str(failure)


def write_first(root: Path, text: str) -> None:
    """Writes what is shown of a reason where another process may have written already: what failed first is the reason."""
    if not written(root):
        _write(root, text)


def written(root: Path) -> str:
    """The reason that has been written; "" where there is none."""
    try:
        return (root / "output" / "failure").read_text(encoding="utf-8")
    except OSError:
        return ""


def mark_adapter_saved(root: Path) -> None:
    """Notes that the adapter is saved: what ends the processes after that must not fail the job. Raises OSError.

    SageMaker keeps no model of a job that failed, and its training would have been paid for nothing.
    """
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output" / ADAPTER_SAVED).touch()


def unmark_adapter_saved(root: Path) -> None:
    """Takes the note back: the saved adapter has turned out to be of no use. Raises OSError."""
    (root / "output" / ADAPTER_SAVED).unlink(missing_ok=True)


def adapter_is_saved(root: Path) -> bool:
    """Whether the adapter is saved. If so, removes a failure file and prints that the job has ended after the training."""
    if not (root / "output" / ADAPTER_SAVED).exists():
        return False
    (root / "output" / "failure").unlink(missing_ok=True)
    say(
        "note",
        text="an error ended the job after its adapter was saved: that stands, and metrics.json says what is missing",
    )
    return True


def _write(root: Path, text: str) -> None:
    try:
        folder = root / "output"
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".failure.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / "failure")
    except OSError as error:
        print(f"note text=could not write the failure file: {error}", flush=True)
