"""Where the model is computed: no GPU where one was paid for ends the job, and so does one that does not compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from failure import TrainingFailure
from model import accelerator, network
from model.accelerator import choose_device, self_test, tiny_layer
from processes.group import ALONE, Group

PROJECT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def instance(root: Path, kind: object) -> Path:
    folder = root / "input" / "config"
    folder.mkdir(parents=True)
    (folder / "resourceconfig.json").write_text(json.dumps({"current_instance_type": kind}), encoding="utf-8")
    return root


@pytest.mark.parametrize("kind", ["ml.g5.2xlarge", "ml.g6e.xlarge", "ml.p4d.24xlarge", "ml.trn1.2xlarge"])
def test_an_instance_whose_gpu_is_not_found_ends_the_job_with_the_versions(tmp_path: Path, kind: str) -> None:
    with pytest.raises(TrainingFailure, match=f"The {kind} should have a GPU") as refusal:
        choose_device(instance(tmp_path, kind), {})
    assert f"torch {torch.__version__} for CUDA" in refusal.value.what
    assert "NVIDIA driver" in refusal.value.what
    assert "training_instance_type" in refusal.value.mend


def test_what_torch_says_of_the_driver_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.setattr(torch.cuda, "init", too_old)
    with pytest.raises(TrainingFailure, match=r"too old \(found version 11040\)"):
        choose_device(instance(tmp_path, "ml.g5.2xlarge"), {})


def test_the_rehearsal_may_play_such_an_instance_on_a_cpu(tmp_path: Path) -> None:
    allowed = {"CAPTUNE_ACCELERATOR": "cpu"}
    assert choose_device(instance(tmp_path, "ml.g5.2xlarge"), allowed).type == "cpu"


def test_an_older_card_without_bfloat16_is_left_alone_by_the_rehearsal_and_refused_on_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GTX 1660")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    root = instance(tmp_path, "ml.g5.2xlarge")
    assert choose_device(root, {"CAPTUNE_ACCELERATOR": "cpu"}).type == "cpu"
    with pytest.raises(TrainingFailure, match="The GPU GTX 1660 has no bfloat16"):
        choose_device(root, {})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_device(root, {"CAPTUNE_ACCELERATOR": "cpu"}).type == "cuda"


@pytest.mark.parametrize("kind", ["ml.c5.xlarge", "ml.m5.large", None])
def test_other_instances_compute_on_their_cpu(tmp_path: Path, kind: object) -> None:
    assert choose_device(instance(tmp_path, kind), {}).type == "cpu"


class Second(Group):
    """A process of two, whose first found bfloat16 to be fast."""

    rank, size = 1, 2

    def of_first(self, value: Any) -> Any:
        assert value is False, "it has measured too"
        return True


def test_the_first_process_alone_measures_how_fast_bfloat16_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "bfloat16_is_faster", lambda: True)
    assert network.fast_bfloat16(torch.device("cpu"), Second())
    assert network.fast_bfloat16(torch.device("cpu"), ALONE)
    monkeypatch.setattr(network, "bfloat16_is_faster", lambda: False)
    assert not network.fast_bfloat16(torch.device("cpu"), ALONE)
    assert network.fast_bfloat16(torch.device("cuda", 0), ALONE)


def test_outside_sagemaker_the_cpu_is_used(tmp_path: Path) -> None:
    assert choose_device(tmp_path, {}).type == "cpu"


def test_nothing_that_is_deployed_gives_the_permission() -> None:
    deployed = [
        path
        for folder in ("stacks", "lambdas", "training")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".json")
    ]
    assert [path.name for path in deployed if "CAPTUNE_ACCELERATOR" in path.read_text()] == ["accelerator.py"]


def test_a_device_that_computes_passes_and_the_runs_random_numbers_stay() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    self_test(torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


def spoiled(value: float) -> Any:
    """A layer of which one matrix is `value` throughout."""
    layer = tiny_layer()
    with torch.no_grad():
        next(weight for name, weight in layer.named_parameters() if "v_proj.lora_A" in name).fill_(value)
    return layer


@pytest.mark.parametrize(("value", "told"), [(0.0, "lora_B.* has the norm 0.0"), (float("nan"), "the loss is nan")])
def test_a_gradient_that_is_zero_or_not_finite_fails_the_self_test(
    monkeypatch: pytest.MonkeyPatch, value: float, told: str
) -> None:
    monkeypatch.setattr(accelerator, "tiny_layer", lambda: spoiled(value))
    with pytest.raises(TrainingFailure, match=told) as refusal:
        self_test(torch.device("cpu"))
    assert f"torch {torch.__version__}" in refusal.value.what


def test_an_error_of_the_device_fails_the_self_test_with_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(accelerator, "tiny_layer", broken)
    with pytest.raises(TrainingFailure, match="no kernel image is available") as refusal:
        self_test(torch.device("cpu"))
    assert "NVIDIA driver" in refusal.value.what
