"""The verdict rule, each branch a row, and the findings from the metrics of a job: whatever is missing or odd shows nothing."""

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from report.analysis import analyse
from report.findings.verdict import (
    IMPROVED,
    NONE_BETTER,
    NOT_SHOWN,
    RULE,
    VOCABULARY,
    WORSE,
    WORSE_OUTSIDE,
    judge_knowledge,
    judge_loss,
)
from verification.experiments.made_up_runs import CORPUS, answers, metrics, prompts, shuffled

PROJECT = Path(__file__).resolve().parents[3]
Block = dict[str, Any]
FELL = {"estimate": -0.1, "standard_error": 0.02, "low": -0.14, "high": -0.06}
ROSE = {"estimate": 0.1, "standard_error": 0.02, "low": 0.06, "high": 0.14}
UNCLEAR = {"estimate": -0.01, "standard_error": 0.02, "low": -0.05, "high": 0.03}
HELD_OUT: Block = {"documents_count": 12, "unusable_documents": 0, "difference": FELL, "p_value": 0.001}
FURTHER = {"estimate": -0.08, "standard_error": 0.02, "low": -0.12, "high": -0.04}
CONTROL: Block = {"heldout_documents": 12, "control_documents": 9, "p_value": 0.002, "p_method": "sampled"}
CHOSEN_MORE = {"estimate": 0.2, "standard_error": 0.04, "low": 0.12, "high": 0.28}
CHOSEN: Block = {"prompts": 20, "difference": CHOSEN_MORE, "p_value": 0.001}


def held_out(change: Block | None = FELL, **other: Any) -> Block:
    """Losses on held-out text that changed so; an unclear change has a p above the limit."""
    return {**HELD_OUT, "difference": change, "p_value": 0.4 if change is UNCLEAR else 0.001, **other}


def control(change: Block | None = FURTHER, **other: Any) -> Block:
    return {**CONTROL, "difference": change, **other}


def outside(change: Block | None = FELL, **other: Any) -> Block:
    return held_out(change, **{"documents_count": 40, **other})


