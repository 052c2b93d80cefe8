"""The verdict, by a rule that was fixed before any run. It fails closed: whatever is missing, it is "not shown"."""

from collections.abc import Mapping
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
MINIMUM_PROMPTS = 20  # fewer prompts are anecdotes: one fact more or less moves recall by several points

# The one place of the rule; verification/experiments/DECLARATION.md repeats it word for word.
RULE = (
    "Declared in advance. The verdict is about losses, tuned minus base, in nats per token. A change counts where the whole 95 % "
    "bootstrap interval, clustered by document, lies on one side of zero and the two-sided p of its test is below 0.05. "
    "Improved needs all of these: the loss fell on held-out documents of the same corpus (sign-flip test); it fell further "
    "there than on control text about unrelated subjects (shuffle test on held-out minus control); and, where outside text "
    "was given, which is text of the same field by others, it fell on that too (sign-flip test); and it fell further on the outside text, or on "
    "the held-out documents where none was given, than on the same documents with their words in a random order, each in per cent of the base "
    "model's loss (sign-flip test on the difference of each document). Vocabulary only: all but the last of these holds. None better, whatever the rest says: at no "
    "adapter scale had the loss clearly fallen on the part of the outside text that chooses the scale, so nothing of it is kept. Worse outside, whatever "
    "the rest says: the loss rose on outside text. Worse: it did not rise there, but it rose on held-out documents. Everything else is not shown, "
    "smoke runs, missing figures, missing control text, a missing control of word order, outside text that was given but not measured, and fewer than "
    f"{MINIMUM_DOCUMENTS} documents of any of the texts included. Without outside text the verdict says nothing about text by others, and where it rests on records alone their order of words is not asked about."
)
KNOWLEDGE_RULE = (
    "Declared in advance as a second line that never changes the verdict. A prompt has one right end and near misses. The end is chosen to which the "
    "prompt adds most: the end's log-probability a token after its own prompt, less the mean of that after other items' prompts. "
    "Improved: of the change of the share chosen rightly, the 95 % interval, clustered by set of items, lies above zero and the sign-flip p is below 0.05. "
    "What the models say freely is shown beside it and judges nothing."
)


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, with the sentences that give its reason: the first of them alone must not mislead."""

    verdict: str
    reason: str
    headline: str = ""  # of a verdict that is not shown: why, as short as a headline


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


SMOKE = Verdict(NOT_SHOWN, "A smoke run shows that every step works and nothing about the model, whatever it measured.")


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
    return _judge_word_order(judged, word_order, kind.held_out if outside is None else "outside text")


def _judge_word_order(judged: Verdict, word_order: Mapping[str, Any] | None, text: str) -> Verdict:
    """Whether a gain is more than vocabulary."""
    if word_order is None:
        return Verdict(IMPROVED, f"{judged.reason} How much of that is vocabulary alone was not measured.")
    change, lost = complete(word_order), word_order.get("unusable_documents")
    if change is None or lost or word_order["documents_count"] < MINIMUM_DOCUMENTS:
        what = f"on {plural(lost, 'document')} of it" if lost else "on enough of it"
        return Verdict(
            NOT_SHOWN,
            f"Whether the gain on {text} is more than vocabulary cannot be told, so no improvement is shown: no usable loss was measured {what} with "
            f"the words in a random order. {judged.reason}",
            "Nothing can be shown: no loss on shuffled words",
        )
    figures = word_order_figures(word_order, text)
    if side_of_zero(change, word_order["p_value"]) < 0:
        return Verdict(IMPROVED, f"{judged.reason} That is more than vocabulary: {figures}")
    return Verdict(
        VOCABULARY,
        f"The loss did not clearly fall further than on shuffled words: {figures} {judged.reason} A gain to which the order of the words adds nothing "
        "is a gain in vocabulary.",
    )


def word_order_figures(word_order: Mapping[str, Any], text: str) -> str:
    """The two changes on a text, in per cent of the base model's loss, and how far they lie apart."""
    written, shuffled = (share(word_order[name]) for name in ("written", "shuffled"))
    points = {key: None if value is None else 100 * value for key, value in word_order["difference"].items()}
    tests = f"sign-flip {format_p(word_order['p_value'])}, {plural(word_order['documents_count'], 'document')}"
    return (
        f"in per cent of the base model's loss, it changed by {written} on {text} as written, and by {shuffled} on the same with its words in a "
        f"random order; the difference is {interval_text(points, POINTS)}; {tests}."
    )


