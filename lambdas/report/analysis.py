"""All figures of a run, from the metrics of training and the endpoint's answers, which have to be of one model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import AdapterNotServed
from common.text import MINIMUM_DOCUMENTS
from report.content.meaning import SMOKE_TITLE, does_not_say, plain_meaning, title
from report.findings.choices import compare_choices
from report.findings.intervals import RESAMPLES
from report.findings.memorisation import answer_texts, compare_copies
from report.findings.recall import by_id, compare_recall
from report.findings.statistics import compare_gains, compare_losses, usable_documents
from report.findings.verdict import KNOWLEDGE_RULE, RULE, SMOKE, judge_knowledge, judge_loss, kind_of
from report.findings.word_order import compare_word_order
from report.formatting import number, plural

Rows = Sequence[Mapping[str, Any]]
# An external test set without a usable loss: it must not pass for none given.
NOT_MEASURED: Mapping[str, Any] = {"documents_count": 0, "unusable_documents": 0}
# The figures of one kind of text in the retention set: documents and other measures belong to the whole set.
OF_A_KIND = (
    "documents_count", "unusable_documents", "tokens", "base_loss", "base_loss_standard_error", "tuned_loss",
    "tuned_loss_standard_error", "difference", "p_value", "p_method",
)  # fmt: skip
# A small change of the weights seldom turns a greedy choice. One adapter of SmolLM2-135M at 0.03, 0.1, 0.3, 1 and 3 times its
# scale, 16 prompts, 32 tokens each: with the held-out losses 0.0003, 0.0009, 0.0027, 0.008 and 0.026 nats per token apart,
# 0, 1, 4, 8 and 15 of the 16 greedy answers differed. So the share that differs is about 60 times the distance.
DIFFERING_PER_NAT = 60
# That none differs where so many should is no chance, even for a model whose answers turn three times less often (e^-6).
ENOUGH_DIFFERING = 18
ENOUGH_PROMPTS = 8  # a few may all be questions to which both models know the answer by heart


def analyse(
    metrics: Mapping[str, Any] | None,
    prompts: Rows,
    base_answers: Rows,
    tuned_answers: Rows,
    *,
    corpus: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
    smoke: bool = False,
    outside_given: bool = False,
    records: bool = False,
    domain: str | None = None,
) -> dict[str, Any]:
    """The findings of a run: verdict, secondary metric, and every figure with its standard error and interval.

    `corpus` is the training text, for copied runs. `outside_given`: an external test set that the metrics lack counts as not measured.
    Missing or unusable data raises nothing: the section is None and the verdict "not shown", as that of every smoke run.
    """
    evaluation, scale = ((metrics or {}).get(part) or {} for part in ("evaluation", "scale"))
    seeded: dict[str, Any] = {"seed": seed, "resamples": resamples}
    heldout, outside, control, training_text = (
        compare_losses(evaluation.get(text), **seeded) for text in ("heldout", "outside", "control", "training_text")
    )
    beyond = compare_gains(evaluation.get("heldout"), evaluation.get("control"), **seeded)
    for block, text in ((control, "control"), (outside, "outside")):
        if block and (kinds := losses_by_kind(evaluation[text], evaluation.get(f"{text}_shuffled"), **seeded)):
            block["by_kind"] = kinds
    if outside is None and (outside_given or "outside" in evaluation):
        outside = dict(NOT_MEASURED)
    word_order = word_order_block(evaluation, given=outside is not None, records=records, **seeded)
    recall = compare_recall(prompts, base_answers, tuned_answers, **seeded)
    choices = compare_choices((metrics or {}).get("choices"), **seeded)
    copies = compare_copies(base_answers, tuned_answers, corpus, **seeded)
    return {
        "schema": 1,
        **judged(
            heldout,
            beyond,
            choices,
            outside,
            smoke=smoke,
            records=records,
            scale=scale,
            word_order=word_order,
            domain=domain,
        ),
        "resamples": resamples,
        "analysis_seed": seed,
        "heldout": heldout,
        "outside": outside,
        "word_order": word_order,
        "scale": scale or None,
        "beyond_control": beyond,
        "control": control,
        "choices": choices,
        "recall": recall,
        "memorisation": {"training_text": training_text, "copies": copies},
    }


def word_order_block(
    evaluation: Mapping[str, Any], *, given: bool, records: bool, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """The control of word order on the text that decides it, `of` which it is, with the losses on the shuffled words; None where it is not asked for.

    `given`: there is an external test set. Words of records are not shuffled.
    """
    if records and not given:
        return None
    name = "outside" if given else "heldout"
    seeded: dict[str, Any] = {"seed": seed, "resamples": resamples}
    shuffled = evaluation.get(f"{name}_shuffled")
    compared = compare_word_order(evaluation.get(name), shuffled, **seeded) or dict(NOT_MEASURED)
    losses = compare_losses(shuffled, **seeded) or {}
    return {**compared, "of": name, "losses": {key: losses[key] for key in OF_A_KIND if key in losses}}


def losses_by_kind(
    measured: Mapping[str, Any], shuffled: Mapping[str, Any] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[dict[str, Any]]:
    """The losses of each kind of text in a set, in its order, the interval left out below six usable documents.

    Every title names its document's kind before a colon (`Dialogue: At the shop`). Where one does not, where all are of
    one kind, or where no two are, the text is not of kinds, and the list is empty. `shuffled`: the same documents with their
    words in random order; then each kind has its word-order control too.
    """
    kinds: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    documents = measured.get("documents") or []
    for document in documents:
        kind, colon, _ = str(document.get("title") or "").partition(":")
        kinds[kind.strip() if colon else ""].append(document)
    if "" in kinds or not 1 < len(kinds) < len(documents):
        return []
    rows = []
    for kind, part in kinds.items():
        block = compare_losses({"documents": part}, seed=seed, resamples=resamples) or {}
        row = {"kind": kind, **{key: block[key] for key in OF_A_KIND if key in block}}
        if 0 < row["documents_count"] < MINIMUM_DOCUMENTS:
            row["difference"] = {**row["difference"], "low": None, "high": None}
        ids = {document["id"] for document in part}
        again = [document for document in (shuffled or {}).get("documents") or [] if document["id"] in ids]
        if again:
            row["word_order"] = compare_word_order(
                {"documents": part}, {"documents": again}, seed=seed, resamples=resamples
            )
        rows.append(row)
    return rows


def judged(
    heldout: Mapping[str, Any] | None,
    beyond: Mapping[str, Any] | None,
    choices: Mapping[str, Any] | None,
    outside: Mapping[str, Any] | None = None,
    *,
    smoke: bool = False,
    records: bool = False,
    scale: Mapping[str, Any] | None = None,
    word_order: Mapping[str, Any] | None = None,
    domain: str | None = None,
) -> dict[str, Any]:
    """Both verdicts on the figures of a run, with their reasons, the rules, and what they say and do not say."""
    kind = kind_of(heldout, records)
    judged_loss = judge_loss(heldout, beyond, outside, kind, scale, word_order)
    verdict, knowledge = (SMOKE, SMOKE) if smoke else (judged_loss, judge_knowledge(choices))
    return {
        "verdict": verdict.verdict,
        "verdict_reason": verdict.reason,
        "headline": SMOKE_TITLE if smoke else title(verdict, outside, kind),
        "knowledge_verdict": knowledge.verdict,
        "knowledge_reason": knowledge.reason,
        "rule": RULE,
        "knowledge_rule": KNOWLEDGE_RULE,
        "says": plain_meaning(verdict.verdict, heldout, outside, kind),
        "does_not_say": does_not_say(outside, kind, domain),
    }


def refuse_base_answers(metrics: Mapping[str, Any], base_answers: Rows, tuned_answers: Rows) -> None:
    """Raises AdapterNotServed when every answer of the fine-tuned model is the base model's, though the held-out loss moved.

    That Ask was answered in the adapter's name does not show that the adapter was applied. A model that learned nothing
    answers as before and passes, and so does a run with too few prompts.
    """
    moved = loss_moved(metrics)
    base, tuned = by_id(base_answers), by_id(tuned_answers)
    pairs = [(answer_texts(base[key]), answer_texts(tuned[key])) for key in base if key in tuned]
    answered = [(left, right) for left, right in pairs if any(text.strip() for text in (*left, *right))]
    if any(left != right for left, right in answered) or len(answered) < ENOUGH_PROMPTS:
        return
    if DIFFERING_PER_NAT * moved * len(answered) < ENOUGH_DIFFERING:
        return
    raise AdapterNotServed(
        f"The fine-tuned model answered all {plural(len(answered), 'prompt')} word for word as the base model did, although their losses "
        f"on the held-out documents differ by {number(moved, 3)} nats per token: the endpoint did not apply the adapter. Its log is in "
        "CloudWatch, below /aws/sagemaker/Endpoints. Leave hosting_image empty, or set it to another server-sagemaker-cuda image of "
        "AWS, deploy, and start again."
    )


def loss_moved(metrics: Mapping[str, Any]) -> float:
    """How far the two models' losses lie apart on the held-out documents, up or down, in nats per token; 0 where unknown."""
    usable, _ = usable_documents((metrics.get("evaluation") or {}).get("heldout"))
    tokens = sum(float(document["tokens"]) for document in usable)
    apart = sum(abs(float(document["tuned_nll"]) - float(document["base_nll"])) for document in usable)
    return apart / tokens if tokens else 0.0