SIX: Block = {"documents_count": 6}
LACKING: Block = {"documents_count": 0, "unusable_documents": 0}
# Held-out text, held-out minus retention, external test set; the verdict, part of its reason, and of a headline of its own.
ROWS: list[tuple[Block | None, Block | None, Block | None, str, str, str]] = [
    (held_out(), control(), None, IMPROVED, "fell by 0.100 nats", ""),
    (held_out(), control(), outside(), IMPROVED, "On the external test set, the loss fell", ""),
    (held_out(), control(), outside(UNCLEAR), NOT_SHOWN, "did not clearly fall", "on the external test set"),
    (held_out(ROSE), None, None, WORSE, "rose by 0.100 nats", ""),  # harm counts whatever the retention set shows
    # Harm on the corpus's own text stays harm unless the external test set got worse.
    (held_out(ROSE), control(), outside(), WORSE, "the loss fell by", ""),
    (held_out(ROSE), control(), outside(UNCLEAR), WORSE, "the change is", ""),
    (held_out(ROSE), control(), outside(documents_count=3), WORSE, "only 3 documents", ""),
    # An external test set that got worse decides whatever the rest shows.
    (held_out(), control(), outside(ROSE), WORSE_OUTSIDE, "That decides", ""),
    (held_out(ROSE), None, outside(ROSE), WORSE_OUTSIDE, "That decides", ""),
    (None, control(), outside(ROSE), WORSE_OUTSIDE, "no change with an interval was measured", ""),
    # A gain there alone is no improvement.
    (held_out(UNCLEAR), control(), outside(), NOT_SHOWN, "can be chance", "No improvement shown"),
    (held_out(), control(), outside(ROSE, p_value=0.06), NOT_SHOWN, "not clearly fall", "shown on the external"),
    # An external test set that was given and not wholly measured.
    (held_out(), control(), LACKING, NOT_SHOWN, "it was not measured", "the external test set was not measured"),
    (held_out(), control(), {**LACKING, "unusable_documents": 40}, NOT_SHOWN, "40 documents", "partly measured"),
    (held_out(), control(), outside(ROSE, unusable_documents=1), NOT_SHOWN, "on 1 document", "only partly measured"),
    (held_out(), control(), outside({**FELL, "high": math.nan}), NOT_SHOWN, "not a number", "not measured"),
    # Held-out text of which something is missing or odd.
    (None, control(), None, NOT_SHOWN, "No held-out loss", "no held-out loss"),
    (held_out(unusable_documents=1), control(), None, NOT_SHOWN, "on 1 held-out document", "no usable loss"),
    *(
        (block, control(), None, NOT_SHOWN, "not a number", "not numbers")
        for block in (
            held_out(None),
            held_out({**FELL, "high": math.nan}),
            held_out({**FELL, "high": "−0.06"}),
            held_out({**FELL, "low": -0.01, "high": -0.14}),
            held_out(p_value=None),
            held_out(p_value=True),
        )
    ),
    (held_out({**FELL, "high": 0.0}), control(), None, NOT_SHOWN, "can be chance", "No improvement shown"),
    (held_out(p_value=0.05), control(), None, NOT_SHOWN, "can be chance", "No improvement shown"),
    # A gain that is not clearly larger than on text about other subjects.
    (held_out(), None, None, NOT_SHOWN, "fewer than 6 measured", "set is too small"),
    (held_out(), control(unusable_documents=1), None, NOT_SHOWN, "on 1 document", "no comparison with"),
    (held_out(), control(None), None, NOT_SHOWN, "not a number", "no comparison with"),
    (held_out(), control({**FELL, "high": 0.001}), None, NOT_SHOWN, "not clearly further", "no clear gain beyond"),
    (held_out(), control(p_value=0.06), None, NOT_SHOWN, "not clearly further", "no clear gain beyond"),
    # Six documents of each text are enough, and five are not.
    (held_out(**SIX), control(control_documents=6), outside(**SIX), IMPROVED, "fell by", ""),
    (held_out(documents_count=5), control(), None, NOT_SHOWN, "only 5 held-out documents", "only 5 held-out"),
    (held_out(), control(control_documents=5), None, NOT_SHOWN, "fewer than 6 measured", "set is too small"),
    (held_out(), control(), outside(documents_count=5), NOT_SHOWN, "only 5 documents", "only 5 external documents"),
]


@pytest.mark.parametrize(("inside", "beyond", "others", "verdict", "reason", "headline"), ROWS)
def test_the_verdict_follows_the_rule(
    inside: Block | None, beyond: Block | None, others: Block | None, verdict: str, reason: str, headline: str
) -> None:
    judged = judge_loss(inside, beyond, others)
    assert judged.verdict == verdict
    assert reason in judged.reason
    assert headline in judged.headline if headline else not judged.headline


POINTS_OF_A_CURVE = [
    {"scale": one, "loss": 2.8 + one / 10, "difference": one / 10, "standard_error": 0.01} for one in (0.0, 0.1, 1.0)
]


@pytest.mark.parametrize(
    ("how", "kept", "verdict"),
    [
        ("measured", 0.0, NONE_BETTER),
        ("measured", 0.1, IMPROVED),
        ("not measured", 0.2, IMPROVED),
        ("set", 1.0, IMPROVED),
    ],
)
def test_none_is_better_only_where_nothing_of_a_measured_adapter_is_kept(how: str, kept: float, verdict: str) -> None:
    scale = {"how": how, "scale": kept, "documents": ["a"] * 20, "curve": POINTS_OF_A_CURVE}
    judged = judge_loss(held_out(), control(), outside(), scale=scale)
    assert judged.verdict == verdict
    assert ("at none of 2 scales: the best, 0.1, changed it by +0.010" in judged.reason) == (verdict == NONE_BETTER)


