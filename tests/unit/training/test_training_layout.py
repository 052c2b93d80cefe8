"""Which processes a job has, by its resourceconfig.json and the GPUs that are seen, and how torchrun is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from processes import launching
from processes.layout import read_layout


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def configured(root: Path, **content: Any) -> Path:
    folder = root / "input" / "config"
    folder.mkdir(parents=True)
    (folder / "resourceconfig.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def test_every_gpu_of_every_host_has_a_process(tmp_path: Path) -> None:
    hosts = ["algo-2", "algo-1", "algo-3"]
    root = configured(tmp_path, hosts=hosts, current_host="algo-2", network_interface_name="eth0")
    layout = read_layout(root, {})
    assert (layout.processes, layout.host_rank, layout.interface) == (12, 1, "eth0")
    assert layout.meeting_point == "algo-1:29500"  # the same for every host, whatever the order in its file
    found = launching.command(layout, ["train.py", "--root", "/opt/ml"])
    assert found[1:] == [
        "-m", "torch.distributed.run", "--nnodes=3", "--node-rank=1", "--nproc-per-node=4", "--master-addr=algo-1",
        "--master-port=29500", "train.py", "--root", "/opt/ml",
    ]  # fmt: skip


def test_one_host_meets_itself(tmp_path: Path) -> None:
    root = configured(tmp_path, hosts=["algo-1"], current_host="algo-1", network_interface_name="eth0")
    layout = read_layout(root, {})
    assert (layout.processes, layout.interface, layout.meeting_point) == (4, "", "127.0.0.1:29500")


@pytest.mark.parametrize("content", [{}, {"current_instance_type": "ml.g5.2xlarge"}, {"hosts": 3}, {"hosts": []}])
def test_without_hosts_there_is_this_one(tmp_path: Path, content: dict[str, Any]) -> None:
    assert read_layout(configured(tmp_path, **content), {}).processes == 4


def test_a_cpu_is_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert read_layout(tmp_path, {}).processes == 1


def test_a_machine_may_play_more_than_it_is(tmp_path: Path) -> None:
    root = configured(tmp_path, hosts=["algo-1", "algo-2"], current_host="algo-1")
    layout = read_layout(root, {"CAPTUNE_PROCESSES": "1", "CAPTUNE_MEETING_POINT": "127.0.0.1:4711"})
    assert (layout.processes, layout.meeting_point) == (2, "127.0.0.1:4711")


def test_a_process_among_several_is_told_by_its_number_and_its_host() -> None:
    environment = {"RANK": "2", "WORLD_SIZE": "4", "GROUP_RANK": "1", "LOCAL_RANK": "0"}
    assert launching.described(environment) == "process 3 of 4 (number 1 on host 2)"


def test_what_ended_without_a_word_is_said_with_how_many_there_were(tmp_path: Path) -> None:
    root = configured(tmp_path, hosts=["algo-1", "algo-2"], current_host="algo-1")
    assert (
        "One of the 8 processes on 2 hosts ended without a reason"
        in launching.ended_silently(read_layout(root, {})).what
    )
