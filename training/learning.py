"""The recipe: TRL's SFTTrainer, with every number that shapes the training and the reason beside it."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback
from trl import SFTConfig, SFTTrainer

from arguments import LAST_RATE_SHARE, Arguments
from checkpoints import KEPT
from model.network import Network
from processes import ALONE, Group
from progress import say
from records.record import IGNORED
from text import Rows


def make_trainer(
    network: Network,
    rows: Rows,
    arguments: Arguments,
    *,
    steps: int,
    peak_rate: float,
    checkpoints: Path,
    curves: Path,
    watch: TrainerCallback,
    group: Group = ALONE,
    held_out: Callable[[], float | None] | None = None,
) -> "CorpusTrainer":
    """The trainer of one run: it trains on all `rows`, in their order, in `steps` optimizer steps, with any number of processes.

    Its event files for TensorBoard go into `curves`. `held_out` measures a point of the held-out curve: before the first step, and when
    `watch` asks for it.
    """
    on_cpu = network.device.type == "cpu"
    shares = Shares(rows, arguments.sequences_per_step, group.size) if group.size > 1 else None
    per_process = shares.per_process if shares else arguments.sequences_per_step
    micro_batch = math.gcd(network.plan.micro_batch, per_process)  # what fits, in equal shares
    recipe = SFTConfig(
        output_dir=str(checkpoints),
        use_cpu=on_cpu,
        # One step learns from `sequences_per_step` rows, however many of them fit into memory at a time.
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=per_process // micro_batch,
        # Of several processes, each divides its loss by the tokens of all, and the gradients are added up.
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,  # every matrix of the adapter is used by every row
        # A line up, because AdamW's first steps know no variance yet, from a rate above zero, so that a run of one step learns;
        # then half a cosine down, and not to nothing, so that the last documents count too.
        learning_rate=peak_rate,
        lr_scheduler_type="cosine_warmup_with_min_lr",
        warmup_steps=math.ceil(arguments.warmup_ratio * steps),
        lr_scheduler_kwargs={"min_lr_rate": LAST_RATE_SHARE},
        optim="adamw_torch",
        weight_decay=arguments.weight_decay,
        max_grad_norm=arguments.max_gradient_norm,
        seed=arguments.seed,
        # The adapter stays in float32, for small steps would be lost in 16 bits; it is narrowed where it meets bfloat16 weights.
        bf16=network.autocast,
        gradient_checkpointing=network.plan.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        # Rows come tokenised and cut (text.py), in an order that the seed has fixed.
        packing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=not on_cpu,
        # Each step's loss as it is: one that is no number must end the run instead of being smoothed away.
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",  # no network: the curves are files, and trackers may come after the run
        eval_on_start=held_out is not None,
        save_strategy="no",  # by the minute, as `watch` decides
        save_total_limit=KEPT,
    )
    trainer = CorpusTrainer(
        model=network.adapted,
        args=recipe,
        train_dataset=shares or rows,
        data_collator=collate,
        processing_class=network.tokenizer,
        callbacks=[watch, *([TensorBoardCallback(SummaryWriter(str(curves)))] if group.first else [])],
    )
    trainer.remove_callback(PrinterCallback)  # `watch` prints the progress
    # The trainer divides a step's loss by its tokens. transformers 5.3.0 lets accelerate divide it by the micro batches once more, and
    # the limit on the gradient's norm would hold only for gradients so many times as large.
    trainer.accelerator.gradient_accumulation_steps = 1
    # The constructor requires it and nothing uses it: without it, no checkpoint carries a tokenizer.
    trainer.processing_class = None
    network.widen_adapter()  # the library narrows it beside 4-bit weights
    trainer.held_out = held_out
    return trainer


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Rows of one length as a batch. Labels are moved on already, so that no token is lost where the stream is cut."""
    inputs = torch.tensor([row["input_ids"] for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    return {
        "input_ids": inputs,
        "attention_mask": torch.ones_like(inputs),
        "labels": labels,  # counted by the trainer
        "shift_labels": labels,  # learnt by the model's loss
    }


class CorpusTrainer(SFTTrainer):
    """TRL's trainer, but for logits that are never held, a GPU's memory that turns out too small, and a model card that is ours."""

    held_out: Callable[[], float | None] | None = None
    _rows_at_a_time: int | None = None  # None: as many as the recipe says

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """A point of the held-out curve, for TensorBoard and for the history that a checkpoint carries on."""
        begun = time.monotonic()
        loss = self.held_out() if self.held_out else None
        if loss is not None:
            self.log({"eval_loss": loss, "eval_runtime": time.monotonic() - begun})
            say("curve", step=self.state.global_step, loss=f"{loss:.4f}")
        self.control.should_evaluate = False  # or the end of the epoch would measure it again
        return {}

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The model's loss alone (loss.py): TRL adds each token's entropy and whether it was the likeliest, out of all logits."""
        return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, return_outputs, num_items_in_batch)

    def training_step(
        self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """One micro batch, forward and backward; where the GPU's memory is full, in halves from then on.

        The loss is a sum over the step's tokens divided by their number, so that halves add up to the same gradient.
        """
        rows = len(inputs["input_ids"])
        size = min(self._rows_at_a_time or rows, rows)
        alone = self.args.world_size == 1  # the others of several would wait for gradients that never come
        kept = self._gradients() if alone and size > 1 else []
        while True:
            parts = [{key: value[at : at + size] for key, value in inputs.items()} for at in range(0, rows, size)]
            try:
                return torch.stack(
                    [super(CorpusTrainer, self).training_step(model, part, num_items_in_batch) for part in parts]
                ).sum()
            except torch.cuda.OutOfMemoryError:
                if size == 1 or not alone:
                    raise
            self._rows_at_a_time = size = size // 2
            say("note", text=f"GPU memory full: going on with {size} sequences at a time")
            for value, gradient in zip(self._adapter, kept, strict=True):
                value.grad = gradient  # without what the failed attempt had added to it
            kept = self._gradients() if size > 1 else []
            torch.cuda.empty_cache()

    def _gradients(self) -> list[torch.Tensor | None]:
        """A copy of what the adapter's gradients are now."""
        return [None if value.grad is None else value.grad.clone() for value in self._adapter]

    def _save_rng_state(self, output_dir: str) -> None:
        """By the first process, like all of a checkpoint: a file that another one is still writing would not be whole."""
        if self.args.process_index == 0:
            super()._save_rng_state(output_dir)

    @property
    def _adapter(self) -> list[torch.nn.Parameter]:
        return [value for value in self.model.parameters() if value.requires_grad]

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None beside checkpoints: output.py writes the one that is kept."""


class Shares:
    """Every step's rows, filled up with rows that teach nothing to as many as the processes can share evenly.

    The trainer deals micro batches out in turn, so that each process gets as many of each step. A row without labels adds nothing
    to the loss, to its gradient or to the tokens by which both are divided.
    """

    def __init__(self, rows: Rows, per_step: int, processes: int) -> None:
        self._rows, self._per_step = rows, per_step
        self.per_process = -(-per_step // processes)
        self._padded = self.per_process * processes
        first = rows[0]
        self._blank = {"input_ids": first["input_ids"], "labels": [IGNORED] * len(first["labels"])}

    def __len__(self) -> int:
        return -(-len(self._rows) // self._per_step) * self._padded

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, place = divmod(index, self._padded)
        row = step * self._per_step + place
        return self._rows[row] if place < self._per_step and row < len(self._rows) else self._blank
