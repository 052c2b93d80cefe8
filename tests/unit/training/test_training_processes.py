"""Two processes over gloo in float32, where nothing but the order of sums may differ from one process; and how rows are dealt to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from arguments import Arguments
from processes.group import ALONE, Group, joined
from processes.shares import Shares
from records.record import IGNORED
from rehearsal.sagemaker.real.ports import free_port
from tests.doubles.toy_training import Run, rows

pytestmark = pytest.mark.slow


# Rows of a step and of all: what divides; a last step that is not full; a step that does not divide; one with fewer rows than processes.
CASES = [(4, 12), (4, 11), (3, 12), (1, 4)]


def one_of_two(rank: int, port: int, folder: Path) -> None:
    """A process's part in every case; the first keeps curve and adapter."""
    os.environ.update(
        TORCHELASTIC_RUN_ID="test", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank),
        LOCAL_RANK=str(rank), WORLD_SIZE="2", OMP_NUM_THREADS="1",
    )  # fmt: skip
    with joined(torch.device("cpu")) as group:
        for case in CASES:
            learn(folder, case, group)


def learn(folder: Path, case: tuple[int, int], group: Group) -> None:
    """One case. What it made is gone when it ends: a reducer that outlives its group waits for ever in its own end."""
    run = made(folder, case, group)
    adapter = run.train()
    if group.first:
        torch.save((run.losses, adapter), folder / str(case))


def made(folder: Path, case: tuple[int, int], group: Group = ALONE) -> Run:
    per_step, most = case
    return Run(folder, Arguments(sequences_per_step=per_step), micro_batch=2, rows=rows(most), group=group)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes learn."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (free_port(), folder), nprocs=2)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns(tmp_path: Path, of_two: Path, case: tuple[int, int]) -> None:
    per_step, most = case
    run = made(tmp_path, case)
    adapter = run.train()
    curve_of_two, adapter_of_two = torch.load(of_two / str(case))
    assert len(run.losses) == -(-most // per_step)
    assert curve_of_two == pytest.approx(run.losses, abs=1e-5)
    for key, value in adapter.items():
        torch.testing.assert_close(adapter_of_two[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("per_step", "processes"), [(4, 2), (3, 2), (1, 4), (4, 8), (5, 3)])
def test_every_step_holds_its_own_rows_and_else_what_teaches_nothing(per_step: int, processes: int) -> None:
    every = list(rows(11))
    shares = Shares(rows(11), per_step, processes)
    width = shares.per_process * processes
    assert len(shares) % width == 0
    dealt = list(shares)
    for step in range(len(shares) // width):
        found = dealt[step * width : (step + 1) * width]
        taught = [row for row in found if set(row["labels"]) != {IGNORED}]
        assert taught == every[step * per_step : (step + 1) * per_step]
        assert {len(row["input_ids"]) for row in found} == {len(every[0]["input_ids"])}
