"""The run from loading the model to the last file: evaluate, train, save, evaluate again."""

from __future__ import annotations

import hashlib
import itertools
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging as transformers_logging

from arguments import Arguments, automatic_learning_rate
from checkpoints import Starts, count_start, fingerprint, newest, step_of
from describing import memory_of, model_of, training_of
from evaluation import OutOfTime, mean_loss, paired
from failure import TrainingFailure, explain, mark_adapter_saved, shown, unmark_adapter_saved
from inputs import Inputs
from learning import make_trainer
from model import vocabulary
from model.accelerator import choose_device, self_test
from model.network import Network, announce, describe_environment, load_network
from output import publish, publish_metrics
from processes.group import Group, joined, reason_of
from progress import Clock, say
from records import choosing
from text import Document, Rows, boundaries, excerpts, tokenize
from watch import Progress, Watch
from work import Losses, Sets, Work, seed_everything


def run(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock) -> None:
    """Does the whole job. Raises TrainingFailure with a reason a person can act on, or whatever went wrong."""
    transformers_logging.disable_progress_bar()
    device = choose_device(root)
    self_test(device)
    with joined(device) as group:
        _run(root, inputs, arguments, clock, device, group)


def _run(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock, device: torch.device, group: Group) -> None:
    seed_everything(arguments.seed)
    network = load_network(inputs.model, arguments, device, group)
    announce(network)
    edges = boundaries(network.tokenizer)
    corpus = tokenize(inputs.corpus, network.tokenizer)
    sets = {name: tokenize(documents, network.tokenizer) for name, documents in inputs.evaluation.items()}
    sets["training_text"] = excerpts(corpus, network.tokenizer, arguments.sequence_length, arguments.seed)
    choosing.tell_of_long_records(corpus, arguments)
    vocabulary.refuse_unknown_tokens(itertools.chain(corpus, *sets.values()), edges, network.known_tokens)
    work = Work(root, network, corpus, sets, edges, clock, group)
    rows, chosen = work.rows(arguments)
    identity = _identity(chosen, corpus, sets, network, inputs.model.configuration)

    found = _checkpoint(root / "checkpoints", identity, group)
    checkpoint = found[0] if found else None
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
    progress = Progress(**found[1]) if found else Progress()
    watch = Watch(
        clock,
        progress,
        starts,
        rows=rows,
        rows_per_step=chosen.sequences_per_step,
        checkpoint_minutes=arguments.checkpoint_minutes,
        identity=identity,
        group=group,
    )
    _train(work, rows, chosen, watch, checkpoint)
    say("finished", seconds=round(clock.elapsed, 1))


def _train(work: Work, rows: Rows, arguments: Arguments, watch: Watch, checkpoint: Path | None) -> None:
    """Measures, trains, saves and measures again; what is saved is what is served."""
    root, network, sets, group, progress = work.root, work.network, work.sets, work.group, watch.progress
    length, starts = arguments.sequence_length, watch.starts
    steps = -(-len(rows) // arguments.sequences_per_step)
    peak_rate = arguments.learning_rate or automatic_learning_rate(network.causal.config.hidden_size)

    if progress.base_evaluation is None:
        say("phase", name="evaluate-base")
        since = time.monotonic()
        try:
            progress.base_evaluation = dict(work.losses(length, list(sets), tuned=False))
        except OutOfTime:
            raise watch.no_step() from None
        progress.evaluation_seconds = time.monotonic() - since
    base = progress.base_evaluation
    for name, documents in sets.items():
        _tell("base", name, documents, base[name])
    scored = [document for documents in sets.values() for document in documents]
    loss = mean_loss(scored, [nats for name in sets for nats in base[name]])
    vocabulary.refuse_worse_than_guessing(loss, network.known_tokens)

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

    def metrics(unmeasured: str | None) -> dict[str, Any]:
        return {
            "schema": 1,
            "base_model": model_of(network),
            "settings": arguments.settings | {"learning_rate": peak_rate},
            "environment": describe_environment(network) | ({"processes": str(group.size)} if group.size > 1 else {}),
            "memory": memory_of(network),
            "corpus": choosing.describe(work.corpus, rows.rows_per_epoch, length),
            "training": training_of(trainer.state, watch, steps, network, unmeasured),
            "evaluation": {name: paired(documents, base[name], tuned.get(name)) for name, documents in sets.items()},
        }

    network.scale_adapter(arguments.adapter_strength)
    # Saved before it is measured: whatever ends the process from here on, the adapter that was paid for is whole.
    say("phase", name="save")
    say(
        "adapter",
        bytes=group.of_first(publish(root, network, metrics("the job ended before")) if group.first else None),
    )
    mark_adapter_saved(root)

    say("phase", name="evaluate-tuned")
    unmeasured, error = _measure_tuned(work, length, tuned)
    measured = metrics(unmeasured)
    if group.first:
        publish_metrics(root, measured)
    if unmeasured:
        say("note", text=f"losses of the tuned model lack and are null: {unmeasured}")
    if error:
        raise error


def _measure_tuned(work: Work, length: int, tuned: Losses) -> tuple[str | None, Exception | None]:
    """Fills `tuned` set by set. Returns why some lack, if any do, and the error with which the job must end for that.

    One of several processes must end: the others may wait for it in a collective. Raises TrainingFailure where losses are no numbers:
    such an adapter is worth no endpoint.
    """
    try:
        work.network.round_adapter()
        for name, losses in work.losses(length, list(work.sets), tuned=True):
            tuned[name] = losses
            _tell("tuned", name, work.sets[name], losses)
    except OutOfTime:
        return "the time was over", None
    except TrainingFailure:
        unmark_adapter_saved(work.root)
        raise
    except Exception as error:
        if work.group.size > 1:
            return reason_of(error)[0], error
        traceback.print_exc()
        return shown(explain(error)), None
    return None, None


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
