"""The verdict, by a rule that was fixed before any run. It fails closed: whatever is missing, it is "not shown"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.text import BLOCK_ID, MINIMUM_DOCUMENTS
from report.findings.statistics import finite
from report.formatting import SIGNIFICANCE, change_text, format_p, interval_text, number, plural, share

IMPROVED: Final = "improved"
NOT_SHOWN: Final = "not shown"
WORSE: Final = "worse"
WORSE_OUTSIDE: Final = "worse outside"
NONE_BETTER: Final = "none better"
VOCABULARY: Final = "vocabulary only"
VERDICTS = (IMPROVED, VOCABULARY, NOT_SHOWN, WORSE, WORSE_OUTSIDE, NONE_BETTER)
NATS, POINTS = "nats per token", "percentage points"
EXTERNAL = "the external test set"
MINIMUM_PROMPTS = 20  # fewer prompts are anecdotes: one fact more or less moves recall by several points

# The one place of the rule; verification/experiments/DECLARATION.md repeats it word for word.
RULE = (
    "Preregistered. The verdict compares losses, tuned minus base, in nats per token. A change counts if its whole 95% bootstrap interval, clustered "
    "by document, is on one side of zero and the two-sided p of its test is below 0.05. Improved needs all of these. The loss fell on held-out "
    "documents of the same corpus (sign-flip test). It fell further there than on the retention set, which covers unrelated subjects (shuffle test on "
    "held-out minus retention). If an external test set was given, which is text of the same field by other authors, the loss fell on it too "
    "(sign-flip test). On the external test set, or without one on the held-out documents, the loss fell further than on the same documents with their "
    "words in random order; both are percentages of the base model's loss (sign-flip test on the difference of each document). Vocabulary only: all of "
    "these hold except the last. None better, whatever the rest shows: at no adapter scale did the loss clearly fall on the part of the external test "
    "set that chooses the scale, so the adapter is not used. Worse outside, whatever the rest shows: the loss rose on the external test set, or on one "
    "kind of its documents. Worse: it did not rise there, but it rose on held-out documents. Everything else is not shown: smoke runs, missing figures, a missing retention set, a "
    "missing word-order control, an external test set that was given but not measured, and fewer than "
    f"{MINIMUM_DOCUMENTS} documents in any of the sets used. Without an external test set, the verdict makes no claim about text by other authors. "
    "If it rests only on records, word order is not tested."
)
KNOWLEDGE_RULE = (
    "Preregistered as the secondary metric, knowledge, which never changes the verdict. Each item has one correct option and several distractors. The "
    "model's choice is the option with the highest gain from its prompt: its mean log-probability per token after its own prompt, minus its mean after "
    "the prompts of other items. Improved: the 95% interval of the change in multiple-choice accuracy, clustered by set of items, is above zero and the "
    "sign-flip p is below 0.05. Free answers are shown too, and are not judged."
)


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, with the sentences that give its reason: the first of them alone must not mislead."""

    verdict: str
    reason: str
    headline: str = ""  # why a verdict is not shown, as short as a headline


@dataclass(frozen=True)
class Kind:
    """What the held-out part of a corpus is made of, and what counts once in an interval."""

    things: str
    cluster: str

    @property
    def held_out(self) -> str:
        """What the verdict is about, so named that it cannot be taken for the field."""
        return f"held-out {self.things} of the same corpus"


TEXT, PASSAGES, RECORDS = Kind("documents", "document"), Kind("passages", "passage"), Kind("records", "record group")


def kind_of(heldout: Mapping[str, Any] | None, records: bool) -> Kind:
    """What the held-out part is made of: passages where a long document was cut."""
    cut = any(str(row.get("id")).startswith(BLOCK_ID) for row in (heldout or {}).get("documents") or [])
    return RECORDS if records else PASSAGES if cut else TEXT


SMOKE = Verdict(NOT_SHOWN, "A smoke run tests that every step works. Its figures show nothing about the model.")


