"""Copied runs: the longest passage that an answer shares with the training text, word for word."""

from __future__ import annotations

import random
from typing import Any

import pytest

from report.findings.memorisation import compare_copies, longest_copies
from verification.experiments.reports.made_up import CORPUS

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
def test_the_longest_copied_run_is_counted_in_words_and_found_in_its_place(
    answers: list[str], corpus: str, words: list[int], copied: str
) -> None:
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
    def answer(identifier: str, greedy: str, *samples: str) -> dict[str, Any]:
        return {"id": identifier, "kind": "question", "prompt": "?", "greedy": greedy, "samples": list(samples)}

    base = [answer("a", "nothing"), answer("b", "nothing")]
    tuned = [answer("a", CORPUS[:90], "nothing"), answer("b", "nothing")]
    block = compare_copies(base, tuned, CORPUS, resamples=100)
    assert block is not None
    assert (block["tuned"]["notable_answers"], block["base"]["longest_words"]) == (1, 0)
    assert block["answers"]["a"]["tuned"][0][0] == block["tuned"]["longest_words"] > 8
    assert compare_copies(base, tuned, "  ") is None
