"""The failure file: every error becomes a reason with a way to mend it, within what SageMaker shows."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import failure
from failure import TrainingFailure, explain


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


FULL = OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
TWO = "process 2 of 4"


@pytest.mark.parametrize(
    ("error", "process", "what", "mend"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "adapter.safetensors"), "", "adapter.safetensors", "disk"),
        (RuntimeError("[enforce fail at inline_container.cc:778] . unexpected pos 704"), "", "disk is full", "disk"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "", "disk is full", "disk"),
        (FULL, "", "GPU's memory", "Lower sequence_length"),
        (FULL, TWO, "full in process 2 of 4", "GPUs have more"),
        (MemoryError(), TWO, "machine's memory is full in process 2 of 4", "sequence_length"),
        (RuntimeError("nvrtc: error: invalid value for --gpu-architecture"), "", "NVIDIA driver", "another host"),
        (ImportError("libcudart.so.13: cannot open shared object file"), "", "this image's code", "another host"),
        (RuntimeError("[gloo/pair.cc:547] Connection closed by peer"), TWO, "Another process", "start again"),
        (RuntimeError("NCCL error: ncclRemoteError: A call failed"), TWO, "Another process", "start again"),
        (KeyError("boom"), "", "Unexpected KeyError", "log"),
        (ConnectionResetError("Connection reset by peer"), "", "Unexpected ConnectionResetError", "log"),
    ],
)
def test_errors_become_reasons(error: Exception, process: str, what: str, mend: str) -> None:
    reason = explain(error, *filter(None, [process]))
    assert what in reason.what
    assert mend in reason.mend


@pytest.mark.parametrize(("what", "text"), [("It broke.", "It broke. Mend it."), ("x" * 5000, "… Mend it.")])
def test_the_file_keeps_the_way_to_mend_it(tmp_path: Path, what: str, text: str) -> None:
    failure.write(tmp_path, TrainingFailure(what, "Mend it."))
    written = (tmp_path / "output" / "failure").read_text(encoding="utf-8")
    assert written.endswith(text) and len(written) <= 1024
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["failure"]


def test_of_several_processes_the_first_that_fails_gives_the_reason(tmp_path: Path) -> None:
    assert failure.written(tmp_path) == ""
    failure.write_first(tmp_path, failure.shown(TrainingFailure("It broke.", "Mend it.")))
    failure.write_first(tmp_path, "Another one broke.")
    assert failure.written(tmp_path) == "It broke. Mend it."


def test_writing_never_raises(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file where the folder should be", encoding="utf-8")
    failure.write(tmp_path, TrainingFailure("It broke.", "Mend it."))
