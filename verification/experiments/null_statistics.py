"""How often the verdict is wrong when nothing was learned, and how often it is right when something was.

    python -m verification.experiments.null_statistics            # 2,000 nulls a row
    python -m verification.experiments.null_statistics --quick    # 300 a row

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
from typing import Any

from report.findings.gains import compare_gains
from report.findings.intervals import interval
from report.findings.recall import clustered_mean
from report.findings.statistics import sign_flip
from report.findings.verdict import IMPROVED, WORSE, WORSE_OUTSIDE, judge_loss, judge_recall

# The interval moves by far less than a standard error between 1,000 and 10,000 resamples; one row below uses 10,000.
RESAMPLES = 1_000
SHAPE = 0.5  # of the log-normal
CONTROL_DOCUMENTS = 13  # as many as data/control.txt has
# For the nulls of the first condition alone: whatever the held-out loss did, the control text did worse.
CERTAINLY_FURTHER = {
    "control_documents": CONTROL_DOCUMENTS,
    "difference": {"estimate": -1.0, "standard_error": 0.1, "low": -1.2, "high": -0.8},
    "p_value": 0.0001,
}

# For the condition on outside text alone: held-out text certainly gained, and more than the control text.
CERTAINLY_GAINED = {
    "documents_count": 18,
    "unusable_documents": 0,
    "difference": CERTAINLY_FURTHER["difference"],
    "p_value": 0.0001,
}
OUTSIDE_DOCUMENTS = (6, 20, 88)  # the least, a small set, and what `make outside` writes

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


SHAPES: dict[str, Draw] = {
    "normal": normal,
    "heavy-tailed": heavy,
    "skewed": skewed,
}


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
    """What the verdict reads of the loss changes, in nats, of documents with so many tokens."""
    p_value, _ = sign_flip(change, seed=seed, flips=1_000)
    difference = interval(change, tokens, seed=seed, resamples=resamples).as_dict()
    return {"documents_count": len(tokens), "unusable_documents": 0, "difference": difference, "p_value": p_value}


def rates(
    *, count: int, mean: float, spread: float, draw: Draw, runs: int, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The shares of simulated runs judged improved and worse."""
    rng = random.Random(seed)
    blocks = (measured(rng, count, mean, spread, draw, seed=run, resamples=resamples) for run in range(runs))
    verdicts = [judge_loss(block, CERTAINLY_FURTHER).verdict for block in blocks]
    return verdicts.count(IMPROVED) / runs, verdicts.count(WORSE) / runs


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
) -> tuple[float, float]:
    """The shares judged improved and worse where every text gained: control text by `gain`, the field's by `gain + field`.

    `spreads` are the standard deviations of held-out and control documents. With `field` 0 nothing of the field was learned.
    """
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        heldout = simulated(rng, count, gain + field, spreads[0], draw)
        control = simulated(rng, CONTROL_DOCUMENTS, gain, spreads[1], draw)
        tokens = [document["tokens"] for document in heldout["documents"]]
        change = [document["tuned_nll"] - document["base_nll"] for document in heldout["documents"]]
        block = loss_block(change, tokens, seed=run, resamples=resamples)
        beyond = compare_gains(heldout, control, seed=run, resamples=resamples, shuffles=resamples)
        verdicts.append(judge_loss(block, beyond).verdict)
    return verdicts.count(IMPROVED) / runs, verdicts.count(WORSE) / runs


