"""training/train.py as the container runs it: a process, the documented folders, and a tiny model of the real kind."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doubles.rehearsal.toy_container import Container, starting
from tests.doubles.rehearsal.toy_prose import prose

pytestmark = pytest.mark.slow


def test_a_run_learns_and_says_what_it_does(finished: tuple[Container, list[str]]) -> None:
    container, lines = finished
    phases = ["load", "evaluate-base", "train", "save", "evaluate-tuned"]
    assert starting(lines, "phase") == [f"phase name={name}" for name in phases]
    assert starting(lines, "progress")[-1].startswith("progress step=")
    evaluation = container.metrics["evaluation"]
    tokens = evaluation["heldout"]["tokens"]
    assert starting(lines, "heldout") == [
        f"heldout model={which} loss={evaluation['heldout'][which + '_loss']:.4f} tokens={tokens}"
        for which in ("base", "tuned")
    ]
    assert [line.split()[1] for line in starting(lines, "outside")] == ["model=base", "model=tuned"]
    assert evaluation["heldout"]["tuned_loss"] < evaluation["heldout"]["base_loss"] - 0.1
    assert not (container.root / "output" / "failure").exists()


def test_what_is_kept_of_the_adapter_is_what_is_saved(
    finished: tuple[Container, list[str]], container: Container
) -> None:
    container.settings(adapter_strength="0.3")
    assert container.run()[0] == 0
    weaker, stronger = (load_file(one.root / "model" / "adapter_model.safetensors") for one in (container, finished[0]))
    assert finished[0].metrics["settings"]["adapter_strength"] == 0.6
    for name, value in stronger.items():
        share = 0.5 if ".lora_B." in name else 1.0
        torch.testing.assert_close(weaker[name], share * value, rtol=0.02, atol=1e-5)


def test_the_metrics_are_whole(finished: tuple[Container, list[str]]) -> None:
    container, _ = finished
    metrics = container.metrics
    assert metrics["schema"] == 1
    assert metrics["base_model"]["name"] == "Tiny"
    assert metrics["base_model"]["architecture"] == "LlamaForCausalLM"
    assert metrics["base_model"]["quantization"] == "none"
    assert metrics["base_model"]["dtype"] == metrics["environment"]["precision"]
    assert metrics["memory"]["planned_bytes"] < metrics["memory"]["free_bytes"]
    assert metrics["settings"]["epochs"] == 6
    assert metrics["corpus"]["documents"] == 8
    training = metrics["training"]
    assert training["steps"] == training["planned_steps"] == len(training["loss_curve"])
    assert training["stopped_early"] is None
    assert training["peak_memory_bytes"] > 10_000_000
    # In the order in which they are scored: should the time end, what the verdict asks for first is there.
    assert list(metrics["evaluation"]) == ["heldout", "outside", "control", "training_text"]
    for name, count in (("heldout", 6), ("outside", 7), ("control", 2), ("training_text", 8)):
        part = metrics["evaluation"][name]
        assert len(part["documents"]) == count
        assert sum(row["tokens"] for row in part["documents"]) == part["tokens"]
        for which in ("base", "tuned"):
            total = sum(row[f"{which}_nll"] for row in part["documents"])
            assert part[f"{which}_loss"] == pytest.approx(total / part["tokens"])
    assert all(row["tokens"] <= 64 for row in metrics["evaluation"]["training_text"]["documents"])
    assert json.loads((container.root / "output" / "data" / "metrics.json").read_text()) == metrics


def test_the_adapter_is_one_that_peft_and_a_server_can_load(
    finished: tuple[Container, list[str]], tiny_model: Path
) -> None:
    from peft import PeftModel
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    container, _ = finished
    folder = container.root / "model"
    files = {path.name for path in folder.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "metrics.json", "README.md"}
    configuration = json.loads((folder / "adapter_config.json").read_text())
    assert configuration["base_model_name_or_path"] == "Tiny"
    projections = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(configuration["target_modules"]) == projections
    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        keys = set(weights.keys())
        assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in keys
        assert {weights.get_slice(key).get_dtype() for key in keys} == {"BF16"}
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), folder)
    assert loaded.active_adapters == ["default"]


def test_the_adapter_that_was_measured_is_the_one_that_was_saved(
    finished: tuple[Container, list[str]], tiny_model: Path
) -> None:
    """By transformers and PEFT alone, on the base weights in the bfloat16 in which they are served."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    container, _ = finished
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model = PeftModel.from_pretrained(base, container.root / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    lines = (container.root / "input" / "data" / "evaluation" / "heldout.jsonl").read_text().splitlines()
    total = 0.0
    for text in (json.loads(line)["text"] for line in lines):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        for cut in (tokens[begin : begin + 64] for begin in range(0, len(tokens), 64)):
            with torch.no_grad():
                logits = model(torch.tensor([[tokenizer.bos_token_id, *cut[:-1]]])).logits[0].float()
            total += torch.nn.functional.cross_entropy(logits, torch.tensor(cut), reduction="sum").item()
    heldout = container.metrics["evaluation"]["heldout"]
    assert total / heldout["tokens"] == pytest.approx(heldout["tuned_loss"], abs=0.01)


def test_a_run_of_one_step_is_whole(container: Container) -> None:
    container.settings(max_steps="1")
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    training = container.metrics["training"]
    assert (training["steps"], training["planned_steps"], training["stopped_early"]) == (1, 1, None)
    assert container.metrics["evaluation"]["heldout"]["tuned_loss"] is not None


def test_a_gpu_instance_without_its_gpu_ends_before_the_model_is_loaded(container: Container) -> None:

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    container.instance("ml.g5.2xlarge")
    code, lines = container.run()
    assert code == 1
    assert "The ml.g5.2xlarge should have a GPU" in container.failure
    assert f"torch {torch.__version__}" in container.failure
    assert not starting(lines, "memory")


def test_a_kill_in_the_middle_of_the_last_measuring_leaves_a_whole_adapter(container: Container) -> None:
    container.settings(epochs="50", learning_rate="0.001")
    control = [{"id": f"control-{number}", "title": "", "text": prose(number, 60)} for number in range(1500)]
    path = container.root / "input" / "data" / "evaluation" / "control.jsonl"
    path.write_text(
        "\n".join(map(json.dumps, control)), encoding="utf-8"
    )  # seconds of measuring: the kill falls into them
    code, lines = container.signal_after("progress", signal.SIGTERM, "phase name=evaluate-tuned", signal.SIGKILL)
    assert code == -signal.SIGKILL, "\n".join(lines)
    files = {path.name for path in (container.root / "model").iterdir() if path.is_file()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "metrics.json", "README.md"}
    assert container.metrics["training"]["stopped_early"] == "stop signal"
    assert container.metrics["evaluation"]["heldout"]["base_loss"] is not None
    assert [path.name for path in (container.root / "checkpoints").iterdir()]


@pytest.mark.thorough
def test_a_killed_run_leaves_nothing_half_written_and_its_successor_ends_where_it_would_have(
    container: Container, finished: tuple[Container, list[str]]
) -> None:
    container.settings(checkpoint_minutes="1e-6")  # one after each step
    code, _ = container.signal_after("progress", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not list((container.root / "model").iterdir())
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    assert not list((container.root / "checkpoints").glob(".*"))
    undisturbed = finished[0].metrics
    metrics = container.metrics
    assert metrics["training"]["steps"] == undisturbed["training"]["steps"]
    assert metrics["evaluation"]["heldout"]["tuned_loss"] == pytest.approx(
        undisturbed["evaluation"]["heldout"]["tuned_loss"], abs=1e-5
    )


@pytest.mark.thorough
def test_a_run_killed_without_notice_at_any_step_ends_at_the_same_loss_and_knows_what_was_made_again(
    container: Container, finished: tuple[Container, list[str]]
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    container.settings(checkpoint_minutes="0.002")  # every few steps, and a note after each
    process = container.start()
    assert process.stdout is not None
    heard: dict[str, float] = {}
    for line in process.stdout:
        heard.setdefault(line.strip(), time.monotonic())
        if line.startswith("progress"):
            break
    loading = heard["phase name=evaluate-base"] - heard["phase name=load"]
    time.sleep(random.Random(seed).uniform(0, 0.8))
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    noted = json.loads((container.root / "checkpoints" / "starts.json").read_text(encoding="utf-8"))
    reached = noted["step"]
    assert noted["seconds"] > 0.9 * loading  # loading takes of the job's time as well
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    resumed = [int(line.split("step=")[1].split()[0]) for line in starting(lines, "resume")] or [0]
    training, undisturbed = container.metrics["training"], finished[0].metrics
    assert (training["starts"], training["steps_again"]) == (2, reached - resumed[0])
    assert training["steps"] == undisturbed["training"]["steps"]
    assert container.metrics["evaluation"]["heldout"]["tuned_loss"] == pytest.approx(
        undisturbed["evaluation"]["heldout"]["tuned_loss"], abs=1e-5
    )


@pytest.mark.thorough
def test_a_stop_signal_ends_the_run_in_order_and_the_next_one_goes_on(container: Container) -> None:
    container.settings(epochs="20", learning_rate="0.001")
    code, lines = container.signal_after("progress", signal.SIGTERM)
    assert code == 0, "\n".join(lines)
    training = container.metrics["training"]
    assert training["stopped_early"] == "stop signal"
    assert 1 <= training["steps"] < training["planned_steps"]
    assert container.metrics["evaluation"]["heldout"]["tuned_loss"] is not None
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    resumed = f"resume step={training['steps']} steps={training['planned_steps']} made_again=0"
    assert starting(lines, "resume") == [resumed]
    assert container.metrics["training"]["stopped_early"] is None
    assert container.metrics["training"]["steps"] == training["planned_steps"]


def test_a_run_whose_time_is_too_short_for_a_step_says_so(container: Container) -> None:
    container.settings(time_budget_seconds="10")
    code, _ = container.run()
    assert code == 1
    assert "time budget of 10 s" in container.failure


def remove_model(data: Path) -> None:
    shutil.rmtree(data / "model")


def empty_corpus(data: Path) -> None:
    (data / "corpus" / "corpus.txt").write_text("\n")


def remove_heldout(data: Path) -> None:
    (data / "evaluation" / "heldout.jsonl").unlink()


def lengthen_tokenizer(data: Path) -> None:
    path = data / "model" / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {word: number + len(words) for word, number in words.items()}
    path.write_text(json.dumps(content))


def make_sure_of_what_is_wrong(data: Path) -> None:
    path = data / "model" / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"] *= 30
    save_file(weights, path, metadata={"format": "pt"})


def spoil_weights(data: Path) -> None:
    path = data / "model" / "model.safetensors"
    save_file({key: value * float("nan") for key, value in load_file(path).items()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (remove_model, "channel 'model' is missing"),
        (empty_corpus, "corpus is empty"),
        (remove_heldout, "held-out text is missing"),
        (spoil_weights, "not a finite number"),
        (lengthen_tokenizer, "and the model knows 310 tokens, 0 to 309. The tokenizer in the model channel"),
        (make_sure_of_what_is_wrong, "it reads other words than the texts hold. The tokenizer in the model channel"),
    ],
)
def test_a_wrong_input_is_told_and_leaves_no_model(
    container: Container, damage: Callable[[Path], None], told: str
) -> None:
    damage(container.root / "input" / "data")
    code, lines = container.run()
    assert code == 1
    assert told in container.failure
    assert starting(lines, "failure")
    assert not list((container.root / "model").iterdir())


@pytest.mark.parametrize(
    ("key", "value"), [("epochs", "0"), ("learning_rate", "fast"), ("batch_size", "4"), ("sequence_length", "256")]
)
def test_a_wrong_setting_is_told_by_name(container: Container, key: str, value: str) -> None:
    container.settings(**{key: value})
    code, _ = container.run()
    assert code == 1
    assert key in container.failure