AS_SHARE = {"estimate": -0.05, "standard_error": 0.01, "low": -0.07, "high": -0.03}
ORDER: Block = {**HELD_OUT, "written": AS_SHARE, "shuffled": {**AS_SHARE, "estimate": -0.01}}


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, IMPROVED, "more than vocabulary: relative to"),
        ({"documents_count": 6}, IMPROVED, "the difference is \u221210.0 percentage points"),
        ({"difference": UNCLEAR, "p_value": 0.4}, VOCABULARY, "by \u22121.0 \u00b1 1.0% with the words in random"),
        ({"difference": {**FELL, "high": 0.0}}, VOCABULARY, "does not depend on word order is a gain in vocabulary"),
        ({"p_value": 0.05}, VOCABULARY, "does not depend on word order"),
        ({"difference": ROSE}, VOCABULARY, "did not clearly fall further"),
        ({"documents_count": 5}, NOT_SHOWN, "no usable loss was measured on enough of it"),
        ({"unusable_documents": 1}, NOT_SHOWN, "no usable loss was measured on 1 document of it"),
        ({"difference": {**FELL, "high": math.nan}}, NOT_SHOWN, "could be only vocabulary"),
        ({"p_value": None}, NOT_SHOWN, "could be only vocabulary"),
    ],
)
@pytest.mark.parametrize("others", [None, outside()])
def test_a_gain_is_an_improvement_only_where_the_order_of_the_words_adds_to_it(
    others: Block | None, change: Block, verdict: str, reason: str
) -> None:
    judged = judge_loss(held_out(), control(), others, word_order={**ORDER, **change})
    assert judged.verdict == verdict
    assert reason in judged.reason
    if verdict != IMPROVED:
        assert ("the external test set" if others else "held-out documents") in judged.reason.partition(";")[0]
    worse = judge_loss(held_out(ROSE), control(), others, word_order={**ORDER, **change})
    assert worse.verdict == WORSE, "the word-order control excuses no harm"


def test_the_declaration_repeats_the_rule_word_for_word() -> None:
    declared = (PROJECT / "verification" / "experiments" / "DECLARATION.md").read_text("utf-8")
    assert RULE in " ".join(declared.replace("\n> ", " ").split())


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, IMPROVED),
        ({"difference": {"estimate": -0.2, "standard_error": 0.04, "low": -0.28, "high": -0.12}}, WORSE),
        ({"difference": {**CHOSEN_MORE, "low": -0.01}}, NOT_SHOWN),
        ({"p_value": 0.05}, NOT_SHOWN),
        ({"prompts": 19}, NOT_SHOWN),
        ({"prompts": 40, "clusters": 20}, IMPROVED),
        ({"prompts": 40, "clusters": 19}, NOT_SHOWN),
        ({"difference": None}, NOT_SHOWN),
        ({"difference": {**CHOSEN_MORE, "low": math.nan}}, NOT_SHOWN),
        ({"p_value": None}, NOT_SHOWN),
    ],
)
def test_knowledge_is_judged_on_a_clear_change_of_twenty_clusters(change: Block, verdict: str) -> None:
    block = {"controlled": {**CHOSEN, **change}, "missing": 0}
    judged = judge_knowledge(block)
    assert judged.verdict == verdict
    if verdict == IMPROVED:
        assert judged.reason.endswith("items in 20 clusters.")
    assert judge_knowledge({**block, "missing": 1}).verdict == judge_knowledge(None).verdict == NOT_SHOWN


# From the metrics of a training job to the findings.


def found(measured: Any, **options: Any) -> dict[str, Any]:
    return analyse(measured, [], [], [], resamples=500, **options)


def control_gained_too(evaluation: Any) -> None:
    for row in evaluation["control"]["documents"]:
        row["tuned_nll"] -= 0.33 * row["tokens"]  # the invented control text rose by 0.03


@pytest.mark.parametrize(
    "damage",
    [
        control_gained_too,
        lambda evaluation: evaluation.pop("control"),
        lambda evaluation: evaluation["heldout"]["documents"][2].update(tuned_nll=math.nan),
        lambda evaluation: evaluation.update(outside={"documents": [], "tokens": 0}),
        lambda evaluation: evaluation.update(heldout={"documents": []}),
    ],
)
def test_a_gain_that_lacks_one_of_its_conditions_is_not_shown(damage: Callable[[Any], None]) -> None:
    measured = metrics(effect=-0.3)
    assert found(measured)["verdict"] == IMPROVED
    damage(measured["evaluation"])
    assert found(measured)["verdict"] == found(None)["verdict"] == NOT_SHOWN