def _judge_changes(
    heldout: Mapping[str, Any] | None,
    beyond: Mapping[str, Any] | None,
    outside: Mapping[str, Any] | None,
    kind: Kind,
    scale: Mapping[str, Any] | None,
) -> Verdict:
    """What the changes of the losses allow, whatever the order of words adds to them.

    `scale` is how the adapter scale came about, as metrics.json holds it; None where an earlier version told nothing of it. `heldout` and `outside` are of `report.findings.statistics.compare_losses`, `beyond` of `compare_gains` of the same module. `outside` is
    None only where no outside text was given; text that was given and not measured is a block without documents.
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
        rose = f"On outside text, which others wrote, the loss of the tuned model rose {size}"
        return Verdict(WORSE_OUTSIDE, f"{rose} That decides, whatever else was found: {_beside(heldout, kind)}")
    if side < 0:
        fell = f"On outside text, which others wrote, the loss fell {size}"
        return Verdict(inside.verdict, f"{inside.reason} {fell}", inside.headline)
    figures = f"the change is {interval_text(change, NATS)}; {tests}"
    if inside.verdict == IMPROVED:
        return Verdict(
            NOT_SHOWN,
            f"The loss of the tuned model did not clearly fall on outside text, which others wrote: {figures}. {inside.reason} A gain "
            "on the corpus's own text alone can be a gain in its manner of writing, so no improvement is shown.",
            "No improvement shown on text by others",
        )
    return Verdict(inside.verdict, f"{inside.reason} On outside text, which others wrote, {figures}.", inside.headline)


def _none_better(scale: Mapping[str, Any]) -> Verdict:
    tried = [one for one in scale.get("curve") or [] if one["scale"]]
    best = min(tried, key=lambda one: one["loss"])
    return Verdict(
        NONE_BETTER,
        f"On the {plural(len(scale.get('documents') or []), 'document')} by others that choose the adapter scale, the loss clearly fell at none of "
        f"{len(tried)} scales: the best, {best['scale']:g}, changed it by {number(best['difference'], 3, signed=True)} \u00b1\u00a0"
        f"{number(best['standard_error'], 3)} {NATS}. Nothing of the adapter is kept, so both models are the base model.",
    )


def _unmeasured(outside: Mapping[str, Any]) -> tuple[str, str]:
    """Why outside text that was given cannot be judged, in a sentence and in a headline's words; empty where it can."""
    count = outside.get("documents_count") or 0
    short = "text by others was given but not measured"
    if outside.get("unusable_documents"):
        what = f"no usable loss was measured on {plural(outside['unusable_documents'], 'document')} of it"
        short = "text by others was not wholly measured"
    elif not count:
        what = "it was not measured"
    elif count < MINIMUM_DOCUMENTS:
        what = f"with only {plural(count, 'document')} of it, nothing can reach p below 0.05"
        short = f"only {plural(count, 'document')} by others"
    elif complete(outside) is None:
        what = "its change or interval is not a number"
    else:
        return "", ""
    return f"Outside text was given, but {what}, so no improvement is shown.", short


def _beside(heldout: Mapping[str, Any] | None, kind: Kind) -> str:
    """The held-out change in half a sentence, beside an outside one that has decided."""
    change = complete(heldout, tested=False)
    if change is None:
        return f"on {kind.held_out}, no change with an interval was measured."
    return f"on {kind.held_out} the loss changed by {interval_text(change, NATS)}."


