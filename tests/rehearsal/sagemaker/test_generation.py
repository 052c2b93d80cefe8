"""The model server's answers are those of transformers and PEFT, whatever else is in the batch; requests wait in batches."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rehearsal.sagemaker.real.server import generation
from rehearsal.sagemaker.real.server.contract import Sampling
from rehearsal.sagemaker.real.server.generation import Draws, Generator, number_format
from rehearsal.sagemaker.real.server.queueing import Batcher, Request, choose
from tests import surroundings
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_models import FAMILIES, Folders, References

pytestmark = pytest.mark.slow
torch.set_num_threads(1)  # with matrices this small, threads would only wait for each other
PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]
ROOM = 10_000


@pytest.fixture(scope="module")
def generator(folders: Folders) -> Generator:
    return Generator(*folders, dtype="float32")


def test_what_a_toy_model_says_is_drawn_by_the_seed_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    for seed in (1, 1, 2):
        monkeypatch.setattr(surroundings, "weights_seed", seed)
        FAMILIES["Llama 2"].make(tmp_path)
        made.append((tmp_path / "model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]


def test_greedy_answers_of_both_models_in_one_batch_are_those_of_transformers(
    folders: Folders, generator: Generator
) -> None:
    batch = [Request(prompt, adapted, 20) for prompt in PROMPTS for adapted in (False, True)]
    generator.answer(batch)
    references = References(folders)
    expected = [references.tokens(one.prompt, 20, adapted=one.adapted) for one in batch]
    assert [(request.tokens, request.ended) for request in batch] == expected
    assert any(base.tokens != tuned.tokens for base, tuned in zip(batch[::2], batch[1::2], strict=True))


def test_a_sampled_answer_does_not_depend_on_the_rest_of_the_batch(generator: Generator) -> None:
    def asked() -> list[Request]:
        return [
            Request(prompt, seed % 2 == 1, 6 + seed, Sampling(0.8 * (seed % 3 > 0), 0.9, seed))
            for seed, prompt in enumerate(PROMPTS * 3)
        ]

    together, alone = asked(), asked()
    generator.answer(together)
    for request in alone:
        generator.answer([request])
    assert [request.tokens for request in together] == [request.tokens for request in alone]
    assert len({tuple(request.tokens) for request in alone}) > 1


def test_the_base_model_answers_without_adapter_and_without_the_folders_settings(
    folders: Folders, generator: Generator, tmp_path: Path
) -> None:
    for file in folders[0].iterdir():
        if file.name != "generation_config.json":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 5.0, "max_length": 4, "repetition_penalty": 9.0, "eos_token_id": [1, 2]}'
    )
    own, mixed = Request([0, 44], False, 12), Request([0, 44], False, 12)
    Generator(tmp_path, None, "float32").answer([own])
    generator.answer([mixed, Request([0, 44], True, 12)])
    assert own.tokens == mixed.tokens


@pytest.mark.parametrize(
    ("asked", "size", "fast", "expected"),
    [
        ("auto", 1, True, torch.bfloat16),
        ("auto", 1, False, torch.float32),
        ("bfloat16", 1, True, torch.bfloat16),
        ("bfloat16", 1, False, torch.float32),
        ("bfloat16", 1 << 50, False, torch.bfloat16),  # 32 bits would not fit the machine
        ("float32", 1 << 50, True, torch.float32),
    ],
)
def test_weights_are_held_in_16_bits_where_that_is_faster_or_32_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, asked: str, size: int, fast: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(generation, "bfloat16_is_faster", lambda: fast)
    assert number_format(asked, size) is expected
    with pytest.raises(ValueError, match="SM_VLLM_DTYPE=float8"):
        number_format("float8", size)


def test_weights_stay_in_16_bits_in_memory(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "bfloat16_is_faster", lambda: True)
    generator = Generator(*folders, dtype="bfloat16")
    assert {parameter.dtype for parameter in generator._model.parameters()} == {torch.bfloat16}
    request = Request([0, 5], True, 4)
    generator.answer([request])
    assert request.tokens


def drawn(logits: Tensor, *rows: Sampling) -> list[int]:
    no_tokens = torch.zeros(1, 1, dtype=torch.long)
    chosen: list[int] = Draws(rows)(no_tokens, logits.expand(len(rows), -1)).argmax(dim=-1).tolist()
    return chosen


def test_draws_follow_the_probabilities_within_the_top_p() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    for temperature, share in ((1.0, 0.5 / 0.8), (0.5, 0.25 / 0.34)):  # a lower one makes the likely likelier
        tokens = drawn(logits, *(Sampling(temperature, 0.79, seed) for seed in range(4000)))
        assert set(tokens) == {0, 1}
        assert abs(tokens.count(0) / 4000 - share) < 0.03


def test_a_seed_draws_the_same_from_all_of_a_flat_vocabulary_and_none_draws_anew() -> None:
    logits = torch.zeros(1, 5000)
    for seed in (0, -5, 1 << 70):
        assert drawn(logits, Sampling(1.0, 1.0, seed)) == drawn(logits, Sampling(1.0, 1.0, seed))
    assert len(set(drawn(logits, *(Sampling(1.0, 1.0, seed) for seed in range(300))))) > 250
    assert len(set(drawn(logits, *(Sampling(1.0) for _ in range(20))))) > 10


def waiting(*lengths: int, most: int = 4) -> list[Request]:
    return [Request([7] * length, False, most) for length in lengths]


def lengths_of(batch: list[Request]) -> list[int]:
    return [len(request.prompt) for request in batch]


class Recorder:
    """An engine that notes its batches; it holds the first one until `go_on` and fails prompts of one token."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, batch: list[Request]) -> None:
        self.batches.append(lengths_of(batch))
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        if min(lengths_of(batch)) == 1:
            raise RuntimeError("broken")
        for request in batch:
            request.tokens = [len(request.prompt)]


