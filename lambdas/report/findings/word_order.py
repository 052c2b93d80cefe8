"""Whether a gain is more than vocabulary: the loss on documents as written against that on the same documents with their words in a random order."""

from collections.abc import Mapping
from typing import Any

from report.findings.intervals import RESAMPLES, interval
from report.findings.statistics import FLIPS, changes, column, sign_flip, usable_documents


def compare_word_order(
    written: Mapping[str, Any] | None,
    shuffled: Mapping[str, Any] | None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
) -> dict[str, Any] | None:
    """How much further the loss fell on documents as written than on the same with their words in a random order; None without either.

    Each change is a share of the base model's own loss on that text, for shuffled text has twice the loss and so twice the room to fall. The
    difference is a mean over documents, weighted by their base loss as written: below zero, the model gained more than vocabulary.
    Documents that lack a usable loss in either form are left out and counted.
    """
    (first, lost), (second, lost_too) = usable_documents(written), usable_documents(shuffled)
    written_of = {one["id"]: one for one in first if one["base_nll"]}
    again = [one for one in second if one["base_nll"] and one["id"] in written_of]
    if not again:
        return None
    as_written = [written_of[one["id"]] for one in again]
    base, fell = column(as_written, "base_nll"), changes(as_written)
    base_shuffled, fell_shuffled = column(again, "base_nll"), changes(again)
    further = [
        change - other * size / other_size
        for change, size, other, other_size in zip(fell, base, fell_shuffled, base_shuffled, strict=True)
    ]
    p_value, p_method = sign_flip(further, seed=seed, flips=flips)
    return {
        "documents_count": len(again),
        "unusable_documents": max(len(first) + lost, len(second) + lost_too) - len(again),
        "written": interval(fell, base, seed=seed, resamples=resamples),
        "shuffled": interval(fell_shuffled, base_shuffled, seed=seed, resamples=resamples),
        "difference": interval(further, base, seed=seed, resamples=resamples),
        "p_value": p_value,
        "p_method": p_method,
    }
