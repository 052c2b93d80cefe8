"""The model server's answers are those of transformers and PEFT, whatever else is in the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from rehearsal.sagemaker.real.server import generation
from rehearsal.sagemaker.real.server.generation import Generator, number_format
from rehearsal.sagemaker.real.server.queueing import Request
from rehearsal.sagemaker.real.server.sampling import Sampling
from tests.doubles.rehearsal.sagemaker_models import WORDS, make_model, reference

pytestmark = pytest.mark.slow


PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]
END = 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    make_model(base, adapter)
    return base, adapter


@pytest.fixture(scope="module")
def generator(folders: tuple[Path, Path]) -> Generator:
    return Generator(*folders, dtype="float32")


def _up_to_the_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END)] if END in tokens else tokens


def test_greedy_answers_of_both_models_in_one_batch_are_those_of_transformers(
    folders: tuple[Path, Path], generator: Generator
) -> None:
    batch = [Request(prompt, adapted, 20) for prompt in PROMPTS for adapted in (False, True)]
    generator.answer(batch)
    expected = [reference(folders, prompt, 20, adapted=adapted) for prompt in PROMPTS for adapted in (False, True)]
    assert [request.tokens for request in batch] == [_up_to_the_end(tokens) for tokens in expected]
    assert [request.ended for request in batch] == [END in tokens for tokens in expected]
    assert all(base.tokens != tuned.tokens for base, tuned in zip(batch[::2], batch[1::2], strict=True))


def test_a_sampled_answer_does_not_depend_on_what_else_is_asked(generator: Generator) -> None:
    def asked() -> list[Request]:
        return [
            Request(prompt, seed % 2 == 1, 6 + seed % 20, Sampling(0.8 * (seed % 3 > 0), 0.9, seed))
            for seed, prompt in enumerate(PROMPTS * 6)
        ]

    together, alone = asked(), asked()
    generator.answer(together)
    for request in alone:
        generator.answer([request])
    assert [request.tokens for request in together] == [request.tokens for request in alone]
    assert len({tuple(request.tokens) for request in alone}) > 12


def test_twins_share_their_weights_and_answer_at_the_same_time(generator: Generator) -> None:
    twin = generator.twin()
    ours, theirs = generator._model.parameters(), twin._model.parameters()
    assert all(one.data_ptr() == other.data_ptr() for one, other in zip(ours, theirs, strict=True))
    expected = [Request(prompt, adapted, 30) for prompt in PROMPTS for adapted in (False, True)]
    generator.answer(expected)
    # Batches of different size and order: rows that one marks for the adapter must not reach the other.
    mixed, base = (
        [Request(r.prompt, r.adapted, 30) for r in expected],
        [Request(r.prompt, False, 30) for r in expected[:5]],
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda work: work[0].answer(work[1]), [(generator, mixed), (twin, base)]))
    assert [request.tokens for request in mixed] == [request.tokens for request in expected]
    assert [request.tokens for request in base[::2]] == [request.tokens for request in expected[:5:2]]


def test_each_row_has_its_own_number_of_tokens(generator: Generator) -> None:
    batch = [Request([0, 44], False, count) for count in (1, 3, 7)]
    generator.answer(batch)
    whole = batch[-1].tokens
    assert [request.tokens for request in batch] == [whole[:1], whole[:3], whole[:7]]


def test_a_server_without_an_adapter_answers_as_the_base_model(
    folders: tuple[Path, Path], generator: Generator
) -> None:
    plain, mixed = Request([0, 5, 9], False, 12), Request([0, 5, 9], False, 12)
    Generator(folders[0], None, "float32").answer([plain])
    generator.answer([mixed, Request([0, 44], True, 12)])
    assert plain.tokens == mixed.tokens


def test_a_token_that_the_model_lacks_fails_its_batch(generator: Generator) -> None:
    with pytest.raises(IndexError):
        generator.answer([Request([WORDS + 5], False, 4)])


def test_the_settings_in_the_models_own_folder_do_not_count(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for file in folders[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    (tmp_path / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 5.0, "max_length": 4, "repetition_penalty": 9.0, "eos_token_id": [1, 2]}'
    )
    own, plain = Request([0, 44], False, 12), Request([0, 44], False, 12)
    Generator(tmp_path, None, "float32").answer([own])
    Generator(folders[0], None, "float32").answer([plain])
    assert own.tokens == plain.tokens


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


def test_another_number_format_is_refused() -> None:
    with pytest.raises(ValueError, match="SM_VLLM_DTYPE=float8"):
        number_format("float8", 1)


def test_weights_stay_in_16_bits_in_memory(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "bfloat16_is_faster", lambda: True)
    generator = Generator(*folders, dtype="bfloat16")
    assert {parameter.dtype for parameter in generator._model.parameters()} == {torch.bfloat16}
    request = Request([0, 5], True, 4)
    generator.answer([request])
    assert request.tokens