def served(requests: list[Request], *, most: int) -> list[list[int]]:
    """The batches in which requests are answered of which the first comes alone."""
    recorder = Recorder()
    batcher = Batcher(recorder, most=most, room=ROOM, quiet_seconds=0.001)
    batcher.submit(requests[0])
    assert recorder.begun.wait(PATIENCE_SECONDS)
    for request in requests[1:]:
        batcher.submit(request)
    recorder.go_on.set()
    batcher.close()
    assert all(request.done.is_set() for request in requests)
    return recorder.batches


def test_requests_that_wait_are_answered_in_batches_of_at_most_so_many_rows() -> None:
    requests = waiting(4, 5, 6, 7)
    assert served(requests, most=8) == [[4], [5, 6, 7]]
    assert [request.tokens for request in requests] == [[4], [5], [6], [7]]
    assert served(waiting(4, 5, 5, 5, 5, 5), most=2) == [[4], [5, 5], [5, 5], [5]]


def test_a_batch_that_fails_fails_its_requests_and_not_the_others() -> None:
    first, later = requests = waiting(1, 3)
    served(requests, most=4)
    assert first.error == "RuntimeError('broken')"
    assert (later.error, later.tokens) == (None, [3])


@pytest.mark.parametrize(
    ("lengths", "answer", "most", "room", "chosen"),
    [
        ([50, 3, 48, 4, 55], 4, 3, ROOM, [50, 48, 55]),  # the longest waiting, and those of like length
        ([10, 10, 90, 10], 10, 9, 70, [10, 10, 10]),  # padding included
        ([10, 10, 90, 10], 10, 9, 400, [10, 10, 10, 90]),
        ([500, 500], 4, 9, 10, [500]),  # one, however little room there is
    ],
)
def test_a_batch_is_of_like_lengths_within_its_room(
    lengths: list[int], answer: int, most: int, room: int, chosen: list[int]
) -> None:
    assert lengths_of(choose(waiting(*lengths, most=answer), most=most, room=room)) == chosen
