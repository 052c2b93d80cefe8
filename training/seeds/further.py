"""Trains with each further seed from the untouched base, while there is time, and tells the losses by seed.

Nothing that happens here takes anything from the first seed's result: it is saved before, and what is left out is told with its reason.
"""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from arguments import Arguments
from checkpoints import Starts, write_whole
from evaluation import OutOfTime, paired
from failure import explain, shown
from learning import make_trainer
from output import publish_metrics
from processes.group import reason_of
from progress import say
from seeds import safe
from seeds.first import First
from seeds.watching import SeedWatch
from watch import SAVE_SECONDS
from work import Work, seed_everything

SCORED = ("heldout", "outside", "control")  # the training text's passages are chosen by seed, so they are not the same
NOT_BEGUN = "the job ended before it began"
UNFINISHED = "the job ended while it was trained"
# Of the first seed's time, before a further one is begun: one that does not come to its end has cost its time for nothing.
MARGIN = 1.1


class LeftOut(Exception):
    """Why a seed has no result; every process of the group comes to the same."""


def metrics_of(arguments: Arguments, done: Mapping[int, Mapping[str, Any]], left: Mapping[int, str]) -> dict[str, Any]:
    """`seeds` of metrics.json: the results of the further seeds, and those that have none with the reason."""
    return {
        "first": arguments.seed,
        "further": [done[seed] for seed in arguments.more_seeds if seed in done],
        "left_out": [{"seed": seed, "why": why} for seed, why in left.items()],
    }


def planned(arguments: Arguments) -> dict[str, Any]:
    """The part of metrics.json before any further seed has begun; nothing where none is asked for."""
    left = dict.fromkeys(arguments.more_seeds, NOT_BEGUN)
    return {"seeds": metrics_of(arguments, {}, left)} if left else {}


def train(work: Work, arguments: Arguments, first: First, starts: Starts, identity: str) -> None:
    """Adds `seeds` to the first seed's metrics and writes them anew after each further seed.

    Raises what ended one of several processes; of a single process nothing but what cannot be written: OSError.
    """
    say("phase", name="further-seeds")
    safe.mark(work.root)  # where an earlier start of the job has trained the first seed
    folder = work.root / "checkpoints"
    done: dict[int, dict[str, Any]] = work.group.of_first(
        _kept(folder, arguments.more_seeds, identity) if work.group.first else None
    )
    left = {seed: NOT_BEGUN for seed in arguments.more_seeds if seed not in done}

    def tell() -> None:
        first.metrics["seeds"] = metrics_of(arguments, done, left)
        if work.group.first:
            publish_metrics(work.root, first.metrics)

    tell()
    for seed in list(left):
        left[seed] = UNFINISHED
        tell()
        try:
            _refuse_to_begin(work, first)
            done[seed] = _result(work, dataclasses.replace(arguments, seed=seed, more_seeds=()), first, starts)
            del left[seed]
            if work.group.first:
                _keep(folder, done[seed], identity)
        except LeftOut as reason:
            left[seed] = str(reason)
        except Exception as error:
            several = work.group.size > 1
            left[seed] = f"it failed: {reason_of(error)[0] if several else shown(explain(error))}"
            if several:  # the others may wait in a collective: the job ends with what is there
                tell()
                raise
        tell()
    for seed, why in left.items():
        say("note", text=f"seed {seed} was left out: {why}")


def _refuse_to_begin(work: Work, first: First) -> None:
    """Raises LeftOut where a whole training with its measuring would not come to its end."""
    needed = MARGIN * first.progress.seconds + 1.33 * first.progress.evaluation_seconds + SAVE_SECONDS
    # What one process has been told, or has too little time for, counts for all.
    stopped, missing = work.group.highest(work.clock.stop_requested, needed - work.clock.remaining)
    if first.cut_short:
        raise LeftOut(first.cut_short)
    if stopped:
        raise LeftOut("the job was stopped before it began")
    if missing > 0:
        raise LeftOut(f"it needs about {needed:.0f} s, and {needed - missing:.0f} s were left")


def _result(work: Work, arguments: Arguments, first: First, starts: Starts) -> dict[str, Any]:
    """Trains and measures. Raises LeftOut where that was not to be ended."""
    _free()
    seed_everything(arguments.seed)
    work.network.renew_adapter(arguments)
    rows, arguments = work.rows(arguments)
    watch = SeedWatch(
        arguments.seed, work.clock, first.progress.evaluation_seconds, starts,
        rows=rows, rows_per_step=arguments.sequences_per_step, group=work.group,
    )  # fmt: skip
    trainer = make_trainer(
        work.network,
        rows,
        arguments,
        steps=-(-len(rows) // arguments.sequences_per_step),
        peak_rate=first.metrics["settings"]["learning_rate"],
        checkpoints=work.root / "checkpoints",
        curves=work.root / "output" / "data" / "tensorboard" / f"seed-{arguments.seed}",
        watch=watch,
        group=work.group,
    )
    trainer.train()
    if why := watch.why_ended(trainer.state):
        raise LeftOut(why)
    work.network.weaken(arguments.adapter_strength)
    work.network.round_adapter()
    base = first.progress.base_evaluation or {}
    names = [name for name in SCORED if name in work.sets]
    try:
        tuned = dict(work.losses(arguments.sequence_length, names, tuned=True))
    except OutOfTime:
        raise LeftOut("the time was over while its losses were measured") from None
    evaluation = {name: paired(work.sets[name], base[name], tuned[name]) for name in names}
    losses = {name.replace("_", "-"): f"{part['tuned_loss']:.4f}" for name, part in evaluation.items()}
    say("further-seed", seed=arguments.seed, steps=trainer.state.global_step, **losses)
    return {
        "seed": arguments.seed,
        "steps": trainer.state.global_step,
        "seconds": round(watch.progress.seconds, 3),
        "evaluation": evaluation,
    }


def _free() -> None:
    """Lets go of the last trainer, whose moments and gradients stand in circles of references."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _kept(folder: Path, seeds: tuple[int, ...], identity: str) -> dict[int, dict[str, Any]]:
    """What earlier starts of this job have finished."""
    found = {}
    for seed in seeds:
        try:
            kept = json.loads((folder / f"seed-{seed}.json").read_text(encoding="utf-8"))
            if kept["identity"] == identity:
                found[seed] = kept["result"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is damaged: the seed is trained again
    return found


def _keep(folder: Path, result: dict[str, Any], identity: str) -> None:
    """For a later start of this job; nothing else depends on it."""
    try:
        write_whole(folder / f"seed-{result['seed']}.json", {"identity": identity, "result": result})
    except OSError as error:
        say("note", text=f"the result of seed {result['seed']} could not be kept for an interruption: {error}")