@pytest.mark.parametrize("outside_change", [None, -0.1])
@pytest.mark.parametrize(
    ("share", "verdict"), [(-1.0, IMPROVED), (0.5, IMPROVED), (1.0, VOCABULARY), (1.5, VOCABULARY), (None, NOT_SHOWN)]
)
def test_a_gain_on_shuffled_words_is_held_against_the_text_that_decides(
    share: float | None, verdict: str, outside_change: float | None
) -> None:
    """`share` of the gain as written, in per cent of the base model's loss, is left with the words in a random order."""
    findings = found(metrics(effect=-0.3, outside=outside_change, order=share))
    assert findings["verdict"] == verdict
    block = findings["word_order"]
    assert block["of"] == ("heldout" if outside_change is None else "outside")
    if share is not None:
        written, shuffled, further = (block[name]["estimate"] for name in ("written", "shuffled", "difference"))
        assert shuffled == pytest.approx(share * written)
        assert further == pytest.approx((1 - share) * written)
        # Shuffled text has twice the loss here, so that a share of 1 is twice the change in nats.
        nats = findings[block["of"]]["difference"]["estimate"]
        assert block["losses"]["difference"]["estimate"] == pytest.approx(2 * share * nats)


def test_the_order_of_words_is_compared_on_documents_that_have_both_losses() -> None:
    measured = metrics(effect=-0.3)
    shuffled = measured["evaluation"]["heldout_shuffled"]["documents"]
    shuffled[0]["tuned_nll"] = math.nan
    del shuffled[1]
    block = found(measured)["word_order"]
    assert (block["documents_count"], block["unusable_documents"]) == (12, 2)
    assert found(measured)["verdict"] == NOT_SHOWN


def test_word_order_of_records_is_tested_only_with_an_external_test_set() -> None:
    findings = found(metrics(effect=-0.3, order=None), records=True)
    assert (findings["verdict"], findings["word_order"]) == (IMPROVED, None)
    assert "How much of that is only vocabulary was not measured" in findings["verdict_reason"]
    assert found(metrics(effect=-0.3, outside=-0.1, order=1.0), records=True)["verdict"] == VOCABULARY


def test_each_kind_of_retention_text_has_its_own_change() -> None:
    measured = metrics(kinds={"Essay": (7, -0.1), "Code": (6, 0.2), "Chat": (5, 0.2), "Lost": (1, 0.0)})
    rows = measured["evaluation"]["control"]["documents"]
    rows[-1]["tuned_nll"] = rows[0]["tuned_nll"] = math.nan
    essay, code, chat, lost = found(measured)["control"]["by_kind"]
    assert essay["difference"]["high"] < 0 < code["difference"]["low"] and code["p_value"] < 0.05
    assert [row["documents_count"] for row in (essay, code, chat, lost)] == [6, 6, 5, 0]
    assert chat["difference"]["estimate"] > 0.1 and chat["difference"]["low"] is chat["difference"]["high"] is None
    assert (lost["kind"], lost["unusable_documents"], "difference" in lost) == ("Lost", 1, False)
    whole = found(measured)
    for row in rows:
        row["title"] = row["title"].replace(":", "")
    plain = found(measured)
    assert plain["control"].keys() == whole["control"].keys() - {"by_kind"}
    for key in ("verdict", "verdict_reason", "beyond_control"):
        assert plain[key] == whole[key]


@pytest.mark.parametrize(
    "titles",
    [
        ["Essay: A", "Essay: B", "Code: C", "D"],  # one names none
        ["Essay: A", "Essay: B", "Essay: C", "Essay: D"],
        ["Nile: A", "Bread: B", "Tides: C", "Maps: D"],  # colons of four subjects
    ],
)
def test_titles_that_sort_nothing_make_no_kinds(titles: list[str]) -> None:
    measured = metrics(kinds={"Any": (4, 0.1)})
    for row, title in zip(measured["evaluation"]["control"]["documents"], titles, strict=True):
        row["title"] = title
    assert "by_kind" not in found(measured)["control"]