def judge_loss(
    heldout: Mapping[str, Any] | None,
    beyond: Mapping[str, Any] | None,
    outside: Mapping[str, Any] | None = None,
    kind: Kind = TEXT,
    scale: Mapping[str, Any] | None = None,
    word_order: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict by `RULE`; what the parameters are, `_judge_changes` says.

    `word_order` is of `report.findings.word_order.compare_word_order`, and without documents where it was not measured; None where it is not
    asked about: of records, and of a run of an earlier version.
    """
    judged = _judge_changes(heldout, beyond, outside, kind, scale)
    if judged.verdict != IMPROVED:
        return judged
    return _judge_word_order(judged, word_order, kind.held_out if outside is None else EXTERNAL)


def _judge_word_order(judged: Verdict, word_order: Mapping[str, Any] | None, text: str) -> Verdict:
    """Whether a gain is more than vocabulary."""
    if word_order is None:
        return Verdict(IMPROVED, f"{judged.reason} How much of that is only vocabulary was not measured.")
    change, lost = complete(word_order), word_order.get("unusable_documents")
    if change is None or lost or word_order["documents_count"] < MINIMUM_DOCUMENTS:
        what = f"on {plural(lost, 'document')} of it" if lost else "on enough of it"
        return Verdict(
            NOT_SHOWN,
            f"No improvement is shown, because the gain on {text} could be only vocabulary: no usable loss was measured {what} with the words in "
            f"random order. {judged.reason}",
            "Nothing can be shown: no loss on shuffled words",
        )
    figures = word_order_figures(word_order, text)
    if side_of_zero(change, word_order["p_value"]) < 0:
        return Verdict(IMPROVED, f"{judged.reason} That is more than vocabulary: {figures}")
    return Verdict(
        VOCABULARY,
        f"The loss did not clearly fall further than on shuffled words: {figures} {judged.reason} A gain that does not depend on word order is a "
        "gain in vocabulary.",
    )


def word_order_figures(word_order: Mapping[str, Any], text: str) -> str:
    """The two changes on a text, as percentages of the base model's loss, and their difference."""
    written, shuffled = (share(word_order[name]) for name in ("written", "shuffled"))
    points = {key: None if value is None else 100 * value for key, value in word_order["difference"].items()}
    tests = f"sign-flip {format_p(word_order['p_value'])}, {plural(word_order['documents_count'], 'document')}"
    return (
        f"relative to the base model's loss, it changed by {written} on {text} as written, and by {shuffled} with the words in random order; the "
        f"difference is {interval_text(points, POINTS)}; {tests}."
    )


def _judge_changes(
    heldout: Mapping[str, Any] | None,
    beyond: Mapping[str, Any] | None,
    outside: Mapping[str, Any] | None,
    kind: Kind,
    scale: Mapping[str, Any] | None,
) -> Verdict:
    """The verdict from the changes of the losses, before the word-order control.

    `scale` is the block of metrics.json on the adapter scale; None in runs of earlier versions. `heldout` and `outside` are of
    `report.findings.statistics.compare_losses`, `beyond` of `compare_gains` of the same module. `outside` is None only if no external test
    set was given; one that was given but not measured is a block without documents.
    """
    if scale and scale.get("scale") == 0:
        return _none_better(scale)
    inside = judge_inside(heldout, beyond, kind)
    if outside is None:
        return inside
    without, short = _unmeasured(outside)
    if without:
        if inside.verdict == WORSE:
            return Verdict(WORSE, f"{inside.reason} {without}")
        reason = f"{without} {inside.reason}" if inside.verdict == IMPROVED else f"{inside.reason} {without}"
        return Verdict(NOT_SHOWN, reason, inside.headline or f"Nothing can be shown: {short}")
    change = complete(outside)
    assert change is not None, "what is measured has an interval"
    tests = f"sign-flip {format_p(outside['p_value'])}, {plural(outside['documents_count'], 'document')}"
    side = side_of_zero(change, outside["p_value"])
    size = f"by {change_text(change, NATS)}; {tests}."
    if side > 0:
        rose = f"On {EXTERNAL}, the loss of the fine-tuned model rose {size}"
        return Verdict(WORSE_OUTSIDE, f"{rose} That decides the verdict; {_beside(heldout, kind)}")
    if harmed := kinds_that_rose(outside):
        rose = f"On {EXTERNAL}, {words_of_rise(harmed)}."
        return Verdict(WORSE_OUTSIDE, f"{rose} That decides the verdict; {_beside(heldout, kind)}")
    if side < 0:
        fell = f"On {EXTERNAL}, the loss fell {size}"
        return Verdict(inside.verdict, f"{inside.reason} {fell}", inside.headline)
    figures = f"the change is {interval_text(change, NATS)}; {tests}"
    if inside.verdict == IMPROVED:
        return Verdict(
            NOT_SHOWN,
            f"The loss of the fine-tuned model did not clearly fall on {EXTERNAL}: {figures}. {inside.reason} A gain only on the corpus's own "
            "text can be a gain in its style, so no improvement is shown.",
            f"No improvement shown on {EXTERNAL}",
        )
    return Verdict(inside.verdict, f"{inside.reason} On {EXTERNAL}, {figures}.", inside.headline)


def kinds_that_rose(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The kinds of text in a set (`report.analysis.losses_by_kind`) whose loss rose, by what counts as a change."""
    return [row for row in block.get("by_kind") or [] if _rose(row)]


def words_of_rise(kinds: Sequence[Mapping[str, Any]]) -> str:
    """How far the loss rose on each of these kinds."""
    return ", ".join(f"the loss on {one['kind']} rose by {change_text(one['difference'], NATS)}" for one in kinds)


def decided_outside(outside: Mapping[str, Any]) -> Mapping[str, Any]:
    """What decides a verdict `WORSE_OUTSIDE`: the whole external test set if its loss rose, or else the first of its kinds whose loss did."""
    return outside if _rose(outside) else kinds_that_rose(outside)[0]


def _rose(block: Mapping[str, Any]) -> bool:
    change = complete(block)
    return change is not None and side_of_zero(change, block["p_value"]) > 0


def _none_better(scale: Mapping[str, Any]) -> Verdict:
    tried = [one for one in scale.get("curve") or [] if one["scale"]]
    best = min(tried, key=lambda one: one["loss"])
    return Verdict(
        NONE_BETTER,
        f"On the {plural(len(scale.get('documents') or []), 'external document')} that choose the adapter scale, the loss clearly fell at none of "
        f"{len(tried)} scales: the best, {best['scale']:g}, changed it by {number(best['difference'], 3, signed=True)} \u00b1\u00a0"
        f"{number(best['standard_error'], 3)} {NATS}. So the adapter is not used, and both models are the base model.",
    )


def _unmeasured(outside: Mapping[str, Any]) -> tuple[str, str]:
    """Why an external test set cannot be judged, in a sentence and in a headline's words; empty if it can."""
    count = outside.get("documents_count") or 0
    short = f"{EXTERNAL} was not measured"
    if outside.get("unusable_documents"):
        what = f"no usable loss was measured on {plural(outside['unusable_documents'], 'document')} of it"
        short = f"{EXTERNAL} was only partly measured"
    elif not count:
        what = "it was not measured"
    elif count < MINIMUM_DOCUMENTS:
        what = f"it has only {plural(count, 'document')}, too few for p below 0.05"
        short = f"only {plural(count, 'external document')}"
    elif complete(outside) is None:
        what = "its change or interval is not a number"
    else:
        return "", ""
    return f"An external test set was given, but {what}, so no improvement is shown.", short


def _beside(heldout: Mapping[str, Any] | None, kind: Kind) -> str:
    """The held-out change in half a sentence, next to the external one that decides."""
    change = complete(heldout, tested=False)
    if change is None:
        return f"on {kind.held_out}, no change with an interval was measured."
    return f"on {kind.held_out} the loss changed by {interval_text(change, NATS)}."


def judge_inside(block: Mapping[str, Any] | None, beyond: Mapping[str, Any] | None, kind: Kind = TEXT) -> Verdict:
    """The verdict from held-out documents and retention set: `IMPROVED`, `NOT_SHOWN` or `WORSE`."""
    if not block or not (block.get("documents_count") or block.get("unusable_documents")):
        return _nothing("No held-out loss was measured, so nothing can be shown.", "no held-out loss was measured")
    if block.get("unusable_documents"):
        count = plural(block["unusable_documents"], f"held-out {kind.cluster}")
        return _nothing(
            f"No usable loss was measured on {count}, so nothing can be shown.", f"no usable loss on {count}"
        )
    if block["documents_count"] < MINIMUM_DOCUMENTS:
        count = f"only {plural(block['documents_count'], f'held-out {kind.cluster}')}"
        return _nothing(
            f"The loss was measured on {count}. Fewer than {MINIMUM_DOCUMENTS} cannot reach p below 0.05.",
            count,
        )
    change = complete(block)
    if change is None:
        why = "The held-out loss difference or its interval is not a number."
        return _nothing(why, "the held-out losses are not numbers")
    side = side_of_zero(change, block["p_value"])
    tests = f"sign-flip {format_p(block['p_value'])}, {plural(block['documents_count'], kind.cluster)}"
    size = f"{change_text(change, NATS)}; {tests}"
    if side > 0:
        return Verdict(WORSE, f"On {kind.held_out}, the loss of the fine-tuned model rose by {size}.")
    if side < 0:
        return _judge_beyond(beyond, size, kind)
    return Verdict(
        NOT_SHOWN,
        f"On {kind.held_out}, the loss of the fine-tuned model changed by {interval_text(change, NATS)}, which can be chance; {tests}. "
        "So no improvement is shown.",
        f"No improvement shown on {kind.held_out}",
    )


def _nothing(reason: str, short: str) -> Verdict:
    """Too little was measured to judge the model."""
    return Verdict(NOT_SHOWN, reason, f"Nothing can be shown: {short}")


def _judge_beyond(beyond: Mapping[str, Any] | None, size: str, kind: Kind) -> Verdict:
    """Whether a gain of this size on held-out text is specific to the corpus."""
    fell = f"The loss of the fine-tuned model fell on {kind.held_out}, but"
    if not beyond or beyond["control_documents"] < MINIMUM_DOCUMENTS:
        return _nothing(
            f"{fell} the retention set has fewer than {MINIMUM_DOCUMENTS} measured documents. Without them this could be a gain on any text, so no "
            f"improvement is shown. The loss fell by {size}.",
            "the retention set is too small",
        )
    change, lost = complete(beyond), beyond.get("unusable_documents")
    if lost or change is None:
        count = plural(lost or 0, "document")
        why = f"No usable loss was measured on {count} of the two sets" if lost else "The difference is not a number"
        return _nothing(
            f"{fell} it cannot be compared with the retention set, so no improvement is shown. {why}. The loss fell by {size}.",
            "no comparison with the retention set",
        )
    figures = f"{interval_text(change, NATS)}; shuffle {format_p(beyond['p_value'])}"
    if side_of_zero(change, beyond["p_value"]) < 0:
        return Verdict(
            IMPROVED,
            f"On {kind.held_out}, the loss of the fine-tuned model fell by {size}. "
            f"On the retention set, which covers unrelated subjects, it fell less or not at all: the difference is {figures}.",
        )
    return Verdict(
        NOT_SHOWN,
        f"{fell} not clearly further than on the retention set, which covers unrelated subjects, so no improvement is shown. The loss fell by "
        f"{size}; the difference from the retention set is {figures}. A gain on any text is no evidence of learning from this corpus.",
        "No improvement shown: no clear gain beyond the retention set",
    )


def judge_knowledge(block: Mapping[str, Any] | None) -> Verdict:
    """The secondary metric, knowledge, by controlled choices (a block of `report.findings.choices.compare_choices`)."""
    if not block:
        return Verdict(NOT_SHOWN, "No prompt of this run has options to choose from, so knowledge is not judged.")
    measure, missing = block.get("controlled"), block.get("missing")
    if missing or not measure:
        count = plural(missing or 0, "item")
        return Verdict(NOT_SHOWN, f"{count} without the scores of both models, so knowledge is not judged.")
    items, clusters = measure["prompts"], measure.get("clusters", measure["prompts"])
    if clusters < MINIMUM_PROMPTS:
        return Verdict(
            NOT_SHOWN,
            f"Only {plural(items, 'multiple-choice item')} in {plural(clusters, 'cluster')}; at least {MINIMUM_PROMPTS} clusters are needed.",
        )
    change = complete(measure)
    if change is None:
        return Verdict(NOT_SHOWN, "The change in multiple-choice accuracy or its interval is not a number.")
    side = side_of_zero(change, measure["p_value"])
    points = {key: 100 * value for key, value in change.items()}
    tests = f"sign-flip {format_p(measure['p_value'])}, {items} items in {clusters} clusters"
    if not side:
        figures = interval_text(points, POINTS)
        return Verdict(NOT_SHOWN, f"Multiple-choice accuracy changed by {figures}; {tests}. That can be chance.")
    verdict, direction = (IMPROVED, "rose") if side > 0 else (WORSE, "fell")
    return Verdict(verdict, f"Multiple-choice accuracy {direction} by {change_text(points, POINTS)}; {tests}.")


def side_of_zero(change: Mapping[str, float], p_value: float) -> int:
    """-1 or 1 if the whole interval is below or above zero and the test's p is below 0.05, else 0: both must hold."""
    if not p_value < SIGNIFICANCE:
        return 0
    return -1 if change["high"] < 0 else 1 if change["low"] > 0 else 0


def complete(block: Mapping[str, Any] | None, *, tested: bool = True) -> dict[str, float] | None:
    """A difference with error and interval, if all are finite numbers in order; so must p be where it is `tested`."""
    change = (block or {}).get("difference") or {}
    keys = ("estimate", "standard_error", "low", "high")
    if not all(finite(change.get(key)) for key in keys) or tested and not finite((block or {}).get("p_value")):
        return None
    values = {key: float(change[key]) for key in keys}
    return values if values["low"] <= values["high"] else None
