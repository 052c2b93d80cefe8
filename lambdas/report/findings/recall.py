"""Key-fact recall: which facts of a prompt an answer states, and how that changes from base to tuned.

A fact is a regular expression, and `common.key_facts` judges whether an answer states it. A fact that the prompt itself gives away is not counted: repeating
the question is not knowledge. Prompts that ask the same fact say so by the same `cluster`, and count as one where
intervals and tests ask how many independent facts there are: they are learned or missed together.

Naming is not knowing: a model that names more terms finds more facts. Mismatched recall counts the facts of other prompts in the same answers.
"""

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.errors import ReportIncomplete
from common.key_facts import mentioned, own_answer, readings, stated, time_limit
from common.text import kinds_in_order
from report.findings.intervals import RESAMPLES, Side, interval
from report.findings.statistics import FLIPS, sign_flip
from report.summary_types import Estimate

STARTER, CONTROL = "starter", "control"
# Longer answers are cut before matching. 64 tokens are about 300 characters.
LONGEST_ANSWER = 4_000
SEARCH_SECONDS = 10.0  # a sound pattern takes a millisecond
MEASURES = ("all", "greedy", "sampled")
# Answers of so many prompts against the facts of so many others in all, about 90 each of 220 prompts: one to four seconds.
MISMATCHED_PROMPTS, MISMATCHED_PAIRS = 1_000, 20_000

Answers = Mapping[str, Mapping[str, Any]]


