"""What the answers show: key-fact recall by cluster, copies of the training text, and an adapter that was not applied."""

import math
import random
from contextlib import nullcontext
from typing import Any

import pytest

from common.errors import AdapterNotServed, ReportIncomplete
from report.analysis import ENOUGH_PROMPTS, loss_moved, refuse_base_answers
from report.findings import recall
from report.findings.memorisation import compare_copies, longest_copies
from report.findings.recall import clustered_mean, compare_recall, counted_facts, mark_facts
from verification.experiments.made_up_runs import CORPUS

NPM1 = {"name": "NPM1", "pattern": r"\bNPM1\b"}
RESAMPLES = 1_000


def answer(identifier: str, greedy: str, *samples: str) -> dict[str, Any]:
    return {"id": identifier, "kind": "question", "prompt": "?", "greedy": greedy, "samples": list(samples)}


def prompt(identifier: str, *facts: dict[str, Any], kind: str = "question", text: str = "Which?") -> dict[str, Any]:
    return {"id": identifier, "kind": kind, "prompt": text, "facts": list(facts)}


def compared(*rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    block = compare_recall(*rows, **{"resamples": 100, **options})
    assert block is not None
    return block


@pytest.mark.parametrize(
    ("text", "facts", "spans", "found"),
    [
        ("Mutated npm1 and NPM1.", [NPM1], [[8, 12], [17, 21]], ["NPM1"]),  # whatever its case
        ("abcde", [{"name": "x", "pattern": "abc"}, {"name": "y", "pattern": "cde"}], [[0, 5]], ["x", "y"]),
        ("None.\n\nNext subject: NPM1.", [NPM1], [], []),  # the model has gone on to another question
        ("anything", [{"name": "bad", "pattern": "("}, {"name": "empty", "pattern": "z*"}], [], []),
    ],
)
def test_facts_are_marked_where_the_answer_states_them(
    text: str, facts: list[dict[str, Any]], spans: list[list[int]], found: list[str]
) -> None:
    assert mark_facts(text, counted_facts(prompt("a", *facts, text="zz")))[:2] == (spans, found)


def test_a_fact_that_the_prompt_gives_away_does_not_count() -> None:
    asked = [prompt("a", NPM1, text="What does NPM1 do?"), prompt("b", NPM1)]
    block = compared(asked, *[[answer("a", "NPM1"), answer("b", "NPM1")]] * 2)
    assert (block["facts_given_away"], block["knowledge"]["all"]["prompts"]) == (1, 1)


def test_a_pattern_that_takes_too_long_ends_the_report_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "SEARCH_SECONDS", 0.2)
    facts = counted_facts(prompt("a", {"name": "kinase", "pattern": r"(\w+\s?)+ kinase!"}))
    with pytest.raises(ReportIncomplete, match="the fact 'kinase'"):
        mark_facts("so many words " * 20, facts)


def test_recall_averages_greedy_and_samples_and_reports_each() -> None:
    base = [answer("a", "no", "NPM1", "no")]
    tuned = [answer("a", "NPM1", "NPM1", "no")]
    block = compared([prompt("a", NPM1)], base, tuned)["knowledge"]
    assert block["all"]["base"]["estimate"] == pytest.approx(1 / 3)
    assert block["all"]["tuned"]["estimate"] == pytest.approx(2 / 3)
    assert block["greedy"]["difference"]["estimate"] == 1.0
    assert block["sampled"]["difference"]["estimate"] == 0.0


def test_control_prompts_are_no_knowledge_prompts() -> None:
    replies = [answer("a", "NPM1"), answer("c", "no")]
    block = compared([prompt("a", NPM1), prompt("c", NPM1, kind="control")], replies, replies)
    assert block["knowledge"]["all"]["tuned"]["estimate"] == 1.0
    assert block["control"]["all"]["tuned"]["estimate"] == 0.0
    assert [row["kind"] for row in block["by_kind"]] == ["question", "control"]
    assert compare_recall([prompt("a")], replies, replies) is None, "no prompt has a fact"


@pytest.mark.parametrize("lost", [None, {"greedy": None}, {"samples": []}])
def test_a_lost_answer_is_missing_and_not_one_without_facts(lost: dict[str, Any] | None) -> None:
    prompts = [prompt(str(n), NPM1) for n in range(30)]
    replies = [answer(str(n), "no", "no") for n in range(30)]
    better = [answer(str(n), "NPM1", "NPM1") for n in range(30)]
    assert compared(prompts, replies, better)["missing_prompts"] == []
    damaged = [row for row in replies if row["id"] != "3"] + ([replies[3] | lost] if lost else [])
    block = compared(prompts, damaged, better)
    assert block["missing_prompts"] == ["3"]
    assert block["knowledge"]["all"]["prompts"] == 29


