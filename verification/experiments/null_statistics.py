"""How often the verdict is wrong when nothing was learned, and how often it is right when something was.

    captune nulls            # 2,000 nulls a row
    captune nulls --quick    # 300 a row

Every row simulates held-out sets as the report meets them (documents of unequal length, one loss difference each), sends
them through the report's own interval, sign-flip test and verdict, and counts. Null: the mean difference is zero. `skewed` draws from a
shifted log-normal of skewness 1.75: most documents improve a little and a few get much worse, which is the hardest case.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

from report.findings.intervals import interval
from report.findings.recall import clustered_mean
from report.findings.statistics import compare_gains, sign_flip
from report.findings.verdict import IMPROVED, WORSE, WORSE_OUTSIDE, judge_loss, judge_recall

# The interval moves by far less than a standard error between 1,000 and 10,000 resamples; one row below uses 10,000.
RESAMPLES = 1_000
SHAPE = 0.5  # of the log-normal
CONTROL_DOCUMENTS = 13  # of some 400 tokens each; data/control.txt has 28, half as long
# For one condition alone: held-out text certainly gained, and more than the control text.
_CERTAIN = {"difference": {"estimate": -1.0, "standard_error": 0.1, "low": -1.2, "high": -0.8}, "p_value": 0.0001}
CERTAINLY_FURTHER = {"control_documents": CONTROL_DOCUMENTS, **_CERTAIN}
CERTAINLY_GAINED = {"documents_count": 18, "unusable_documents": 0, **_CERTAIN}
OUTSIDE_DOCUMENTS = (6, 20, 88)  # the least, a small set, and what `captune outside` writes

Draw = Callable[[random.Random], float]


def normal(rng: random.Random) -> float:
    """Standard normal."""
    return rng.gauss(0, 1)


def heavy(rng: random.Random) -> float:
    """Student's t with three degrees of freedom, scaled to unit variance."""
    chi = sum(rng.gauss(0, 1) ** 2 for _ in range(3))
    return rng.gauss(0, 1) / math.sqrt(chi / 3) / math.sqrt(3)


def skewed(rng: random.Random) -> float:
    """Shifted log-normal with mean 0, variance 1 and a long right tail: most documents below zero."""
    square = SHAPE * SHAPE
    spread = math.sqrt((math.exp(square) - 1) * math.exp(square))
    return (rng.lognormvariate(0, SHAPE) - math.exp(square / 2)) / spread


SHAPES: dict[str, Draw] = {"normal": normal, "heavy-tailed": heavy, "skewed": skewed}


def token_count(rng: random.Random) -> float:
    """The length of a document: about 400 tokens."""
    return float(max(60, round(rng.lognormvariate(math.log(400), 0.35))))


def measured(
    rng: random.Random, count: int, mean: float, spread: float, draw: Draw, *, seed: int, resamples: int
) -> dict[str, Any]:
    """One simulated set of `count` documents of about 400 tokens, compared as `compare_losses` compares them.

    Only what the verdict reads is computed: the losses of either model alone play no part in it.
    """
    tokens = [token_count(rng) for _ in range(count)]
    change = [length * (mean + spread * draw(rng)) for length in tokens]
    return loss_block(change, tokens, seed=seed, resamples=resamples)


def loss_block(change: list[float], tokens: list[float], *, seed: int, resamples: int) -> dict[str, Any]:
    """What the verdict reads of the loss changes, in nats, of documents with these token counts."""
    p_value, _ = sign_flip(change, seed=seed, flips=1_000)
    difference = interval(change, tokens, seed=seed, resamples=resamples)
    return {"documents_count": len(tokens), "unusable_documents": 0, "difference": difference, "p_value": p_value}