def by_id(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Answers or prompts keyed by their id; the first of two rows with one id counts."""
    keyed: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        keyed.setdefault(str(row.get("id")), row)
    return keyed


def cluster_of(prompt: Mapping[str, Any]) -> str:
    """The cluster that a prompt names; one of its own, which no name can be, where it names none."""
    name = prompt.get("cluster")
    return f"cluster {name}" if isinstance(name, str) and name.strip() else f"prompt {prompt.get('id')}"


def counted_facts(prompt: Mapping[str, Any]) -> list[tuple[str, re.Pattern[str]]]:
    """The facts (name, pattern) of a prompt that count: the pattern compiles and the prompt does not give it away."""
    facts = []
    asked = readings(str(prompt.get("prompt", "")))
    for fact in prompt.get("facts") or []:
        try:
            pattern = re.compile(str(fact["pattern"]), re.IGNORECASE)
        except (re.error, KeyError, TypeError):
            continue  # Preflight rejects such a pattern; a report must not fail on one
        if not mentioned(pattern, asked):
            facts.append((str(fact.get("name") or fact["pattern"]), pattern))
    return facts


def mark_facts(text: str, facts: Sequence[tuple[str, re.Pattern[str]]]) -> tuple[list[list[int]], list[str], list[str]]:
    """Sorted spans of the facts in a text, names found, names missing. Raises ReportIncomplete for a search without end."""
    spans: list[tuple[int, int]] = []
    found: list[str] = []
    missing: list[str] = []
    answer = readings(own_answer(text[:LONGEST_ANSWER]))
    for name, pattern in facts:
        with time_limit(SEARCH_SECONDS, _too_slow(name, pattern)):
            matches = stated(pattern, answer)
        spans.extend(matches)
        (found if matches else missing).append(name)
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged, found, missing


def _too_slow(name: str, pattern: re.Pattern[str]) -> ReportIncomplete:
    return ReportIncomplete(
        f"The pattern of the fact {name!r}, {pattern.pattern[:80]!r}, takes more than {SEARCH_SECONDS:.0f} seconds on an answer. "
        "Give its repeats bounds such as {0,40} in the prompts file, and start again."
    )


def compare_recall(
    prompts: Sequence[Mapping[str, Any]],
    base_answers: Sequence[Mapping[str, Any]],
    tuned_answers: Sequence[Mapping[str, Any]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any] | None:
    """Recall over the knowledge prompts, over the control prompts and by kind; None where no prompt has a fact.

    `all` averages the greedy answer and every sample of a prompt, and is what the recall line is judged on.
    Samples are paired by place (the same seed for both models); a prompt without both answers, or with more samples of one
    model, is counted as missing.
    """
    base, tuned = by_id(base_answers), by_id(tuned_answers)
    scored: list[dict[str, Any]] = []
    missing: list[str] = []
    given_away = 0
    for prompt in by_id(prompts).values():
        facts, identifier = counted_facts(prompt), str(prompt.get("id"))
        given_away += len(prompt.get("facts") or []) - len(facts)
        if not facts:
            continue
        if not _comparable(base.get(identifier), tuned.get(identifier)):
            missing.append(identifier)
            continue
        answers = base[identifier], tuned[identifier]
        scored.append({
            "cluster": cluster_of(prompt), "kind": str(prompt.get("kind", "")), "prompt": str(prompt.get("prompt", "")),
            "facts": facts, "answers": answers, **_score_pair(*answers, facts),
        })  # fmt: skip
    if not scored and not missing:
        return None

    def measure(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {name: compare_shares(rows, name, seed, resamples) for name in MEASURES}

    knowledge = [row for row in scored if row["kind"] != CONTROL]
    # A starter asks for an open list, which fits many answers.
    closed = [row for row in knowledge if row["kind"] != STARTER]
    return {
        "missing_prompts": missing,
        "facts_given_away": given_away,
        "knowledge": measure(knowledge),
        "mismatched": compare_shares(_mismatched(closed, seed), "all", seed, resamples),
        "control": measure([row for row in scored if row["kind"] == CONTROL]),
        "by_kind": [
            {"kind": kind, **measure([row for row in scored if row["kind"] == kind])}
            for kind in kinds_in_order(row["kind"] for row in scored)
        ],
    }


def _comparable(base: Mapping[str, Any] | None, tuned: Mapping[str, Any] | None) -> bool:
    """Whether both models answered, and as often: an answer that got lost must not count as one that states nothing."""
    if base is None or tuned is None:
        return False
    answered = all(isinstance(row.get("greedy"), str) for row in (base, tuned))
    return answered and len(base.get("samples") or []) == len(tuned.get("samples") or [])


def _score_pair(
    base: Mapping[str, Any], tuned: Mapping[str, Any], facts: Sequence[tuple[str, re.Pattern[str]]]
) -> dict[str, list[float] | None]:
    """[base, tuned] recall of one prompt for each measure; None where there are no samples."""
    greedy, sampled, every = [], [], []
    for answer in (base, tuned):
        texts = [answer["greedy"], *map(str, answer.get("samples") or [])]
        first, *others = (len(mark_facts(text, facts)[1]) / len(facts) for text in texts)
        greedy.append(first)
        sampled.append(sum(others) / max(1, len(others)))
        every.append((first + sum(others)) / len(texts))
    return {"all": every, "greedy": greedy, "sampled": sampled if base.get("samples") else None}


def _mismatched(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Of each prompt that is drawn, the [base, tuned] share of facts of other prompts that its answers state.

    The others are drawn too, of other clusters. A fact that the prompt or its own facts name is left out.
    """
    draw = random.Random(seed)
    drawn = draw.sample(rows, min(len(rows), MISMATCHED_PROMPTS))
    scored = []
    for row in drawn:
        others = draw.sample(rows, min(len(rows), MISMATCHED_PAIRS // len(drawn)))
        own = readings("\n".join([row["prompt"], *(name for name, _ in row["facts"])]))
        facts = [fact for other in others if other["cluster"] != row["cluster"] for fact in other["facts"]]
        facts = [fact for fact in facts if not mentioned(fact[1], own)]
        if facts:
            base, tuned = row["answers"]
            scored.append({"cluster": row["cluster"], **_score_pair(base, tuned, facts)})
    return scored


def compare_shares(rows: Sequence[Mapping[str, Any]], name: str, seed: int, resamples: int) -> dict[str, Any] | None:
    """The mean of both models over the prompts, of which `name` holds [base, tuned], and the paired difference, with intervals over clusters."""
    answered = [row for row in rows if row[name] is not None]
    if not answered:
        return None
    base, tuned = ([row[name][side] for row in answered] for side in (0, 1))
    change = [after - before for before, after in zip(base, tuned, strict=True)]
    clusters = [row["cluster"] for row in answered]
    difference = clustered_mean(change, clusters, seed=seed, resamples=resamples)
    return {
        "prompts": len(answered),
        "clusters": difference["clusters"],
        "base": _mean(_by_cluster(base, clusters), seed, resamples),
        "tuned": _mean(_by_cluster(tuned, clusters), seed, resamples),
        "difference": difference["mean"],
        "p_value": difference["p_value"],
        "p_method": difference["p_method"],
        "better": sum(value > 0 for value in change),
        "worse": sum(value < 0 for value in change),
    }


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES, flips: int = FLIPS
) -> dict[str, Any]:
    """The mean of the values with an interval that resamples whole clusters, and a sign-flip test that flips them whole.

    Every prompt weighs the same, so a cluster of three weighs three times one of its own. Returns `mean` (the figures of an
    Estimate), `p_value`, `p_method` and how many `clusters` there are.
    """
    sums, sizes = _by_cluster(values, clusters)
    p_value, p_method = sign_flip(sums, seed=seed, flips=flips)
    mean = _mean((sums, sizes), seed, resamples)
    return {"mean": mean, "p_value": p_value, "p_method": p_method, "clusters": len(sums)}


def _mean(clusters: Side, seed: int, resamples: int) -> Estimate:
    return interval(*clusters, seed=seed, resamples=resamples, method="percentile")


def _by_cluster(values: Sequence[float], clusters: Sequence[str]) -> tuple[list[float], list[float]]:
    together: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        together.setdefault(cluster, []).append(value)
    return [math.fsum(group) for group in together.values()], [float(len(group)) for group in together.values()]