def outside_rates(
    *, count: int, mean: float, spread: float, draw: Draw, runs: int, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The shares judged improved and worse outside where held-out text gained without doubt and outside text changed by `mean`."""
    rng = random.Random(seed)
    blocks = (measured(rng, count, mean, spread, draw, seed=run, resamples=resamples) for run in range(runs))
    verdicts = [judge_loss(CERTAINLY_GAINED, CERTAINLY_FURTHER, block).verdict for block in blocks]
    return verdicts.count(IMPROVED) / runs, verdicts.count(WORSE_OUTSIDE) / runs


def whole_rule_rates(
    *, gain: float, outside: float, spread: float, runs: int, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The shares judged improved and worse outside by all conditions together: held-out text changed by `gain`, control text not at all, outside
    text by `outside`; 18, 13 and 88 normal documents."""
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        heldout = simulated(rng, 18, gain, spread, normal)
        control = simulated(rng, CONTROL_DOCUMENTS, 0.0, spread, normal)
        tokens = [document["tokens"] for document in heldout["documents"]]
        change = [document["tuned_nll"] - document["base_nll"] for document in heldout["documents"]]
        beyond = compare_gains(heldout, control, seed=run, resamples=resamples, shuffles=resamples)
        others = measured(rng, OUTSIDE_DOCUMENTS[-1], outside, spread, normal, seed=run, resamples=resamples)
        verdicts.append(judge_loss(loss_block(change, tokens, seed=run, resamples=resamples), beyond, others).verdict)
    return verdicts.count(IMPROVED) / runs, verdicts.count(WORSE_OUTSIDE) / runs


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
    return verdicts.count(IMPROVED) / runs, verdicts.count(WORSE) / runs


def _per_cent(share: float, runs: int) -> str:
    """A share with its standard error."""
    return f"{100 * share:5.1f} % ± {100 * math.sqrt(max(share * (1 - share), 1 / runs / 4) / runs):.1f}"


# Three standard errors of a share of 5 %: a row may not exceed the promise by more than chance.
def _too_many(improved: float, runs: int) -> bool:
    return improved > 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def loss_nulls(runs: int, power_runs: int) -> bool:
    """The first condition alone; True where a row is wrong too often."""
    print(f"Nulls: nothing learned, {runs:,} simulated runs a row, SD of documents 0.10 nats per token", flush=True)
    print(f"{'documents':>9}  {'differences':<13} {'improved (false)':>18} {'worse (false)':>16}")
    failed = False
    grid = [(count, name, RESAMPLES) for count in (6, 10, 14, 18) for name in SHAPES]
    for count, name, resamples in [*grid, (14, "normal", 10_000)]:
        many = resamples > RESAMPLES
        row_runs = power_runs if many else runs
        improved, worse = rates(
            count=count, mean=0.0, spread=0.1, draw=SHAPES[name], runs=row_runs, seed=count, resamples=resamples
        )
        note = f"  ({resamples:,} resamples, {row_runs} runs)" if many else ""
        shares = f"{_per_cent(improved, row_runs):>18} {_per_cent(worse, row_runs):>16}"
        print(f"{count:>9}  {name:<13} {shares}{note}", flush=True)
        failed |= _too_many(improved, row_runs)
    return failed


def gain_nulls(runs: int, power_runs: int) -> bool:
    """The second condition: every text gained alike; True where a row is wrong too often."""
    print(f"Nulls of the second condition: held-out and control text gained 0.25 alike, {runs:,} simulated runs a row")
    print(f"{'documents':>9}  {'differences':<13} {'SD held-out, control':>20} {'improved (false)':>18}")
    failed = False
    alike, unequal = (0.1, 0.1), ((0.05, 0.15), (0.15, 0.05))
    grid = [(18, name, alike) for name in SHAPES] + [(18, "normal", spreads) for spreads in unequal]
    for count, name, spreads in [*grid, (10, "normal", alike)]:
        improved, _ = general_gain_rates(
            count=count, gain=-0.25, field=0.0, spreads=spreads, draw=SHAPES[name], runs=runs, seed=count
        )
        told = f"{spreads[0]:.2f}, {spreads[1]:.2f}"
        print(f"{count:>9}  {name:<13} {told:>20} {_per_cent(improved, runs):>18}", flush=True)
        failed |= _too_many(improved, runs)
    print(
        f"\nPower beside a general gain of 0.25: share judged improved, 18 documents, {power_runs} simulated runs a cell"
    )
    effects = (-0.05, -0.10, -0.30)
    print(f"{'SD held-out, control':>20}  " + "".join(f"{f'further by {effect:.2f}':>18}" for effect in effects))
    for spreads in ((0.05, 0.05), (0.05, 0.10), (0.10, 0.10)):
        cells = []
        for effect in effects:
            share, _ = general_gain_rates(
                count=18, gain=-0.25, field=effect, spreads=spreads, draw=normal, runs=power_runs, seed=18
            )
            cells.append(f"{_per_cent(share, power_runs):>18}")
        print(f"{f'{spreads[0]:.2f}, {spreads[1]:.2f}':>20}  " + "".join(cells), flush=True)
    return failed


def outside_nulls(runs: int, power_runs: int) -> bool:
    """The condition on outside text, alone and together with the others; True where a row is wrong too often."""
    print(
        f"Nulls of the condition on outside text: held-out text gained without doubt, outside text did not change, {runs:,} simulated runs a row, "
        "SD of documents 0.10"
    )
    print(f"{'documents':>9}  {'differences':<13} {'improved (false)':>18} {'worse outside (false)':>22}")
    failed = False
    for count in OUTSIDE_DOCUMENTS:
        for name in SHAPES:
            improved, worse = outside_rates(
                count=count, mean=0.0, spread=0.1, draw=SHAPES[name], runs=runs, seed=count, resamples=400
            )
            print(f"{count:>9}  {name:<13} {_per_cent(improved, runs):>18} {_per_cent(worse, runs):>22}", flush=True)
            failed |= _too_many(improved, runs) or _too_many(worse, runs)
    improved, worse = whole_rule_rates(gain=0.0, outside=0.0, spread=0.1, runs=runs, seed=1, resamples=400)
    print(
        f"All conditions together, nothing learned at all: {_per_cent(improved, runs).strip()} improved, {_per_cent(worse, runs).strip()} worse outside"
    )
    print(
        f"\nPower, held-out text gained without doubt, {power_runs} simulated runs a cell: improved where outside text fell by as much, worse outside where it rose"
    )
    effects = (0.01, 0.02, 0.05, 0.10)
    print(
        f"{'documents':>9} {'SD':>6} {'verdict':>14}  " + "".join(f"{f'effect {effect:.2f}':>16}" for effect in effects)
    )
    for count in OUTSIDE_DOCUMENTS:
        for spread in (0.05, 0.10):
            cells: dict[str, list[str]] = {IMPROVED: [], WORSE_OUTSIDE: []}
            for effect in effects:
                for place, verdict, sign in ((0, IMPROVED, -1), (1, WORSE_OUTSIDE, 1)):
                    shares = outside_rates(
                        count=count,
                        mean=sign * effect,
                        spread=spread,
                        draw=normal,
                        runs=power_runs,
                        seed=count,
                        resamples=400,
                    )
                    cells[verdict].append(f"{_per_cent(shares[place], power_runs):>16}")
            for verdict, row in cells.items():
                print(f"{count:>9} {spread:>6.2f} {verdict:>14}  " + "".join(row), flush=True)
    return failed


def recall_nulls(runs: int, power_runs: int) -> bool:
    """The second line; True where a row is wrong too often."""
    print(f"Nulls of the second line, key-fact recall, {runs:,} simulated runs a row")
    print(f"{'prompts':>9}  {'':<13} {'improved (false)':>18} {'worse (false)':>16}")
    failed = False
    for count, alike in ((24, 1), (80, 1), (96, 4)):
        improved, worse = recall_rates(prompts=count, runs=runs, seed=count, resamples=400, alike=alike)
        note = "" if alike == 1 else f"{count // alike} clusters"
        print(f"{count:>9}  {note:<13} {_per_cent(improved, runs):>18} {_per_cent(worse, runs):>16}", flush=True)
        failed |= _too_many(improved, runs)
    return failed


def loss_power(runs: int, power_runs: int) -> bool:
    """How often a real effect passes the first condition; nothing to fail."""
    print(f"Power: share judged improved, {power_runs} simulated runs a cell, normal differences")
    effects, spreads = (-0.02, -0.05, -0.10), (0.05, 0.10, 0.15)
    print(f"{'documents':>9} {'SD':>6}  " + "".join(f"{f'effect {effect:.2f}':>16}" for effect in effects))
    for count in (10, 14, 18):
        for spread in spreads:
            cells = []
            for effect in effects:
                share, _ = rates(count=count, mean=effect, spread=spread, draw=normal, runs=power_runs, seed=count)
                cells.append(f"{_per_cent(share, power_runs):>16}")
            print(f"{count:>9} {spread:>6.2f}  " + "".join(cells), flush=True)
    return False


PARTS = {"loss": loss_nulls, "gain": gain_nulls, "outside": outside_nulls, "recall": recall_nulls, "power": loss_power}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; exit 1 where a null row is called improved more often than 5 %, beyond chance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
