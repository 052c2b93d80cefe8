"""training/train.py as the container runs it: a process, the documented folders, and a tiny model of the real kind."""

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import evaluation
import job
from arguments import Arguments
from failure import TrainingFailure
from inputs import read_inputs
from model import network
from progress import Clock
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_container import HURRIED, Container, starting
from tests.doubles.rehearsal.toy_models import prose

pytestmark = pytest.mark.slow
PHASES = ["load", "evaluate-base", "train", "save", "evaluate-tuned"]
ADAPTER_FILES = {"adapter_config.json", "adapter_model.safetensors", "metrics.json", "README.md"}


def test_a_run_learns_and_reports_its_progress(finished: tuple[Container, list[str]]) -> None:
    container, lines = finished
    assert starting(lines, "phase") == [f"phase name={name}" for name in PHASES]
    assert starting(lines, "progress")[-1].startswith("progress step=")
    assert [line.split("=")[0] for line in starting(lines, "expected")] == ["expected seconds"]
    assert len(starting(lines, "curve")) == 5
    heldout = container.metrics["evaluation"]["heldout"]
    assert starting(lines, "heldout") == [
        f"heldout model={which} loss={heldout[which + '_loss']:.4f} tokens={heldout['tokens']}"
        for which in ("base", "tuned")
    ]
    assert [line.split()[1] for line in starting(lines, "outside")] == ["model=base", "model=tuned"]
    assert heldout["tuned_loss"] < heldout["base_loss"] - 0.1
    assert not (container.root / "output" / "failure").exists()


def test_the_metrics_are_whole_and_each_texts_losses_add_up(finished: tuple[Container, list[str]]) -> None:
    container, _ = finished
    metrics = container.metrics
    base, training = metrics["base_model"], metrics["training"]
    assert (metrics["schema"], metrics["settings"]["epochs"], metrics["corpus"]["documents"]) == (1, 6, 8)
    assert (base["name"], base["architecture"], base["quantization"]) == ("Tiny", "LlamaForCausalLM", "none")
    assert base["dtype"] == metrics["environment"]["precision"]
    assert metrics["memory"]["planned_bytes"] < metrics["memory"]["free_bytes"]
    assert training["steps"] == training["planned_steps"] == len(training["loss_curve"])
    assert training["stopped_early"] is None
    points = training["heldout_curve"]["points"]
    assert [point["step"] for point in points] == [round(training["steps"] * part / 4) for part in range(5)]
    assert points[-1]["loss"] < points[0]["loss"] - 0.1
    assert training["peak_memory_bytes"] > 10_000_000
    # In the order in which they are scored: should the time end, what the verdict asks for first is there.
    assert list(metrics["evaluation"]) == ["heldout", "outside", "control", "outside_shuffled", "training_text"]
    sizes = {"heldout": 6, "outside": 7, "control": 2, "outside_shuffled": 7, "training_text": 8}
    for name, count in sizes.items():
        part = metrics["evaluation"][name]
        assert len(part["documents"]) == count
        assert sum(row["tokens"] for row in part["documents"]) == part["tokens"]
        for which in ("base", "tuned"):
            total = sum(row[f"{which}_nll"] for row in part["documents"])
            assert part[f"{which}_loss"] == pytest.approx(total / part["tokens"])
    assert all(row["tokens"] <= 64 for row in metrics["evaluation"]["training_text"]["documents"])
    first = metrics["evaluation"]["heldout"]["documents"][0]
    assert (first["id"], first["title"], first["bytes"]) == ("heldout-0", "T0", len(prose(50, 60)))
    assert json.loads((container.root / "output" / "data" / "metrics.json").read_text("utf-8")) == metrics