def rates(
    *,
    count: int,
    mean: float,
    spread: float,
    draw: Draw,
    runs: int,
    seed: int,
    resamples: int = RESAMPLES,
    outside: bool = False,
) -> tuple[float, float]:
    """The shares of simulated runs judged improved and worse where held-out text changed by `mean` and gained more than the control
    text; or improved and worse outside where `outside` text changed by `mean`, and held-out text gained without doubt."""
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        block = measured(rng, count, mean, spread, draw, seed=run, resamples=resamples)
        judged = (CERTAINLY_GAINED, CERTAINLY_FURTHER, block) if outside else (block, CERTAINLY_FURTHER)
        verdicts.append(judge_loss(*judged).verdict)
    return _shares(verdicts, WORSE_OUTSIDE if outside else WORSE)


def general_gain_rates(
    *,
    count: int,
    gain: float,
    field: float,
    spreads: tuple[float, float],
    draw: Draw,
    runs: int,
    seed: int,
    resamples: int = RESAMPLES,
    outside: float | None = None,
) -> tuple[float, float]:
    """The shares judged improved and worse where held-out text changed by `gain + field` and control text by `gain`; or improved
    and worse outside where also outside text changed, by `outside`.

    `spreads` are the standard deviations of held-out and control documents. With `field` 0 nothing of the field was learned.
    """
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        heldout = simulated(rng, count, gain + field, spreads[0], draw)
        control = simulated(rng, CONTROL_DOCUMENTS, gain, spreads[1], draw)
        others = None
        if outside is not None:
            others = measured(rng, OUTSIDE_DOCUMENTS[-1], outside, spreads[0], draw, seed=run, resamples=resamples)
        tokens = [document["tokens"] for document in heldout["documents"]]
        change = [document["tuned_nll"] - document["base_nll"] for document in heldout["documents"]]
        block = loss_block(change, tokens, seed=run, resamples=resamples)
        beyond = compare_gains(heldout, control, seed=run, resamples=resamples, shuffles=resamples)
        verdicts.append(judge_loss(block, beyond, others).verdict)
    return _shares(verdicts, WORSE if outside is None else WORSE_OUTSIDE)


def simulated(rng: random.Random, count: int, mean: float, spread: float, draw: Draw) -> dict[str, Any]:
    """`count` documents of about 400 tokens whose loss changed by `mean`, with a standard deviation of `spread`."""
    documents = []
    for _ in range(count):
        tokens = token_count(rng)
        tuned = tokens * (4.0 + mean + spread * draw(rng))
        documents.append({"tokens": tokens, "base_nll": 4.0 * tokens, "tuned_nll": tuned})
    return {"documents": documents}