def judge_inside(block: Mapping[str, Any] | None, beyond: Mapping[str, Any] | None, kind: Kind = TEXT) -> Verdict:
    """What held-out and control text alone allow: `IMPROVED`, `NOT_SHOWN` or `WORSE`, on documents of the same corpus."""
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
            f"The loss was measured on {count}. Fewer than {MINIMUM_DOCUMENTS} cannot reach p below 0.05, whatever they say.",
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
        return Verdict(WORSE, f"On {kind.held_out}, the loss of the tuned model rose by {size}.")
    if side < 0:
        return _judge_beyond(beyond, size, kind)
    return Verdict(
        NOT_SHOWN,
        f"On {kind.held_out}, the loss of the tuned model changed by {interval_text(change, NATS)}, which can be chance; {tests}. "
        "So no improvement is shown.",
        f"No improvement shown on {kind.held_out}",
    )


def _nothing(reason: str, short: str) -> Verdict:
    """Too little came back to judge by, which is no finding about the model."""
    return Verdict(NOT_SHOWN, reason, f"Nothing can be shown: {short}")


def _judge_beyond(beyond: Mapping[str, Any] | None, size: str, kind: Kind) -> Verdict:
    """Whether a gain, of this size on held-out text, is the corpus's own."""
    fell = f"The loss of the tuned model fell on {kind.held_out}, but"
    if not beyond or beyond["control_documents"] < MINIMUM_DOCUMENTS:
        return _nothing(
            f"{fell} without the losses of {MINIMUM_DOCUMENTS} control documents that cannot be told from a gain on any text, "
            f"so no improvement is shown. It fell by {size}.",
            "too little control text to compare with",
        )
    change, lost = complete(beyond), beyond.get("unusable_documents")
    if lost or change is None:
        count = plural(lost or 0, "document")
        why = f"No usable loss was measured on {count} of the two texts" if lost else "The difference is not a number"
        return _nothing(
            f"{fell} it cannot be compared with the control text, so no improvement is shown. {why}. It fell by {size}.",
            "the control text could not be compared with",
        )
    figures = f"{interval_text(change, NATS)}; shuffle {format_p(beyond['p_value'])}"
    if side_of_zero(change, beyond["p_value"]) < 0:
        return Verdict(
            IMPROVED,
            f"On {kind.held_out}, the loss of the tuned model fell by {size}. "
            f"On control text about unrelated subjects it fell less, or not at all: the difference is {figures}.",
        )
    return Verdict(
        NOT_SHOWN,
        f"{fell} not clearly further than on control text about unrelated subjects, so no improvement is shown. It fell by "
        f"{size}; the difference to control text is {figures}. A model that gets better at any text has not shown that it learned from this corpus.",
        "No improvement shown: not clearly more than on unrelated text",
    )


def judge_knowledge(block: Mapping[str, Any] | None) -> Verdict:
    """The second line, on controlled choices (a block of `report.findings.choices.compare_choices`)."""
    if not block:
        return Verdict(NOT_SHOWN, "No prompt of this run has choices, so what the model knows is not judged.")
    measure, missing = block.get("controlled"), block.get("missing")
    if missing or not measure:
        count = plural(missing or 0, "item")
        return Verdict(NOT_SHOWN, f"{count} without the scores of both models, so what the model knows is not judged.")
    items, clusters = measure["prompts"], measure.get("clusters", measure["prompts"])
    if clusters < MINIMUM_PROMPTS:
        return Verdict(
            NOT_SHOWN,
            f"Only {plural(items, 'item')} to choose in {plural(clusters, 'cluster')}; at least {MINIMUM_PROMPTS} clusters needed.",
        )
    change = complete(measure)
    if change is None:
        return Verdict(NOT_SHOWN, "The change of the share chosen rightly or its interval is not a number.")
    side = side_of_zero(change, measure["p_value"])
    points = {key: 100 * value for key, value in change.items()}
    tests = f"sign-flip {format_p(measure['p_value'])}, {items} items in {clusters} clusters"
    if not side:
        figures = interval_text(points, POINTS)
        return Verdict(NOT_SHOWN, f"The share chosen rightly changed by {figures}; {tests}. That can be chance.")
    verdict, direction = (IMPROVED, "rose") if side > 0 else (WORSE, "fell")
    return Verdict(verdict, f"The share chosen rightly {direction} by {change_text(points, POINTS)}; {tests}.")


def side_of_zero(change: Mapping[str, float], p_value: float) -> int:
    """-1 or 1 where the interval lies wholly below or above zero and the test's p is below 0.05, else 0: both must hold."""
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
