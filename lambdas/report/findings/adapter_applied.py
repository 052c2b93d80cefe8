"""Was the adapter served at all? Losses come from training, answers from the endpoint, and the two have to speak of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import AdapterNotServed
from report.findings.memorisation import answer_texts
from report.findings.recall import by_id
from report.findings.statistics import usable_documents
from report.formatting import number, plural

# A small change of the weights seldom turns a greedy choice. One adapter of SmolLM2-135M at 0.03, 0.1, 0.3, 1 and 3 times its
# strength, 16 prompts, 32 tokens each: with the held-out losses 0.0003, 0.0009, 0.0027, 0.008 and 0.026 nats per token apart,
# 0, 1, 4, 8 and 15 of the 16 greedy answers differed. So the share that differs is about 60 times the distance.
DIFFERING_PER_NAT = 60
# That none differs where so many should is no chance, even for a model whose answers turn three times less often (e^-6).
ENOUGH_DIFFERING = 18
ENOUGH_PROMPTS = 8  # a few may all be questions to which both models know the answer by heart


def refuse_base_answers(
    metrics: Mapping[str, Any],
    base_answers: Sequence[Mapping[str, Any]],
    tuned_answers: Sequence[Mapping[str, Any]],
) -> None:
    """Raises AdapterNotServed when every answer of the fine-tuned model is the base model's, though the held-out loss moved.

    That Ask was answered in the adapter's name does not show that the adapter was applied. A model that learned nothing
    answers as before and is not refused, nor is a run with too few prompts to tell.
    """
    moved = loss_moved(metrics)
    same, asked = equal_prompts(base_answers, tuned_answers)
    if same < asked or asked < ENOUGH_PROMPTS or DIFFERING_PER_NAT * moved * asked < ENOUGH_DIFFERING:
        return
    raise AdapterNotServed(
        f"The fine-tuned model answered all {plural(asked, 'prompt')} word for word as the base model did, although their losses on the "
        f"held-out documents lie {number(moved, 3)} nats per token apart: the endpoint did not apply the adapter. Its log is in "
        "CloudWatch, below /aws/sagemaker/Endpoints. Leave hosting_image empty, or set it to another server-sagemaker-cuda image of "
        "AWS, deploy, and start again."
    )


def loss_moved(metrics: Mapping[str, Any]) -> float:
    """How far the two models' losses lie apart on the held-out documents, up or down, in nats per token; 0 where unknown."""
    documents = list(((metrics.get("evaluation") or {}).get("heldout") or {}).get("documents") or [])
    usable, _ = usable_documents(documents)
    tokens = sum(float(document["tokens"]) for document in usable)
    apart = sum(abs(float(document["tuned_nll"]) - float(document["base_nll"])) for document in usable)
    return apart / tokens if tokens else 0.0


def equal_prompts(
    base_answers: Sequence[Mapping[str, Any]], tuned_answers: Sequence[Mapping[str, Any]]
) -> tuple[int, int]:
    """On how many prompts all answers of the two models are equal, and how many were answered by both with any word."""
    base, tuned = by_id(base_answers), by_id(tuned_answers)
    pairs = [(answer_texts(base[key]), answer_texts(tuned[key])) for key in base if key in tuned]
    told = [(left, right) for left, right in pairs if any(text.strip() for text in (*left, *right))]
    return sum(left == right for left, right in told), len(told)