def test_the_measured_adapter_is_the_saved_one(finished: tuple[Container, list[str]], tiny_model: Path) -> None:
    """By transformers and PEFT alone, on the base weights in the bfloat16 in which they are served."""
    container, _ = finished
    assert {path.name for path in (container.root / "model").iterdir()} == ADAPTER_FILES
    weights = load_file(container.root / "model" / "adapter_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model = PeftModel.from_pretrained(base, container.root / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    lines = (container.root / "input" / "data" / "evaluation" / "heldout.jsonl").read_text("utf-8").splitlines()
    total = 0.0
    for text in (json.loads(line)["text"] for line in lines):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        for cut in (tokens[begin : begin + 64] for begin in range(0, len(tokens), 64)):
            with torch.no_grad():
                logits = model(torch.tensor([[tokenizer.bos_token_id, *cut[:-1]]])).logits[0].float()
            total += torch.nn.functional.cross_entropy(logits, torch.tensor(cut), reduction="sum").item()
    heldout = container.metrics["evaluation"]["heldout"]
    assert total / heldout["tokens"] == pytest.approx(heldout["tuned_loss"], abs=0.01)


@pytest.mark.thorough
def test_a_kill_in_the_last_measuring_leaves_a_whole_adapter(container: Container) -> None:
    container.settings(epochs="50", learning_rate="0.001")
    container.set_aside(600, "control")  # seconds of measuring: the kill falls into them
    code, lines = container.signal_after("progress", signal.SIGTERM, "phase name=evaluate-tuned", signal.SIGKILL)
    assert code == -signal.SIGKILL, "\n".join(lines)
    assert {path.name for path in (container.root / "model").iterdir() if path.is_file()} == ADAPTER_FILES
    assert container.metrics["training"]["stopped_early"] == "stop signal"
    assert container.metrics["evaluation"]["heldout"]["base_loss"] is not None
    assert [path.name for path in (container.root / "checkpoints").iterdir()]


def test_a_job_unable_to_train_says_why(container: Container) -> None:
    container.settings(sequence_length="512")
    code, lines = container.run()
    assert code == 1
    assert "sequence_length" in container.failure
    assert starting(lines, "failure")
    assert not list((container.root / "model").iterdir())


@pytest.mark.thorough
def test_a_run_killed_at_any_step_ends_alike(container: Container, finished: tuple[Container, list[str]]) -> None:
    container.command = ["-c", HURRIED]
    last = random.randrange(1, finished[0].metrics["training"]["steps"] - 1)
    starts = container.root / "checkpoints" / "starts.json"
    process = container.start()
    while not starts.is_file() or json.loads(starts.read_text(encoding="utf-8"))["step"] < last:
        assert process.poll() is None, f"it ended before step {last}"
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    noted = json.loads(starts.read_text(encoding="utf-8"))
    assert not list((container.root / "model").iterdir())
    lines = container.completes()
    assert not list((container.root / "checkpoints").glob(".*")), "nothing half written is left"
    resumed = [int(line.split("step=")[1].split()[0]) for line in starting(lines, "resume")] or [0]
    training = container.metrics["training"]
    assert (training["starts"], training["steps_again"]) == (2, noted["step"] - resumed[0])
    both = container.metrics, finished[0].metrics
    ends = [(one["training"]["steps"], one["evaluation"]["heldout"]["tuned_loss"]) for one in both]
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_a_later_start_keeps_the_precision(container: Container, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """A CPU decides by a measurement, and a checkpoint of the other precision would not be used."""
    for measured in (first, not first):
        monkeypatch.setattr(network, "bfloat16_is_faster", lambda faster=measured: faster)
        trained_here(container, monkeypatch, lambda losses: losses)
        assert container.metrics["environment"]["precision"] == ("bfloat16" if first else "float32")
    assert container.metrics["training"]["starts"] == 2


def trained_here(container: Container, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any]) -> None:
    """Run the job in this process; from the saved adapter on, `wrong` gets the losses before anybody else does."""
    usual = evaluation._losses_where_they_fit

    def losses(*given: Any) -> Any:
        found = usual(*given)
        return wrong(found) if (container.root / "model" / "adapter_model.safetensors").exists() else found

    monkeypatch.setattr(evaluation, "_losses_where_they_fit", losses)
    arguments = Arguments(learning_rate=0.01, sequence_length=64, lora_rank=4, max_steps=3)
    job.run(container.root, read_inputs(container.root / "input" / "data", 64), arguments, Clock(600))


def test_an_error_in_the_last_measuring_leaves_the_adapter_and_its_reason(
    container: Container, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(losses: Any) -> Any:
        raise RuntimeError("the GPU is gone")

    trained_here(container, monkeypatch, lost)
    assert (container.root / "model" / "adapter_model.safetensors").stat().st_size > 0
    assert not (container.root / "output" / "failure").exists()
    heldout = container.metrics["evaluation"]["heldout"]
    assert heldout["base_loss"] is not None and heldout["tuned_loss"] is None
    assert "the GPU is gone" in container.metrics["training"]["unmeasured"]
    assert "RuntimeError: the GPU is gone" in "".join(capsys.readouterr()), "with the traceback before it"


def test_an_adapter_with_losses_not_numbers_fails(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would only be paid for once more, on an endpoint."""
    with pytest.raises(TrainingFailure, match="not a finite number. Lower learning_rate"):
        trained_here(container, monkeypatch, lambda losses: losses * float("nan"))