def recall_rates(
    *, prompts: int, runs: int, seed: int, resamples: int = RESAMPLES, alike: int = 1
) -> tuple[float, float]:
    """The shares of null runs whose recall line is judged improved and worse.

    Each prompt has three facts, as likely in the answers of one model as of the other (15 % on average, from prompt to
    prompt very different), one greedy and two sampled answers. `alike` prompts ask the same and come out the same.
    """
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        change = []
        for _ in range(prompts // alike):
            likely = rng.betavariate(0.5, 2.8)
            base, tuned = (sum(rng.random() < likely for _ in range(9)) / 9 for _ in range(2))
            change += [tuned - base] * alike
        clusters = [str(place // alike) for place in range(len(change))]
        found = clustered_mean(change, clusters, seed=run, resamples=resamples, flips=1_000)
        counts = {"prompts": len(change), "clusters": found["clusters"]}
        measure = {**counts, "difference": found["mean"], "p_value": found["p_value"]}
        verdicts.append(judge_recall({"knowledge": {"all": measure}}).verdict)
    return _shares(verdicts, WORSE)


def _shares(verdicts: list[str], harmful: str) -> tuple[float, float]:
    """The shares judged improved and otherwise."""
    return verdicts.count(IMPROVED) / len(verdicts), verdicts.count(harmful) / len(verdicts)


def _per_cent(share: float, runs: int) -> str:
    """A share with its standard error."""
    return f"{100 * share:5.1f} % ± {100 * math.sqrt(max(share * (1 - share), 1 / runs / 4) / runs):.1f}"


def _too_many(share: float, runs: int) -> bool:
    """Whether a share is above the promised 5 % by more than chance: three standard errors."""
    return share > 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def _show(form: str, *cells: object) -> None:
    """Prints a row of a table immediately: the next one takes a while."""
    print(form.format(*cells).rstrip(), flush=True)


def loss_nulls(runs: int, power_runs: int) -> bool:
    """The first condition alone; True where a row is wrong too often."""
    print(f"Nulls: nothing learned, {runs:,} simulated runs a row, SD of documents 0.10 nats per token")
    form, failed = "{:>9}  {:<13} {:>18} {:>16}{}", False
    _show(form, "documents", "differences", "improved (false)", "worse (false)", "")
    rows = [(count, name, RESAMPLES, runs) for count in (6, 10, 14, 18) for name in SHAPES]
    for count, name, resamples, many in [*rows, (14, "normal", 10_000, power_runs)]:
        one = partial(rates, count=count, mean=0.0, spread=0.1, draw=SHAPES[name])
        improved, worse = one(runs=many, seed=count, resamples=resamples)
        note = f"  ({resamples:,} resamples, {many} runs)" if resamples > RESAMPLES else ""
        _show(form, count, name, _per_cent(improved, many), _per_cent(worse, many), note)
        failed |= _too_many(improved, many)
    return failed


def gain_nulls(runs: int, power_runs: int) -> bool:
    """The second condition: every text gained alike; True where a row is wrong too often."""
    print(f"Nulls of the second condition: held-out and control text gained 0.25 alike, {runs:,} simulated runs a row")
    form, failed = "{:>9}  {:<13} {:>20} {:>18}", False
    _show(form, "documents", "differences", "SD held-out, control", "improved (false)")
    rows = [(18, name, (0.1, 0.1)) for name in SHAPES]
    rows += [(18, "normal", (0.05, 0.15)), (18, "normal", (0.15, 0.05)), (10, "normal", (0.1, 0.1))]
    gained = partial(general_gain_rates, gain=-0.25)
    for count, name, spreads in rows:
        improved, _ = gained(count=count, field=0.0, spreads=spreads, draw=SHAPES[name], runs=runs, seed=count)
        _show(form, count, name, "{:.2f}, {:.2f}".format(*spreads), _per_cent(improved, runs))
        failed |= _too_many(improved, runs)
    print(
        f"\nPower beside a general gain of 0.25: share judged improved, 18 documents, {power_runs} simulated runs a cell"
    )
    effects, form = (-0.05, -0.10, -0.30), "{:>20}  {:>18}{:>18}{:>18}"
    _show(form, "SD held-out, control", *(f"further by {effect:.2f}" for effect in effects))
    gained = partial(gained, count=18, draw=normal, runs=power_runs, seed=18)
    for spreads in ((0.05, 0.05), (0.05, 0.10), (0.10, 0.10)):
        shares = [gained(field=effect, spreads=spreads)[0] for effect in effects]
        _show(form, "{:.2f}, {:.2f}".format(*spreads), *(_per_cent(share, power_runs) for share in shares))
    return failed


def outside_nulls(runs: int, power_runs: int) -> bool:
    """The condition on outside text, alone and together with the others; True where a row is wrong too often."""
    print(
        f"Nulls of the condition on outside text: held-out text gained without doubt, outside text did not change, {runs:,} simulated runs a row, "
        "SD of documents 0.10"
    )
    form, failed = "{:>9}  {:<13} {:>18} {:>22}", False
    _show(form, "documents", "differences", "improved (false)", "worse outside (false)")
    for count, name in product(OUTSIDE_DOCUMENTS, SHAPES):
        one = partial(rates, outside=True, count=count, mean=0.0, spread=0.1, draw=SHAPES[name])
        improved, worse = one(runs=runs, seed=count, resamples=400)
        _show(form, count, name, _per_cent(improved, runs), _per_cent(worse, runs))
        failed |= _too_many(improved, runs) or _too_many(worse, runs)
    nothing = partial(general_gain_rates, count=18, gain=0.0, field=0.0, spreads=(0.1, 0.1), draw=normal, outside=0.0)
    improved, worse = nothing(runs=runs, seed=1, resamples=400)
    shares = [_per_cent(share, runs).strip() for share in (improved, worse)]
    print(f"All conditions together, nothing learned at all: {shares[0]} improved, {shares[1]} worse outside")
    print(
        f"\nPower, held-out text gained without doubt, {power_runs} simulated runs a cell: improved where outside text fell by as much, worse outside where it rose"
    )
    effects, form = (0.01, 0.02, 0.05, 0.10), "{:>9} {:>6} {:>14}  {:>16}{:>16}{:>16}{:>16}"
    _show(form, "documents", "SD", "verdict", *(f"effect {effect:.2f}" for effect in effects))
    for count, spread in product(OUTSIDE_DOCUMENTS, (0.05, 0.10)):
        power = partial(
            rates, outside=True, count=count, spread=spread, draw=normal, runs=power_runs, seed=count, resamples=400
        )
        for place, verdict, sign in ((0, IMPROVED, -1), (1, WORSE_OUTSIDE, 1)):
            cells = [_per_cent(power(mean=sign * effect)[place], power_runs) for effect in effects]
            _show(form, count, f"{spread:.2f}", verdict, *cells)
    return failed


def recall_nulls(runs: int, power_runs: int) -> bool:
    """The second line; True where a row is wrong too often."""
    print(f"Nulls of the second line, key-fact recall, {runs:,} simulated runs a row")
    form, failed = "{:>9}  {:<13} {:>18} {:>16}", False
    _show(form, "prompts", "", "improved (false)", "worse (false)")
    for count, alike in ((24, 1), (80, 1), (96, 4)):
        improved, worse = recall_rates(prompts=count, runs=runs, seed=count, resamples=400, alike=alike)
        note = "" if alike == 1 else f"{count // alike} clusters"
        _show(form, count, note, _per_cent(improved, runs), _per_cent(worse, runs))
        failed |= _too_many(improved, runs)
    return failed


def loss_power(runs: int, power_runs: int) -> bool:
    """How often a real effect passes the first condition; nothing to fail."""
    print(f"Power: share judged improved, {power_runs} simulated runs a cell, normal differences")
    effects, form = (-0.02, -0.05, -0.10), "{:>9} {:>6}  {:>16}{:>16}{:>16}"
    _show(form, "documents", "SD", *(f"effect {effect:.2f}" for effect in effects))
    for count, spread in product((10, 14, 18), (0.05, 0.10, 0.15)):
        power = partial(rates, count=count, spread=spread, draw=normal, runs=power_runs, seed=count)
        _show(form, count, f"{spread:.2f}", *(_per_cent(power(mean=effect)[0], power_runs) for effect in effects))
    return False


PARTS = {"loss": loss_nulls, "gain": gain_nulls, "outside": outside_nulls, "recall": recall_nulls, "power": loss_power}


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments.null_statistics") -> int:
    """Print the tables; exit 1 where a null row is called improved more often than 5 %, beyond chance."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=style)
    parser.add_argument("--quick", action="store_true", help="300 simulated runs a row, 100 for power")
    parser.add_argument("--part", action="append", choices=PARTS, help="print this table only; may be repeated")
    chosen = parser.parse_args(arguments)
    runs, power_runs = (300, 100) if chosen.quick else (2_000, 300)
    started, failed = time.monotonic(), False
    for name in chosen.part or PARTS:
        failed |= PARTS[name](runs, power_runs)
        print()
    print(f"{'FAILED' if failed else 'ok'} in {time.monotonic() - started:.0f} s")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
