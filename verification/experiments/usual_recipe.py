"""python -m verification.experiments.usual_recipe --root FOLDER --seed N: the baseline recipe, in the folders of a training job.

LoRA as Meta's own fine-tuning code sets it for Llama 2 (meta-llama/llama-recipes, configs/peft.py and configs/training.py),
in ten steps, as a first try of a tutorial makes them, over TRL's trainer. What the recipe leaves open is chosen so that it learns
as much and as fast as it can: the rate does not fall, nothing is computed twice, and all of the adapter is kept. Needs
training/ on the path: it is measured with the functions, and answers with the metrics, that training/ has.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from arguments import Arguments
from evaluation import paired, score
from inputs import Inputs, read_inputs
from model.network import describe_environment, load_network
from model.precision import bfloat16_is_faster
from output import peak_resident_bytes
from progress import Clock
from text import boundaries, tokenize

RANK, ALPHA, DROPOUT, LAYERS = 8, 32, 0.05, ("q_proj", "v_proj")
RATE, ROWS_PER_STEP, STEPS, LENGTH = 1e-4, 4, 10, 512


class StepTimer(TrainerCallback):
    """Seconds in steps, as training/ counts them."""

    seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begun = time.monotonic()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds += time.monotonic() - self._begun


def train(inputs: Inputs, seed: int, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Trains, saves the adapter to `folder`, and returns the figures that training/ reports of its training."""
    timer = StepTimer()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(inputs.model.path, dtype=dtype),
        args=SFTConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=dtype == torch.bfloat16,
            max_steps=STEPS,
            per_device_train_batch_size=ROWS_PER_STEP,
            learning_rate=RATE,
            lr_scheduler_type="constant",  # llama-recipes lowers it by a seventh after each epoch
            weight_decay=0.0,
            max_length=LENGTH,
            packing=True,
            packing_strategy="wrapped",  # the stream is cut, as llama-recipes packs
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            seed=seed,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"text": document.text} for document in inputs.corpus]),
        processing_class=AutoTokenizer.from_pretrained(inputs.model.path),
        peft_config=LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=list(LAYERS), task_type="CAUSAL_LM"
        ),
        callbacks=[timer],
    )
    trainer.train()
    trainer.save_model(str(folder))
    tokens = next(int(entry["num_tokens"]) for entry in reversed(trainer.state.log_history) if "num_tokens" in entry)
    return {
        "steps": trainer.state.global_step,
        "seconds": timer.seconds,
        "tokens_seen": tokens,
        "tokens_per_second": tokens / timer.seconds,
        "peak_memory_bytes": peak_resident_bytes(),
    }


def measure(inputs: Inputs, seed: int, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The losses of the base model and of the adapter in `folder`, by training/'s own code; and with which versions."""
    network = load_network(inputs.model, Arguments(seed=seed), torch.device("cpu"))
    network.adapted.load_adapter(str(folder), adapter_name="usual")
    network.adapted.set_adapter("usual")
    edges, clock, found = boundaries(network.tokenizer), Clock(), {}
    for name, documents in inputs.evaluation.items():
        read = tokenize(documents, network.tokenizer)
        base, tuned = (score(network, read, edges, LENGTH, tuned=tuned, clock=clock) for tuned in (False, True))
        found[name] = paired(read, base, tuned)
    return found, describe_environment(network)


def main() -> int:
    """Writes model/metrics.json below the root; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder with input/")
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    inputs = read_inputs(given.root / "input" / "data", LENGTH)
    folder = given.root / "model"
    dtype = torch.bfloat16 if bfloat16_is_faster() else torch.float32  # as training/ chooses
    training = train(inputs, given.seed, folder, dtype)
    evaluation, environment = measure(inputs, given.seed, folder)
    metrics = {"training": training, "evaluation": evaluation, "environment": environment}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
