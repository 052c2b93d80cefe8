"""The run from loading the model to the last file: evaluate, train, evaluate again, save."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging as transformers_logging

from arguments import Arguments, automatic_learning_rate, automatic_sequences_per_step
from checkpoints import Starts, count_start, fingerprint, newest, step_of
from evaluation import OutOfTime, mean_loss, paired, score
from inputs import Inputs
from learning import make_trainer
from model.accelerator import choose_device, self_test
from model.network import Network, announce, describe_environment, load_network
from output import publish, publish_metrics
from processes.group import Group, joined
from progress import Clock, say
from records import choosing
from text import Boundaries, Document, boundaries, excerpts, tokenize
from watch import SAVE_SECONDS, Progress, Watch

CURVE_POINTS = 500  # at most so many in metrics.json

Sets = dict[str, list[Document]]
Losses = dict[str, list[float]]


def run(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock) -> None:
    """Does the whole job. Raises TrainingFailure with a reason a person can act on, or whatever went wrong."""
    transformers_logging.disable_progress_bar()
    device = choose_device(root)
    self_test(device)
    with joined(device) as group:
        _run(root, inputs, arguments, clock, device, group)


def _run(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock, device: torch.device, group: Group) -> None:
    _seed_everything(arguments.seed)
    network = load_network(inputs.model, arguments, device, group)
    announce(network)
    edges = boundaries(network.tokenizer)
    corpus = tokenize(inputs.corpus, network.tokenizer)
    sets: Sets = {name: tokenize(documents, network.tokenizer) for name, documents in inputs.evaluation.items()}
    sets["training_text"] = excerpts(corpus, network.tokenizer, arguments.sequence_length, arguments.seed)
    choosing.tell_of_long_records(corpus, arguments)
    rows = choosing.rows_of(corpus, edges, arguments)
    length = arguments.sequence_length
    per_step = arguments.sequences_per_step or automatic_sequences_per_step(len(rows))
    if arguments.max_steps:
        rows.stop_after(arguments.max_steps * per_step)
    arguments = dataclasses.replace(arguments, sequences_per_step=per_step)
    identity = _identity(arguments, corpus, sets, network, inputs.model.configuration)

    found = _checkpoint(root / "checkpoints", identity, group)
    checkpoint, progress = (found[0], Progress(**found[1])) if found else (None, Progress())
    starts: Starts = group.of_first(
        count_start(
            root / "checkpoints",
            identity,
            resumed_step=step_of(checkpoint) if checkpoint else 0,
            checkpoint_minutes=arguments.checkpoint_minutes,
            begun=clock.started,
        )
        if group.first
        else None
    )
    # MaxRuntimeInSeconds may count all starts of an interrupted job together.
    clock.budget_seconds -= starts.seconds_before
    steps = -(-len(rows) // per_step)
    watch = Watch(
        clock,
        progress,
        starts,
        rows=rows,
        rows_per_step=per_step,
        checkpoint_minutes=arguments.checkpoint_minutes,
        identity=identity,
        group=group,
    )
    peak_rate = arguments.learning_rate or automatic_learning_rate(network.causal.config.hidden_size)

    def measure(*, tuned: bool) -> Iterator[tuple[str, list[float]]]:
        return _score_all(network, sets, edges, length, clock, group, tuned=tuned)

    if progress.base_evaluation is None:
        say("phase", name="evaluate-base")
        since = time.monotonic()
        try:
            progress.base_evaluation = dict(measure(tuned=False))
        except OutOfTime:
            raise watch.no_step() from None
        progress.evaluation_seconds = time.monotonic() - since
    base = progress.base_evaluation
    for name, documents in sets.items():
        _tell("base", name, documents, base[name])

    say("phase", name="train")
    trainer = make_trainer(
        network,
        rows,
        arguments,
        steps=steps,
        peak_rate=peak_rate,
        checkpoints=root / "checkpoints",
        curves=root / "output" / "data" / "tensorboard",
        watch=watch,
        group=group,
    )
    if network.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(network.device)
    if checkpoint:
        network.restore(checkpoint)
        say("resume", step=step_of(checkpoint), steps=steps, made_again=starts.steps_again)
    if not watch.must_stop():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    elif checkpoint:
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    if trainer.state.global_step == 0:
        raise watch.no_step()
    tuned: Losses = {}

    def metrics() -> dict[str, object]:
        return {
            "schema": 1,
            "base_model": _describe_model(network),
            "settings": arguments.settings | {"learning_rate": peak_rate},
            "environment": describe_environment(network) | ({"processes": str(group.size)} if group.size > 1 else {}),
            "memory": _describe_memory(network),
            "corpus": choosing.describe(corpus, rows.rows_per_epoch, length),
            "training": _describe_training(trainer.state, watch, steps, network),
            "evaluation": {name: paired(documents, base[name], tuned.get(name)) for name, documents in sets.items()},
        }

    network.weaken(arguments.adapter_strength)
    # Saved before it is measured: whatever ends the process from here on, the adapter that was paid for is whole.
    say("phase", name="save")
    if group.first:
        say("adapter", bytes=publish(root, network, metrics()))

    say("phase", name="evaluate-tuned")
    network.round_adapter()
    try:
        for name, losses in measure(tuned=True):
            tuned[name] = losses
            _tell("tuned", name, sets[name], losses)
    except OutOfTime:
        say("note", text="the time ended during the tuned evaluation: the losses that lack are null")
    if group.first:
        publish_metrics(root, metrics())
    say("finished", seconds=round(clock.elapsed, 1))


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)  # every device


def _score_all(
    network: Network, sets: Sets, edges: Boundaries, length: int, clock: Clock, group: Group, *, tuned: bool
) -> Iterator[tuple[str, list[float]]]:
    """(name, losses) of each set, the held-out one first: should the time end, it is the one that counts."""
    for name, documents in sets.items():
        yield (
            name,
            score(network, documents, edges, length, tuned=tuned, clock=clock, keep_seconds=SAVE_SECONDS, group=group),
        )


def _checkpoint(folder: Path, identity: str, group: Group) -> tuple[Path, dict[str, Any]] | None:
    """The newest that every process finds: each goes on from the same step, or all begin anew.

    Every process of the group must call it: each looks in its own folder, and then all compare their steps.
    """
    found = newest(folder, identity)
    step = step_of(found[0]) if found else 0
    high, low = group.highest(step, -step)
    if high != -low:
        say("note", text=f"the hosts found different checkpoints, of step {-low:g} to {high:g}: none is used")
        return None
    return found


def _tell(model: str, name: str, documents: Sequence[Document], losses: Sequence[float]) -> None:
    """A line such as `heldout model=base loss=2.9123 tokens=6120`."""
    tokens = sum(len(document.tokens) for document in documents)
    say(name.replace("_", "-"), model=model, loss=f"{mean_loss(documents, losses):.4f}", tokens=tokens)


def _identity(
    arguments: Arguments, corpus: Sequence[Document], sets: Sets, network: Network, configuration: dict[str, object]
) -> str:
    """What a checkpoint must agree with; how long a run may take, and how much of it is kept in the end, is no part of it."""
    settings = {
        key: value
        for key, value in arguments.settings.items()
        if key not in ("time_budget_seconds", "checkpoint_minutes", "adapter_strength")
    }
    # Of records also what of them is learnt.
    tokens = [
        document.read or list(document.tokens) for documents in (corpus, *sets.values()) for document in documents
    ]
    texts = hashlib.sha256(repr(tokens).encode()).hexdigest()
    return fingerprint(settings, texts, configuration, network.plan.quantization, network.plan.dtype_name)


def _describe_training(state: TrainerState, watch: Watch, steps: int, network: Network) -> dict[str, object]:
    curve = [entry for entry in state.log_history if "loss" in entry]
    stride = -(-len(curve) // CURVE_POINTS) or 1
    tokens, seconds = watch.tokens(state.global_step), watch.progress.seconds
    return {
        "steps": state.global_step,
        "planned_steps": steps,
        "epochs": round(watch.epochs(state.global_step), 4),
        "seconds": round(seconds, 3),
        "tokens_seen": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 2),
        "peak_memory_bytes": _peak_memory(network),
        "stopped_early": watch.stopped_early,
        "starts": watch.starts.count,
        "steps_again": watch.starts.steps_again,
        "loss_curve": [
            {"step": entry["step"], "loss": round(entry["loss"], 5), "learning_rate": entry["learning_rate"]}
            for entry in curve[::stride]
        ],
    }


def _peak_memory(network: Network) -> int:
    if network.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(network.device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _describe_model(network: Network) -> dict[str, object]:
    configuration = network.causal.config
    return {
        "name": network.name,
        "architecture": type(network.causal).__name__,
        "parameters": network.parameters,
        "trainable_parameters": sum(value.numel() for value in network.trainable.values()),
        "hidden_size": configuration.hidden_size,
        "layers": configuration.num_hidden_layers,
        "quantization": network.plan.quantization,
        "dtype": network.plan.dtype_name,
    }


def _describe_memory(network: Network) -> dict[str, object]:
    """The plan, to be held against `peak_memory_bytes`."""
    plan = network.plan
    return {
        "planned_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
        "micro_batch": plan.micro_batch,
        "activation_checkpointing": plan.checkpointing,
    }
