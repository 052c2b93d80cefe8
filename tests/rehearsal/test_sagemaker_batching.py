"""The model server's answers are the right ones, whatever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sagemaker_models import WORDS, make_model, reference

from rehearsal.sagemaker.batching import Batcher, Request, pick
from rehearsal.sagemaker.llama import Llama


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    make_model(base, adapter)
    return base, adapter


def _answers(batcher: Batcher, requests: list[Request]) -> list[list[int]]:
    for request in requests:
        batcher.submit(request)
    for request in requests:
        assert request.done.wait(30)
        assert request.error is None
    return [request.tokens for request in requests]


PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]


def test_greedy_answers_of_both_models_in_one_batch_are_those_of_transformers(folders: tuple[Path, Path]) -> None:
    expected = [reference(folders, prompt, 20, adapted=adapted) for prompt in PROMPTS for adapted in (False, True)]
    batcher = Batcher(Llama(*folders), set())
    asked = [Request(prompt, adapted, 20, 0.0, 1.0, None) for prompt in PROMPTS for adapted in (False, True)]
    assert _answers(batcher, asked) == expected
    batcher.close()


def test_an_answer_does_not_depend_on_what_else_is_asked(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), {1}, most=5)

    def asked() -> list[Request]:
        return [
            Request(prompt, seed % 2 == 1, 12 + seed % 20, 0.8, 0.9, seed) for seed, prompt in enumerate(PROMPTS * 8)
        ]

    alone = [_answers(batcher, [request])[0] for request in asked()]
    together = _answers(batcher, asked())
    batcher.close()
    assert together == alone
    assert len({tuple(tokens) for tokens in alone}) > 16


def test_a_batch_is_held_back_rather_than_out_of_memory(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), set(), memory=60)
    answers = _answers(batcher, [Request([0, 5], False, 25, 0.0, 1.0, None) for _ in range(7)])
    batcher.close()
    assert answers == [answers[0]] * 7


def test_a_failing_step_fails_its_requests_and_not_the_server(folders: tuple[Path, Path]) -> None:
    batcher = Batcher(Llama(*folders), set())
    bad = Request([WORDS + 5], False, 4, 0.0, 1.0, None)
    batcher.submit(bad)
    assert bad.done.wait(30)
    assert bad.error is not None
    _answers(batcher, [Request([0, 5], False, 4, 0.0, 1.0, None)])
    batcher.close()


def test_draws_follow_the_probabilities_within_the_top_p() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    counts = [0] * 4
    for seed in range(4000):
        counts[pick(logits, [Request([0], False, 1, 1.0, 0.79, seed)])[0]] += 1
    assert counts[2] == counts[3] == 0
    assert abs(counts[0] / 4000 - 0.625) < 0.03
    assert pick(logits, [Request([0], False, 1, 0.0, 1.0, None)]) == [0]


def test_a_flat_distribution_over_a_large_vocabulary_is_drawn_from_all_of_it() -> None:
    logits = torch.zeros(1, 5000)
    drawn = {pick(logits, [Request([0], False, 1, 1.0, 1.0, seed)])[0] for seed in range(300)}
    assert len(drawn) > 250
