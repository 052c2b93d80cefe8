"""What the processes of a job say to one another beside gradients: decisions that all must take alike, and sums of losses.

A process that decided alone to stop would leave the others waiting for its gradients.
"""

import contextlib
import gc
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

import launching
from failure import OF_ANOTHER, explain, shown

# Longer than any process legitimately waits for another: for the first one's files, or for a slower disk under the weights.
# One that is killed is noticed at once, because its connections close.
PATIENCE = timedelta(minutes=15)
_REASON = "captune/reason"
_REASON_SECONDS = 5.0  # a process that fails by itself writes its reason before its connections close


class Group:
    """All processes of a job; a single one is a group too, and says nothing to anybody."""

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def highest(self, *values: float) -> list[float]:
        """The highest of what the processes have, for each value."""
        return list(values)

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of what the processes have, for each value."""
        return list(values)

    def of_first(self, value: Any) -> Any:
        """What the first process has."""
        return value


class _Several(Group):
    """Processes that torchrun has started. What they say goes through the CPU, so that no collective of a GPU times out over it."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def highest(self, *values: float) -> list[float]:
        return self._reduced(values, distributed.ReduceOp.MAX)

    def sums(self, values: Sequence[float]) -> list[float]:
        return self._reduced(values, distributed.ReduceOp.SUM)

    def of_first(self, value: Any) -> Any:
        found = [value]
        distributed.broadcast_object_list(found, src=0)
        return found[0]

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        both = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(both, op=operation)
        return [float(value) for value in both]


ALONE = Group()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group of the processes that torchrun has started, or this one alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cpu":  # accelerate would name it cpu:0, where torch loads no checkpoint to
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    distributed.init_process_group(backend, timeout=PATIENCE)
    yield _Several()
    gc.collect()  # a reducer that outlived its group, in a circle of references, would wait for ever in its own end
    distributed.destroy_process_group()  # not after an error: others may have ended


def reason_of(error: BaseException) -> tuple[str, bool]:
    """Why one of several processes ends, and whether that is its own error, which it leaves for the others.

    Where its error only says that another one has ended, that one's reason counts as soon as it is there.
    """
    reason = explain(error, launching.described())
    if reason.what == OF_ANOTHER and (theirs := _reason_of_another()) is not None:
        return theirs, False
    with contextlib.suppress(Exception):  # the first host may have ended
        _store().compare_set(_REASON, "", shown(reason))  # unless one is there already
    return shown(reason), True


def _reason_of_another() -> str | None:
    """Why another process failed, as soon as it has said so; None where it has not."""
    with contextlib.suppress(Exception):
        store, deadline = _store(), time.monotonic() + _REASON_SECONDS
        while time.monotonic() < deadline:
            if store.check([_REASON]):
                return str(store.get(_REASON).decode())
            time.sleep(0.1)
    return None


def _store() -> Any:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return distributed.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
