"""`captune dev false-positives`: how often the verdict is wrong without an effect, and how often it is right with one.

Every row simulates held-out sets as the report meets them (documents of unequal length, one loss difference each), sends
them through the report's own interval, sign-flip test and verdict, and counts. In a negative control the mean difference is zero. `skewed` draws
from a shifted log-normal of skewness 1.75: most documents improve a little and a few get much worse, which is the hardest case.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Annotated, Any, NamedTuple

import typer

from rehearsal.conductor.options import one_of
from report.findings.intervals import interval
from report.findings.recall import clustered_mean
from report.findings.statistics import compare_gains, sign_flip
from report.findings.verdict import IMPROVED, WORSE, WORSE_OUTSIDE, judge_knowledge, judge_loss
from report.findings.word_order import compare_word_order

# The interval moves by far less than a standard error between 1,000 and 10,000 resamples; one row below uses 10,000.
RESAMPLES = 1_000
SHAPE = 0.5  # of the log-normal
CONTROL_DOCUMENTS = 13  # of some 400 tokens each; data/control.txt has 28, half as long
# For one condition alone: held-out text certainly gained, and more than the control text.
_CERTAIN = {"difference": {"estimate": -1.0, "standard_error": 0.1, "low": -1.2, "high": -0.8}, "p_value": 0.0001}
CERTAINLY_FURTHER = {"control_documents": CONTROL_DOCUMENTS, **_CERTAIN}
CERTAINLY_GAINED = {"documents_count": 18, "unusable_documents": 0, **_CERTAIN}
OUTSIDE_DOCUMENTS = (6, 20, 88)  # the least, a small set, and the abstracts that `captune external` fetched first

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


class Texts(NamedTuple):
    """Documents of about 400 tokens to simulate: their number, and the mean and standard deviation of their loss changes in nats a token."""

    documents: int
    mean: float
    spread: float = 0.1


def rates(
    heldout: Texts | None,
    *,
    runs: int,
    seed: int,
    control: Texts | None = None,
    outside: Texts | None = None,
    draw: Draw = normal,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The shares of simulated runs judged improved, and worse (worse outside where outside text is simulated).

    Without `heldout` the held-out text has certainly gained; without `control` it has certainly gained more than the control text.
    """
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        parts = [_simulated(rng, texts, draw) if texts else None for texts in (heldout, control, outside)]
        # Only what the verdict reads is computed: the losses of either model alone play no part in it.
        loss, _, by_others = (_loss_block(part, run, resamples) if part else None for part in parts)
        further = CERTAINLY_FURTHER
        if parts[0] and parts[1]:
            further = compare_gains(parts[0], parts[1], seed=run, resamples=resamples, shuffles=resamples) or {}
        verdicts.append(judge_loss(loss or CERTAINLY_GAINED, further, by_others).verdict)
    return _shares(verdicts, WORSE_OUTSIDE if outside else WORSE)


def _simulated(rng: random.Random, texts: Texts, draw: Draw) -> dict[str, Any]:
    """The measured documents of one simulated run."""
    lengths = [token_count(rng) for _ in range(texts.documents)]
    changes = [length * (texts.mean + texts.spread * draw(rng)) for length in lengths]
    rows = [
        {"id": place, "tokens": length, "base_nll": 4.0 * length, "tuned_nll": 4.0 * length + change}
        for place, (length, change) in enumerate(zip(lengths, changes, strict=True))
    ]
    return {"documents": rows}


def _loss_block(measured: dict[str, Any], seed: int, resamples: int) -> dict[str, Any]:
    """What the verdict reads of the loss changes of these documents."""
    rows = measured["documents"]
    change = [row["tuned_nll"] - row["base_nll"] for row in rows]
    p_value, _ = sign_flip(change, seed=seed, flips=1_000)
    difference = interval(change, [row["tokens"] for row in rows], seed=seed, resamples=resamples)
    return {"documents_count": len(rows), "unusable_documents": 0, "difference": difference, "p_value": p_value}


