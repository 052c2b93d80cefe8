"""The GPU's driver as the container sees it: its version, and AWS's own help for one that is older than the image."""

import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path

DRIVER_FILE = Path("/proc/driver/nvidia/version")
# Libraries of the image's CUDA for hosts with an older driver. The image's own entry point puts them in front
# (scripts/docker/pytorch/start_cuda_compat.sh in aws/deep-learning-containers); ContainerEntrypoint replaces that one.
COMPATIBILITY = Path("/usr/local/cuda/compat")
LIBRARY = "libcuda.so.1"


def driver_version(file: Path = DRIVER_FILE) -> str:
    """The NVIDIA driver's version such as "580.95.05", or "" where there is no driver."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def versions() -> str:
    """Driver, torch and its CUDA in a few words, for a reason of failure."""
    torch = sys.modules.get("torch")  # not imported for this: it may be what failed
    built = f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}" if torch else "torch not loaded"
    return f"NVIDIA driver {driver_version() or 'none'}, {built}"


def libraries_for_older_driver(folder: Path = COMPATIBILITY, file: Path = DRIVER_FILE) -> Path | None:
    """The folder that must stand first in LD_LIBRARY_PATH, or None where the host's driver is new enough.

    The library's file name ends in the version of the driver that it was made with, as in libcuda.so.580.82.07.
    """
    made_with = _numbers((folder / LIBRARY).resolve().name.partition(".so.")[2])
    if not made_with:
        return None
    driver = _numbers(driver_version(file))
    return folder if driver and driver < made_with else None


def restart_with(folder: Path | None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Starts this very command anew with `folder` first in LD_LIBRARY_PATH, which the loader reads only at the start.

    Does nothing for None, and nothing a second time.
    """
    before = environment.get("LD_LIBRARY_PATH", "")
    if folder is None or str(folder) in before.split(":"):
        return
    print(f"note text=the host's driver is older than the image's CUDA: {folder} goes first", flush=True)
    environment["LD_LIBRARY_PATH"] = f"{folder}:{before}".rstrip(":")
    os.execve(sys.executable, [sys.executable, *sys.argv], dict(environment))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")) if re.fullmatch(r"\d+(\.\d+)+", version) else ()