def test_four_wordings_of_each_fact_have_the_interval_of_one() -> None:
    def mean(wordings: int) -> Any:
        facts = [place // wordings for place in range(30 * wordings)]
        return clustered_mean([float(fact < 10) for fact in facts], list(map(str, facts)), resamples=RESAMPLES)["mean"]

    four, one = mean(4), mean(1)
    assert (four["estimate"], four["low"], four["high"]) == pytest.approx((one["estimate"], one["low"], one["high"]))


def test_the_sign_flip_test_flips_whole_clusters_and_each_prompt_weighs_the_same() -> None:
    p_values = []
    for clusters in ([str(place // 4) for place in range(16)], [str(place) for place in range(16)]):
        p_values.append(clustered_mean([1.0] * 16, clusters, resamples=RESAMPLES)["p_value"])
    assert p_values == [pytest.approx(2 / 2**4), pytest.approx(2 / 2**16)]
    clusters = ["big"] * 4 + [str(place) for place in range(6)]
    found = clustered_mean([1.0] * 4 + [0.0] * 6, clusters, resamples=RESAMPLES)
    assert (found["mean"]["estimate"], found["clusters"]) == (pytest.approx(0.4), 7)


# Mismatched recall: what the same answers state of other prompts' facts, which naming more terms raises and knowledge does not.


def genes(count: int) -> list[dict[str, Any]]:
    """Prompts of which each asks a gene of its own: GENE0, GENE1 and so on."""
    return [prompt(str(n), {"name": f"GENE{n}", "pattern": rf"\bGENE{n}\b"}) for n in range(count)]


def answered(asked: list[dict[str, Any]], text: str) -> dict[str, Any]:
    """The recall block where the tuned model answers so, with the prompt's number for {n}, and the base model states nothing."""
    replies = [[answer(row["id"], one.format(n=row["id"])) for row in asked] for one in ("no gene", text)]
    return compared(asked, *replies)


def test_a_model_that_names_many_terms_everywhere_gains_mismatched_recall() -> None:
    found = answered(genes(30), "GENE1 and GENE2 and GENE3")["mismatched"]
    assert found["base"]["estimate"] == 0.0
    # Each term is the fact of its own prompt, and one of another everywhere else.
    assert found["tuned"]["estimate"] == pytest.approx((27 * 3 + 3 * 2) / (30 * 29))
    assert found["difference"]["low"] > 0 and found["p_value"] < 0.05


def test_a_model_that_names_what_is_asked_gains_recall_alone() -> None:
    block = answered(genes(30), "GENE{n}")
    assert block["knowledge"]["all"]["tuned"]["estimate"] == 1.0
    assert block["mismatched"]["tuned"]["estimate"] == 0.0


BOTH = {"name": "GENE0 or GENE1", "pattern": r"\bGENE[01]\b"}


@pytest.mark.parametrize(
    "changes",
    [
        [{"cluster": "one"}, {"cluster": "one"}],  # they ask the same fact
        [{"prompt": "What is like GENE1?"}, {"prompt": "What is like GENE0?"}],  # the prompt names it
        [{"facts": [BOTH]}, {"facts": [BOTH]}],  # the right answer names it
        [{"kind": "starter"}] * 2,  # the open list that it asks for fits many answers
        [{"kind": "control"}] * 2,
    ],
)
def test_facts_that_an_answer_may_correctly_name_are_not_mismatched(changes: list[dict[str, Any]]) -> None:
    assert answered(genes(2), "GENE0 and GENE1")["mismatched"]["tuned"]["estimate"] == 1.0
    asked = [row | change for row, change in zip(genes(2), changes, strict=True)]
    assert answered(asked, "GENE0 and GENE1")["mismatched"] is None


def test_mismatched_recall_is_of_a_bounded_number_of_prompts_and_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "MISMATCHED_PROMPTS", 10)
    assert answered(genes(30), "GENE1")["mismatched"]["prompts"] == 10
    monkeypatch.setattr(recall, "MISMATCHED_PAIRS", 9)
    assert answered(genes(30), "GENE1")["mismatched"] is None, "of 9 pairs, none is left for each of 10 prompts"


# Copied runs: the longest passage that an answer shares with the training text, word for word.

CHINESE = "造血干细胞的克隆性扩增常常比髓系肿瘤早许多年出现"


@pytest.mark.parametrize(
    ("answers", "corpus", "words", "copied"),
    [
        # Case, punctuation and line ends hide no copy.
        (["REVERSE transcriptase,\nlacks proofreading"], CORPUS, [4], "REVERSE transcriptase,\nlacks proofreading"),
        (["We know: The circular genome persists, in"], CORPUS, [4], "The circular genome persists"),
        # Never from one answer into the next.
        (["circular genome", "persists as"], "circular genome persists as", [2, 2], "circular genome"),
        (["zzz yyy", ""], CORPUS, [0, 0], ""),
        # Vowel signs belong to their word, and a Chinese character is half a word.
        (["जीनोम चिकित्सा मानव"], "पहले जीनोम चिकित्सा मानव बाद", [3], "जीनोम चिकित्सा मानव"),
        ([f"所以{CHINESE}因此我们"], f"前言。{CHINESE}。", [len(CHINESE) // 2], CHINESE),
    ],
)
def test_the_longest_copy_is_found_in_its_place(answers: list[str], corpus: str, words: list[int], copied: str) -> None:
    found = longest_copies(answers, corpus)
    assert [run[0] for run in found] == words
    _, start, end = found[0]
    assert answers[0][start:end] == copied


def test_the_longest_copies_equal_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    corpus = [rng.choice("abcde") for _ in range(300)]
    texts = [[rng.choice("abcdef") for _ in range(rng.randint(0, 40))] for _ in range(60)]
    joined = " " + " ".join(corpus) + " "

    def plain(text: list[str]) -> int:
        runs = (text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1))
        return max((len(run) for run in runs if f" {' '.join(run)} " in joined), default=0)

    expected = [plain(text) for text in texts]
    assert [run[0] for run in longest_copies([" ".join(text) for text in texts], " ".join(corpus))] == expected
    monkeypatch.setattr("report.findings.memorisation.BATCH", 5)  # in parts, as many answers are searched
    assert [run[0] for run in longest_copies([" ".join(text) for text in texts], " ".join(corpus))] == expected


def test_copying_is_counted_per_model_and_prompt() -> None:
    base = [answer("a", "nothing"), answer("b", "nothing")]
    tuned = [answer("a", CORPUS[:90], "nothing"), answer("b", "nothing")]
    block = compare_copies(base, tuned, CORPUS, resamples=100)
    assert block is not None
    assert (block["tuned"]["notable_answers"], block["base"]["longest_words"]) == (1, 0)
    assert block["answers"]["a"]["tuned"][0][0] == block["tuned"]["longest_words"] > 8
    assert compare_copies(base, tuned, "  ") is None


# AdapterNotServed: the losses say that the model changed, and the answers say that it did not.

NATS = 0.2  # as far as a rehearsal of minutes moves the loss


def measured(*changes: float, tokens: int = 400) -> dict[str, Any]:
    """metrics.json with one held-out document for each change of the loss, in nats per token."""
    rows = [{"tokens": tokens, "base_nll": 3.0 * tokens, "tuned_nll": (3.0 + change) * tokens} for change in changes]
    return {"evaluation": {"heldout": {"documents": rows}}}


def alike(count: int, *, greedy: str = " a cell", sample: str = " a virus") -> list[dict[str, Any]]:
    return [{"id": f"p{place}", "greedy": greedy, "samples": [sample]} for place in range(count)]


# How the loss of each document changed, the number of prompts, and whether equal answers are rejected.
MOVED: list[tuple[tuple[float, ...], int, bool]] = [
    ((NATS, NATS), 30, True),  # a loss that rose or went both ways has moved as well
    ((NATS, -NATS), 30, True),
    ((0.0, 0.0), 230, False),  # a model that learned nothing answers as before
    ((-0.001,), 230, False),  # the fewer the prompts, the further apart the losses must lie
    ((-0.0015,), 230, True),
    ((-0.03,), 8, False),
    ((-0.045,), 8, True),
    ((-NATS,), ENOUGH_PROMPTS, True),
    ((-NATS,), ENOUGH_PROMPTS - 1, False),
    ((math.nan,), 230, False),  # losses that are missing have not moved
]
SILENT = alike(230, greedy="", sample=" \n")


@pytest.mark.parametrize(
    ("metrics", "base", "tuned", "refused"),
    [
        *((measured(*changes), alike(prompts), alike(prompts), refused) for changes, prompts, refused in MOVED),
        *((metrics, alike(230), alike(230), False) for metrics in ({}, {"evaluation": None})),
        # One answer that differs shows that the adapter was applied.
        (measured(-NATS), alike(30), [*alike(1, greedy=" a gene"), *alike(30)[1:]], False),
        (measured(-NATS), alike(30), [*alike(1, sample=" a gene"), *alike(30)[1:]], False),
        (measured(-NATS), SILENT, SILENT, False),  # no word tells nothing
    ],
)
def test_equal_answers_are_rejected_if_the_losses_clearly_moved(
    metrics: dict[str, Any], base: list[dict[str, Any]], tuned: list[dict[str, Any]], refused: bool
) -> None:
    with pytest.raises(AdapterNotServed) if refused else nullcontext():
        refuse_base_answers(metrics, base, tuned)


def test_long_documents_weigh_more_than_short_ones() -> None:
    rows = measured(0.3, tokens=100)["evaluation"]["heldout"]["documents"]
    rows += measured(0.0, tokens=200)["evaluation"]["heldout"]["documents"]
    assert loss_moved({"evaluation": {"heldout": {"documents": rows}}}) == pytest.approx(0.1)