def order_rates(
    documents: int, further: float, *, runs: int, seed: int, draw: Draw = normal, resamples: int = RESAMPLES
) -> float:
    """The share of runs judged improved where all other conditions certainly hold, and the loss fell by 2.5 % of the base model's on shuffled
    words and by `further`, a share of the base model's loss, more on the same documents as written."""
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        written = _simulated(rng, Texts(documents, -0.1 - 4.0 * further, 0.05), draw)
        shuffled = {
            "documents": [
                {
                    **row,
                    "base_nll": 2 * row["base_nll"],
                    "tuned_nll": 2 * (row["base_nll"] - row["tokens"] * (0.1 + 0.05 * draw(rng))),
                }
                for row in written["documents"]
            ]
        }
        order = compare_word_order(written, shuffled, seed=run, resamples=resamples, flips=1_000)
        judged = judge_loss(CERTAINLY_GAINED, CERTAINLY_FURTHER, CERTAINLY_GAINED, word_order=order)
        verdicts.append(judged.verdict)
    return _shares(verdicts, WORSE)[0]


def knowledge_rates(*, sets: int, runs: int, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The shares of null runs whose second line is judged improved and worse.

    The four items of a set are as likely chosen rightly by one model as by the other (25 % on average, from set to set very different),
    and half of the choices are the same after training as before.
    """
    rng, verdicts = random.Random(seed), []
    for run in range(runs):
        change, clusters = [], []
        for number in range(sets):
            likely = rng.betavariate(1.5, 4.5)
            for _ in range(4):
                base = rng.random() < likely
                tuned = base if rng.random() < 0.5 else rng.random() < likely
                change.append(float(tuned - base))
                clusters.append(str(number))
        found = clustered_mean(change, clusters, seed=run, resamples=resamples, flips=1_000)
        counts = {"prompts": len(change), "clusters": found["clusters"]}
        measure = {**counts, "difference": found["mean"], "p_value": found["p_value"]}
        verdicts.append(judge_knowledge({"controlled": measure}).verdict)
    return _shares(verdicts, WORSE)


def _shares(verdicts: list[str], harmful: str) -> tuple[float, float]:
    """The shares judged improved and otherwise."""
    return verdicts.count(IMPROVED) / len(verdicts), verdicts.count(harmful) / len(verdicts)


def _per_cents(shares: Sequence[float], runs: int) -> list[str]:
    """Shares with their standard errors."""
    errors = [math.sqrt(max(share * (1 - share), 1 / runs / 4) / runs) for share in shares]
    return [f"{100 * share:5.1f}% ± {100 * error:.1f}" for share, error in zip(shares, errors, strict=True)]


def _too_many(share: float, runs: int) -> bool:
    """Whether a share is above the promised 5 % by more than chance: three standard errors."""
    return share > 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def _show(form: str, *cells: object) -> None:
    """Prints a row of a table immediately: the next one takes a while."""
    print(form.format(*cells).rstrip(), flush=True)


def loss_nulls(runs: int, power_runs: int) -> bool:
    """The first condition; True where a row is wrong too often."""
    print(f"Negative controls: nothing learned, {runs:,} simulated runs a row, SD of documents 0.10 nats per token")
    form, failed = "{:>9}  {:<13} {:>18} {:>16}{}", False
    _show(form, "documents", "differences", "improved (false)", "worse (false)", "")
    rows = [(count, name, RESAMPLES, runs) for count, name in product((6, 10, 14, 18), SHAPES)]
    for count, name, resamples, many in [*rows, (14, "normal", 10_000, power_runs)]:
        shares = rates(Texts(count, 0.0), runs=many, seed=count, draw=SHAPES[name], resamples=resamples)
        note = f"  ({resamples:,} resamples, {many} runs)" if resamples > RESAMPLES else ""
        _show(form, count, name, *_per_cents(shares, many), note)
        failed |= _too_many(shares[0], many)
    return failed


def gain_nulls(runs: int, power_runs: int) -> bool:
    """The second condition: every text gained alike; True where a row is wrong too often."""
    print(
        f"Negative controls of the second condition: held-out text and retention set gained 0.25 alike, {runs:,} simulated runs a row"
    )
    form, failed = "{:>9}  {:<13} {:>20} {:>18}", False
    _show(form, "documents", "differences", "SD held-out, control", "improved (false)")
    rows = [(18, name, (0.1, 0.1)) for name in SHAPES]
    rows += [(18, "normal", (0.05, 0.15)), (18, "normal", (0.15, 0.05)), (10, "normal", (0.1, 0.1))]

    def improved(count: int, further: float, spreads: tuple[float, float], name: str, many: int) -> float:
        texts = Texts(count, further - 0.25, spreads[0]), Texts(CONTROL_DOCUMENTS, -0.25, spreads[1])
        return rates(texts[0], control=texts[1], runs=many, seed=count, draw=SHAPES[name])[0]

    for count, name, spreads in rows:
        share = improved(count, 0.0, spreads, name, runs)
        _show(form, count, name, "{:.2f}, {:.2f}".format(*spreads), *_per_cents([share], runs))
        failed |= _too_many(share, runs)
    print(
        f"\nPower beside a general gain of 0.25: share judged improved, 18 documents, {power_runs} simulated runs a cell"
    )
    effects, form = (-0.05, -0.10, -0.30), "{:>20}  {:>18}{:>18}{:>18}"
    _show(form, "SD held-out, control", *(f"further by {effect:.2f}" for effect in effects))
    for spreads in ((0.05, 0.05), (0.05, 0.10), (0.10, 0.10)):
        shares = [improved(18, effect, spreads, "normal", power_runs) for effect in effects]
        _show(form, "{:.2f}, {:.2f}".format(*spreads), *_per_cents(shares, power_runs))
    return failed


def outside_nulls(runs: int, power_runs: int) -> bool:
    """The condition on the external test set, by itself and together with the others; True where a row is wrong too often."""
    print(
        f"Negative controls of the condition on the external test set: held-out text gained without doubt, the external test set did not change, {runs:,} simulated runs a row, "
        "SD of documents 0.10"
    )
    form, failed = "{:>9}  {:<13} {:>18} {:>22}", False
    _show(form, "documents", "differences", "improved (false)", "worse outside (false)")
    judged = partial(rates, resamples=400)
    shares: Sequence[float]
    for count, name in product(OUTSIDE_DOCUMENTS, SHAPES):
        shares = judged(None, outside=Texts(count, 0.0), runs=runs, seed=count, draw=SHAPES[name])
        _show(form, count, name, *_per_cents(shares, runs))
        failed |= any(_too_many(share, runs) for share in shares)
    control, outside = Texts(CONTROL_DOCUMENTS, 0.0), Texts(OUTSIDE_DOCUMENTS[-1], 0.0)
    improved, worse = _per_cents(judged(Texts(18, 0.0), control=control, outside=outside, runs=runs, seed=1), runs)
    print(
        f"All conditions together, nothing learned at all: {improved.strip()} improved, {worse.strip()} worse outside"
    )
    print(
        f"\nPower, held-out text gained without doubt, {power_runs} simulated runs a cell: improved where the external loss fell by as much, worse outside where it rose"
    )
    effects, form = (0.01, 0.02, 0.05, 0.10), "{:>9} {:>6} {:>14}  {:>16}{:>16}{:>16}{:>16}"
    _show(form, "documents", "SD", "verdict", *(f"effect {effect:.2f}" for effect in effects))
    for count, spread in product(OUTSIDE_DOCUMENTS, (0.05, 0.10)):
        for place, verdict, sign in ((0, IMPROVED, -1), (1, WORSE_OUTSIDE, 1)):
            texts = [Texts(count, sign * effect, spread) for effect in effects]
            shares = [judged(None, outside=one, runs=power_runs, seed=count)[place] for one in texts]
            _show(form, count, f"{spread:.2f}", verdict, *_per_cents(shares, power_runs))
    return failed


def order_nulls(runs: int, power_runs: int) -> bool:
    """The condition on the order of words; True where a row is wrong too often."""
    print(
        f"Negative controls of the condition on word order: all else certain, 2.5% of the loss gained as written and shuffled alike, {runs:,} simulated runs a row"
    )
    form, failed = "{:>9}  {:<13} {:>18}", False
    _show(form, "documents", "differences", "improved (false)")
    judged = partial(order_rates, resamples=400)
    for count, name in product(OUTSIDE_DOCUMENTS, SHAPES):
        share = judged(count, 0.0, runs=runs, seed=count, draw=SHAPES[name])
        _show(form, count, name, *_per_cents([share], runs))
        failed |= _too_many(share, runs)
    print(
        f"\nPower, {power_runs} simulated runs a cell: improved where the loss fell by so much more of itself as written"
    )
    effects, form = (0.002, 0.004, 0.01, 0.03), "{:>9}  {:>18}{:>18}{:>18}{:>18}"
    _show(form, "documents", *(f"{effect:.1%}" for effect in effects))
    for count in OUTSIDE_DOCUMENTS:
        shares = [judged(count, effect, runs=power_runs, seed=count) for effect in effects]
        _show(form, count, *_per_cents(shares, power_runs))
    return failed


def knowledge_nulls(runs: int, power_runs: int) -> bool:
    """The secondary metric; True where a row is wrong too often."""
    print(f"Negative controls of the secondary metric, controlled choices, {runs:,} simulated runs a row")
    form, failed = "{:>9} {:>9} {:>18} {:>16}", False
    _show(form, "items", "sets", "improved (false)", "worse (false)")
    for count in (20, 80, 130):
        shares = knowledge_rates(sets=count, runs=runs, seed=count, resamples=400)
        _show(form, 4 * count, count, *_per_cents(shares, runs))
        failed |= _too_many(shares[0], runs)
    return failed


def loss_power(runs: int, power_runs: int) -> bool:
    """How often a real effect passes the first condition; nothing to fail."""
    print(f"Power: share judged improved, {power_runs} simulated runs a cell, normal differences")
    effects, form = (-0.02, -0.05, -0.10), "{:>9} {:>6}  {:>16}{:>16}{:>16}"
    _show(form, "documents", "SD", *(f"effect {effect:.2f}" for effect in effects))
    for count, spread in product((10, 14, 18), (0.05, 0.10, 0.15)):
        shares = [rates(Texts(count, effect, spread), runs=power_runs, seed=count)[0] for effect in effects]
        _show(form, count, f"{spread:.2f}", *_per_cents(shares, power_runs))
    return False


PARTS = {
    "loss": loss_nulls,
    "gain": gain_nulls,
    "outside": outside_nulls,
    "order": order_nulls,
    "knowledge": knowledge_nulls,
    "power": loss_power,
}


def command(
    quick: Annotated[bool, typer.Option("--quick", help="Simulate 300 runs a row, and 100 for power.")] = False,
    part: Annotated[list[str] | None, typer.Option(metavar="PART", parser=one_of(PARTS), help=f"Print only this table: {', '.join(PARTS)}; may be repeated.")] = None,
) -> int:  # fmt: skip
    """Print the tables; exit 1 where a null row is called improved more often than 5 %, beyond chance.

    The exit code is 1 if a negative control is called improved in more than 5% of its runs, beyond chance.
    """
    runs, power_runs = (300, 100) if quick else (2_000, 300)
    started, failed = time.monotonic(), False
    for name in part or PARTS:
        failed |= PARTS[name](runs, power_runs)
        print()
    print(f"{'FAILED' if failed else 'ok'} in {time.monotonic() - started:.0f} s")
    return int(failed)