def of_two_kinds(first: float, second: float, order: float = 0.5) -> dict[str, Any]:
    """Metrics whose external test set has two kinds of documents, in turns, and what the loss on each changed by."""
    made = metrics(effect=-0.3, outside=-0.1, sources=True)
    rng, sets = random.Random(3), made["evaluation"]
    for place, row in enumerate(sets["outside"]["documents"]):
        row["tuned_nll"] = row["base_nll"] + row["tokens"] * ((first, second)[place % 2] + rng.gauss(0, 0.02))
    sets["outside_shuffled"] = shuffled(sets["outside"], order)
    return made


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (-0.1, -0.1, IMPROVED),
        (-0.2, 0.05, WORSE_OUTSIDE),
        (0.05, -0.2, WORSE_OUTSIDE),
        (-0.2, 0.0, IMPROVED),
        (0.1, 0.1, WORSE_OUTSIDE),
    ],
)
def test_the_loss_may_rise_on_no_kind_of_the_external_test_set(first: float, second: float, verdict: str) -> None:
    findings = found(of_two_kinds(first, second))
    assert findings["verdict"] == verdict
    rows = findings["outside"]["by_kind"]
    assert [(row["kind"], row["documents_count"]) for row in rows] == [("Abstract", 20), ("Reference page", 20)]
    assert ("the loss on Reference page rose by" in findings["verdict_reason"]) == ((first, second) == (-0.2, 0.05))


def test_the_plain_words_name_the_kind_that_decides() -> None:
    """The loss on the whole set fell, so a sentence about the whole set would be false."""
    findings = found(of_two_kinds(-0.2, 0.05))
    assert findings["outside"]["difference"]["high"] < 0
    assert findings["headline"] == "Worse on Reference page documents of the external test set"
    assert "On Reference page documents of the external test set, it gives each actual next token" in findings["says"]
    assert re.search(
        r"about [3-6](\.\d)? ± .*% less probability|about [3-6](\.\d)?% less probability", findings["says"]
    ), findings["says"]
    assert found(of_two_kinds(0.1, 0.1))["headline"] == "Worse on the external test set"


def test_each_kind_of_the_external_test_set_has_its_own_word_order_control() -> None:
    both, one = (found(of_two_kinds(-0.1, -0.1, order))["outside"]["by_kind"] for order in (0.2, 3.0))
    assert all(
        row["word_order"]["difference"]["high"] < 0 and row["word_order"]["documents_count"] == 20 for row in both
    )
    assert all(
        row["word_order"]["difference"]["low"] > 0 and not row["word_order"]["unusable_documents"] for row in one
    )


def test_a_kind_with_few_documents_decides_nothing() -> None:
    made = of_two_kinds(-0.1, -0.1)
    for row in made["evaluation"]["outside"]["documents"][:5]:
        row["title"], row["tuned_nll"] = "Leaflet: L", row["base_nll"] + 0.02 * row["tokens"]
    findings = found(made)
    assert findings["verdict"] == IMPROVED
    (leaflet,) = (row for row in findings["outside"]["by_kind"] if row["kind"] == "Leaflet")
    assert leaflet["difference"]["estimate"] > 0 and leaflet["difference"]["low"] is None


def test_memorising_the_training_text_is_never_an_improvement() -> None:
    findings = found(metrics(effect=0.0))
    assert findings["memorisation"]["training_text"]["difference"]["high"] < -0.1
    assert findings["verdict"] == NOT_SHOWN


@pytest.mark.parametrize("outside", [-0.1, 0.1])
def test_a_smoke_run_is_never_judged(outside: float) -> None:
    findings = found(metrics(effect=-0.3, outside=outside), smoke=True)
    assert (findings["verdict"], findings["knowledge_verdict"]) == (NOT_SHOWN, NOT_SHOWN)
    assert findings["headline"].startswith("A smoke run")


def test_the_findings_are_reproducible_and_say_what_they_mean() -> None:
    asked = prompts(24)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.5)
    first, second = (
        analyse(metrics(), asked, *replies, corpus=CORPUS, domain="medical", seed=3, resamples=300) for _ in range(2)
    )
    assert json.dumps(first) == json.dumps(second)
    assert first["says"]
    assert "clinical" in " ".join(first["does_not_say"])
