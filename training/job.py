"""The run from loading the model to the last file: evaluate, train, save, evaluate again."""

import dataclasses
import hashlib
import itertools
import math
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging as transformers_logging

from arguments import Arguments, automatic_learning_rate
from checkpoints import Starts, count_start, fingerprint, newest, precision_of_earlier_starts, step_of
from choices import FROM_PROMPTS, FROM_RECORDS, Choices, choices_of, items_of
from common.memory import sequences_per_step
from common.settings import AUTO
from curve import Curve, curve_of
from evaluation import (
    OutOfTime,
    mean_loss,
    paired,
    refuse_unknown_tokens,
    refuse_worse_than_guessing,
    score,
    scored_tokens,
)
from failure import TrainingFailure, explain, mark_adapter_saved, shown, unmark_adapter_saved
from inputs import SCALE_SET, Inputs
from learning import make_trainer
from model.network import Network, choose_device, describe_environment, load_network, seconds_a_token_on_cpu
from output import memory_of, model_of, publish, publish_metrics, training_of
from processes import Group, joined, reason_of
from progress import Clock, Pace, say
from records.rows import describe, rows_of, tell_of_long_records
from scale import SCALES, SET, UNMEASURED, Choice, measured, unmeasured, why_not
from text import Boundaries, Document, Rows, boundaries, excerpts, shuffled_sets, tokenize
from watch import SAVE_SECONDS, Progress, Watch

Losses = dict[str, list[float]]
CHOICES = "choices"


@dataclasses.dataclass(frozen=True)
class Work:
    """What the training and both evaluations share."""

    root: Path
    arguments: Arguments  # with the number of sequences of a step
    network: Network
    corpus: list[Document]
    sets: dict[str, list[Document]]  # what is measured before and after, by name
    choices: Choices  # whose pairs are one of the sets
    set_aside: list[Document]  # by which the adapter scale is chosen; empty where it is not
    by_control: bool  # whether they are control text
    why_unmeasured: str  # why it is not, or what becomes known where the job ends before
    edges: Boundaries
    rows: Rows
    curve: Curve
    clock: Clock
    group: Group

    @property
    def steps(self) -> int:
        """How many optimizer steps the rows make."""
        return -(-len(self.rows) // self.arguments.sequences_per_step)

    def losses(self, *, tuned: bool) -> Iterator[tuple[str, list[float]]]:
        """(name, losses) of each set in its order. Raises OutOfTime."""
        for name, documents in self.sets.items():
            yield name, self.losses_of(documents, name, tuned=tuned)

    def losses_of(
        self, documents: list[Document], name: str, *, tuned: bool, keep_seconds: float = SAVE_SECONDS
    ) -> list[float]:
        """The losses of these documents. Raises OutOfTime where no more than `keep_seconds` are left."""
        length = self.arguments.sequence_length
        return score(
            self.network, documents, self.edges, length, tuned=tuned, clock=self.clock, name=name, keep_seconds=keep_seconds,
            group=self.group,
        )  # fmt: skip


def run(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock) -> None:
    """Does the whole job. Raises TrainingFailure with a reason a person can act on, or whatever went wrong."""
    transformers_logging.disable_progress_bar()
    device = choose_device(root)
    with joined(device) as group:
        work = _load(root, inputs, arguments, clock, device, group)
        watch, checkpoint = _watch(work, inputs.model.configuration)
        _train(work, watch, checkpoint)
        say("finished", seconds=round(clock.elapsed, 1))


def _load(root: Path, inputs: Inputs, arguments: Arguments, clock: Clock, device: torch.device, group: Group) -> Work:
    """Loads the model and tokenizes the texts."""
    set_seed(arguments.seed)
    network = load_network(
        inputs.model, arguments, device, group, precision=precision_of_earlier_starts(root / "checkpoints")
    )
    parameters, trainable = network.parameters, network.trainable_parameters
    say("model", parameters=parameters, trainable=trainable, precision=network.plan.dtype_name)
    edges = boundaries(network.tokenizer)
    corpus = tokenize(inputs.corpus, network.tokenizer)
    sets = {name: tokenize(documents, network.tokenizer) for name, documents in inputs.evaluation.items()}
    for name, documents in shuffled_sets(inputs.evaluation, arguments.seed).items():
        sets[name] = tokenize(documents, network.tokenizer)
    sets["training_text"] = excerpts(corpus, network.tokenizer, arguments.sequence_length, arguments.seed)
    tell_of_long_records(corpus, arguments)
    given = inputs.choices or items_of(inputs.evaluation["heldout"])
    choices = choices_of(given, FROM_PROMPTS if inputs.choices else FROM_RECORDS, network.tokenizer)
    if choices.items:
        sets[CHOICES] = list(choices.pairs)
    wanted, why = arguments.adapter_scale == AUTO, why_not(inputs.scale, by_control=inputs.scale_by_control)
    set_aside = tokenize(inputs.scale, network.tokenizer) if wanted and not why else []
    refuse_unknown_tokens(itertools.chain(corpus, set_aside, *sets.values()), edges, network.known_tokens)
    rows = rows_of(corpus, edges, arguments)
    per_step = arguments.sequences_per_step or sequences_per_step(len(rows))
    if arguments.max_steps:
        rows.stop_after(arguments.max_steps * per_step)
    chosen = dataclasses.replace(arguments, sequences_per_step=per_step)
    curve = curve_of(
        sets["heldout"], rows, -(-len(rows) // per_step), network.tokenizer, edges, length=arguments.sequence_length, seed=arguments.seed
    )  # fmt: skip
    return Work(
        root, chosen, network, corpus, sets, choices, set_aside, inputs.scale_by_control, why or "the job ended before", edges, rows,
        curve, clock, group,
    )  # fmt: skip


def _watch(work: Work, configuration: dict[str, object]) -> tuple[Watch, Path | None]:
    """Counts this start of the job; returns the watch over its training, and the checkpoint from which it goes on."""
    folder, clock, group, minutes = work.root / "checkpoints", work.clock, work.group, work.arguments.checkpoint_minutes
    identity = _identity(work, configuration)
    checkpoint, state = _checkpoint(folder, identity, group) or (None, {})
    resumed = step_of(checkpoint) if checkpoint else 0
    starts: Starts = group.of_first(
        count_start(
            folder,
            identity,
            resumed_step=resumed,
            checkpoint_minutes=minutes,
            begun=clock.started,
            precision=work.network.plan.dtype_name,
        )
        if group.first
        else None
    )
    # MaxRuntimeInSeconds may count all starts of an interrupted job together.
    clock.budget_seconds -= starts.seconds_before
    watch = Watch(
        clock,
        Progress(**state),
        starts,
        rows=work.rows,
        rows_per_step=work.arguments.sequences_per_step,
        checkpoint_minutes=minutes,
        identity=identity,
        group=group,
        curve=work.curve,
    )
    return watch, checkpoint


def _train(work: Work, watch: Watch, checkpoint: Path | None) -> None:
    """Measures, trains, saves and measures again; what is saved is what is served."""
    root, arguments, network, rows, group = work.root, work.arguments, work.network, work.rows, work.group
    steps = work.steps
    _tell_how_long(work, watch, checkpoint)
    peak_rate = arguments.learning_rate
    if peak_rate == AUTO:
        peak_rate = automatic_learning_rate(network.causal.config.hidden_size)
    base = _measure_base(work, watch)

    def held_out() -> float | None:
        def losses_of(documents: Sequence[Document]) -> list[float]:
            return work.losses_of(list(documents), "curve", tuned=True, keep_seconds=watch.to_finish)

        return work.curve.point(losses_of, network.device)

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
        held_out=held_out if work.curve.steps else None,
    )
    if network.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(network.device)
    if checkpoint:
        network.restore(checkpoint)
        trainer.args.eval_on_start = False  # its history has that point
        say("resume", step=step_of(checkpoint), steps=steps, made_again=watch.starts.steps_again)
    if not watch.must_stop():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    elif checkpoint:
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    if trainer.state.global_step == 0:
        raise watch.no_step()
    tuned: Losses = {}
    # Saved before anything is measured: whatever ends the process from here on, the adapter that was paid for is whole.
    choice = (
        Choice(arguments.adapter_scale, SET) if arguments.adapter_scale != AUTO else unmeasured(work.why_unmeasured)
    )

    def metrics(unmeasured: str | None) -> dict[str, Any]:
        return {
            "schema": 1,
            "base_model": model_of(network),
            "settings": arguments.settings | {"learning_rate": peak_rate, "adapter_scale": choice.scale},
            "environment": describe_environment(network) | ({"processes": str(group.size)} if group.size > 1 else {}),
            "memory": memory_of(network),
            "corpus": describe(work.corpus, rows.rows_per_epoch, arguments.sequence_length),
            "training": training_of(trainer.state, watch, steps, network, unmeasured),
            "scale": choice.description,
            "evaluation": {
                name: paired(documents, base[name], tuned.get(name))
                for name, documents in work.sets.items()
                if name != CHOICES
            },
            "choices": work.choices.described(base[CHOICES], tuned.get(CHOICES)) if work.choices.items else None,
        }

    def save() -> None:
        network.scale_adapter(choice.scale)
        saved_bytes = group.of_first(publish(root, network, metrics("the job ended before")) if group.first else None)
        say("adapter", bytes=saved_bytes)
        mark_adapter_saved(root)

    say("phase", name="save")
    save()
    if work.set_aside:
        choice = _choose_scale(work, watch, base[SCALE_SET])
        save()
    if choice.how == UNMEASURED:
        say("note", text=f"the adapter scale was not measured and stays at {choice.scale:g}: {choice.why}")

    say("phase", name="evaluate-tuned")
    lacking, error = _measure_tuned(work, tuned)
    whole = metrics(lacking)
    if group.first:
        publish_metrics(root, whole)
    if lacking:
        say("note", text=f"losses of the fine-tuned model are missing (null): {lacking}")
    if error:
        raise error


def _tell_how_long(work: Work, watch: Watch, checkpoint: Path | None) -> None:
    """Plans the work that is left; where there is no GPU, one line such as `expected seconds=180` before the first measurement."""
    done = step_of(checkpoint) if checkpoint else 0
    before = 0 if watch.progress.base_evaluation else 1  # the base model's losses travel with a checkpoint

    def tokens(documents: Iterable[Document]) -> int:
        return scored_tokens(documents, work.edges, work.arguments.sequence_length)

    scored = (before + 1) * tokens(itertools.chain(*work.sets.values()))
    scored += (before + len(SCALES)) * tokens(work.set_aside)
    scored += sum(step >= done for step in work.curve.steps) * tokens(work.curve.documents)
    on_cpu, size, pace = work.network.device.type == "cpu", work.group.size, work.clock.pace
    to_train, to_score = seconds_a_token_on_cpu(work.network) if on_cpu else (math.nan, math.nan)
    pace.plan(Pace.TRAIN, work.rows.tokens(len(work.rows)) - watch.tokens(done), to_train / size)
    pace.plan(Pace.SCORE, scored / size, to_score)
    if on_cpu:
        say("expected", seconds=pace.told()["seconds_left"])


def _measure_base(work: Work, watch: Watch) -> Losses:
    """The base model's losses, or those that the checkpoint brought along. Raises TrainingFailure where they cannot be its own."""
    progress = watch.progress
    if progress.base_evaluation is None:
        say("phase", name="evaluate-base")
        since = time.monotonic()
        try:
            base = dict(work.losses(tuned=False))
            progress.evaluation_seconds = time.monotonic() - since
            if work.set_aside:
                base[SCALE_SET] = work.losses_of(work.set_aside, SCALE_SET, tuned=False)
                progress.scale_seconds = time.monotonic() - since - progress.evaluation_seconds
        except OutOfTime:
            raise watch.no_step() from None
        progress.base_evaluation = base
    base = progress.base_evaluation
    for name, documents in work.sets.items():
        _report_loss("base", name, documents, base[name])
    scored = [document for documents in work.sets.values() for document in documents]
    loss = mean_loss(scored, [nats for name in work.sets for nats in base[name]])
    refuse_worse_than_guessing(loss, work.network.known_tokens)
    return base


def _choose_scale(work: Work, watch: Watch, base: list[float]) -> Choice:
    """The scale that is best on the text that was set aside, or why none could be measured.

    Raises what `_measure_tuned` raises, and the error that ended one of several processes.
    """
    if work.group.highest(work.clock.stop_requested)[0]:
        return unmeasured("the job was told to stop")
    say("phase", name="choose-scale")
    # What is then measured of the adapter counts for more than the best scale.
    keep_seconds = SAVE_SECONDS + 1.33 * watch.progress.evaluation_seconds

    def losses_at(scale: float) -> list[float]:
        work.network.scale_adapter(scale)
        return work.losses_of(work.set_aside, SCALE_SET, tuned=True, keep_seconds=keep_seconds)

    try:
        return measured(work.set_aside, base, losses_at, by_control=work.by_control)
    except OutOfTime:
        return unmeasured("the time was over")
    except TrainingFailure:
        unmark_adapter_saved(work.root)
        raise
    except Exception as error:
        if work.group.size > 1:
            raise
        traceback.print_exc()
        return unmeasured(shown(explain(error)))


def _measure_tuned(work: Work, tuned: Losses) -> tuple[str | None, Exception | None]:
    """Fills `tuned` set by set. Returns why some lack, if any do, and the error with which the job must end for that.

    One of several processes must end: the others may wait for it in a collective. Raises TrainingFailure where losses are no numbers:
    such an adapter is worth no endpoint.
    """
    try:
        for name, losses in work.losses(tuned=True):
            tuned[name] = losses
            _report_loss("tuned", name, work.sets[name], losses)
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


def _report_loss(model: str, name: str, documents: Sequence[Document], losses: Sequence[float]) -> None:
    """Prints a line such as `heldout model=base loss=2.9123 tokens=6120`."""
    tokens = sum(len(document.tokens) for document in documents)
    say(name.replace("_", "-"), model=model, loss=f"{mean_loss(documents, losses):.4f}", tokens=tokens)


def _identity(work: Work, configuration: dict[str, object]) -> str:
    """What a checkpoint must agree with; how long a run may take, and how much of it is kept in the end, is no part of it."""
    passing = ("time_budget_seconds", "checkpoint_minutes", "adapter_scale")
    settings = {key: value for key, value in work.arguments.settings.items() if key not in passing}
    # Of records also what of them is learnt.
    tokens = [
        document.read or list(document.tokens)
        for documents in (work.corpus, work.set_aside, *work.sets.values())
        for document in documents
    ]
    texts = hashlib.sha256(repr(tokens).encode()).hexdigest()
    plan = work.network.plan
    return fingerprint(settings, texts, configuration, plan.quantization, plan.dtype_name)
