"""The engine's answers are those of transformers and PEFT, whenever they join or leave the batch, and each is drawn by its own seed."""

import queue
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from rehearsal.sagemaker.real.server import batching, generation
from rehearsal.sagemaker.real.server.batching import ContinuousBatch, Ended, Row, Token
from rehearsal.sagemaker.real.server.contract import Sampling
from rehearsal.sagemaker.real.server.generation import Draw, number_format
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_models import Folders, References, endless_copy

pytestmark = pytest.mark.slow
torch.set_num_threads(1)  # with matrices this small, threads would only wait for each other
PROMPTS = [[0, 5, 9], [0, 44], [0, 3, 60, 61, 17, 8, 90], [0]]


@dataclass
class Submitted:
    row: Row
    news: queue.SimpleQueue[Token | Ended] = field(default_factory=queue.SimpleQueue)

    def next(self) -> Token | Ended:
        return self.news.get(timeout=PATIENCE_SECONDS)

    def rest(self) -> list[Token | Ended]:
        found = [self.next()]
        while not isinstance(found[-1], Ended):
            found.append(self.next())
        return found


def submit(engine: ContinuousBatch, prompt: list[int], most: int, **more: Any) -> Submitted:
    news: queue.SimpleQueue[Token | Ended] = queue.SimpleQueue()
    given = {"adapted": False, "sampling": Sampling(), **more}
    submitted = Submitted(Row(prompt, most=most, on_news=news.put, **given), news)
    engine.submit(submitted.row)
    return submitted


def answer(news: list[Token | Ended]) -> tuple[list[int], bool]:
    """The tokens before the one that ended the text, and whether there was one."""
    tokens = [one.id for one in news if isinstance(one, Token)]
    ended = news[-1] == Ended("stop")
    return tokens[:-1] if ended else tokens, ended


@pytest.fixture(scope="module")
def engine(folders: Folders) -> ContinuousBatch:
    return ContinuousBatch(*folders, "float32", 6)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> ContinuousBatch:
    return ContinuousBatch(endless_copy(folders[0], tmp_path_factory.mktemp("endless")), folders[1], "float32", 3)


def test_answers_that_join_at_any_token_are_those_of_transformers(folders: Folders, engine: ContinuousBatch) -> None:
    references = References(folders)
    wanted = [(prompt, most, adapted) for most in (3, 20, 9) for prompt in PROMPTS for adapted in (False, True)]
    submitted = []
    for prompt, most, adapted in wanted:
        submitted.append(submit(engine, prompt, most, adapted=adapted))
        submitted[-1].next()  # the ones before are under way, or have left
    for one, (prompt, most, adapted) in zip(submitted, wanted, strict=True):
        again = submit(engine, prompt, most, adapted=adapted)
        expected = references.tokens(prompt, most, adapted=adapted)
        assert answer(again.rest()) == expected
        assert one.rest()[-1] == Ended("stop" if expected[1] else "length")


def differing(some: list[list[Token | Ended]], others: list[list[Token | Ended]]) -> int:
    """How many answers differ. Sums of other batches are rounded otherwise, which moves a draw once in some ten thousand tokens."""
    return sum(one != other for one, other in zip(some, others, strict=True))


def test_a_sampled_answer_does_not_depend_on_the_others(engine: ContinuousBatch) -> None:
    def asked() -> list[Submitted]:
        return [
            submit(engine, prompt, 6 + seed, adapted=seed % 2 == 1, sampling=Sampling(0.8, 0.9, seed))
            for seed, prompt in enumerate(PROMPTS * 2)
        ]

    together = [one.rest() for one in asked()]
    alone = [
        submit(engine, prompt, 6 + seed, adapted=seed % 2 == 1, sampling=Sampling(0.8, 0.9, seed)).rest()
        for seed, prompt in enumerate(PROMPTS * 2)
    ]
    assert differing(together, alone) <= 2


def test_a_short_answer_does_not_wait_for_a_long_one(patient: ContinuousBatch) -> None:
    long = submit(patient, PROMPTS[0], 250)
    long.next()
    for _ in range(5):
        assert len(submit(patient, PROMPTS[1], 4).rest()) == 5
    assert long.row.count < 250
    assert len(long.rest()) == 250


def test_a_long_prompt_is_read_between_other_tokens(patient: ContinuousBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "READ_AT_ONCE", 16)
    long = submit(patient, PROMPTS[0], 250)
    long.next()
    before = long.row.count
    prompt = [3, *([7] * 200)]
    reading = submit(patient, prompt, 3)
    first = reading.next()
    assert long.row.count - before >= 10, "thirteen parts were read, and a token told after each"
    whole = submit(patient, prompt, 3)
    assert [first, *reading.rest()] == whole.rest()
    long.row.left = True


def test_an_answer_whose_client_left_ends_at_the_next_token(patient: ContinuousBatch) -> None:
    leaving = [submit(patient, PROMPTS[0], 250) for _ in range(6)]  # three of them wait
    leaving[0].next()
    for one in leaving:
        one.row.left = True
    submit(patient, PROMPTS[1], 8).rest()
    told = [one.row.count for one in leaving]
    submit(patient, PROMPTS[1], 8).rest()
    assert [one.row.count for one in leaving] == told and max(told) < 250 and told[3:] == [0, 0, 0]


@pytest.mark.parametrize(
    ("lengths", "most", "room", "begun"),
    [
        ([50, 3, 48, 4], 3, 10_000, [50, 3, 48]),  # those that have waited longest
        ([10, 10, 90, 10], 9, 60, [10, 10]),  # of 14 tokens each, with their answers; the next one waits for its room
        ([500, 500], 9, 10, [500]),  # one, however little room there is
    ],
)
def test_rows_begin_in_their_order_within_the_room(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, lengths: list[int], most: int, room: int, begun: list[int]
) -> None:
    monkeypatch.setattr(ContinuousBatch, "_loop", lambda self: None)  # nothing is read but what is asked for here
    engine = ContinuousBatch(*folders, "float32", most)
    engine.room = room
    for length in lengths:
        submit(engine, [7] * length, 4)
    engine._admit()
    assert [len(row.prompt) for row in engine._reading] == begun
    assert [len(row.prompt) for row in engine._waiting] == lengths[len(begun) :]


def test_a_sampled_answer_as_deployed_does_not_depend_on_its_batch(folders: Folders) -> None:
    engine = ContinuousBatch(*folders, "bfloat16", 40)  # the template's format
    wanted = [([*range(1, 2 + number % 23)], number % 2 == 1, Sampling(0.8, 0.9, number)) for number in range(36)]

    def asked(several: list[tuple[list[int], bool, Sampling]]) -> list[list[Token | Ended]]:
        rows = [submit(engine, prompt, 12, adapted=adapted, sampling=how) for prompt, adapted, how in several]
        return [row.rest() for row in rows]

    together, turned = asked(wanted), asked(wanted[::-1])[::-1]
    alone = [asked([one])[0] for one in wanted]
    assert differing(together, turned) <= 3 and differing(together, alone) <= 3


def test_a_row_that_fails_takes_no_other_with_it(patient: ContinuousBatch) -> None:
    good = submit(patient, PROMPTS[0], 40)
    good.next()
    (failed,) = submit(patient, [1, 10**6], 4).rest()
    assert isinstance(failed, Ended) and "index" in failed.error.lower()
    assert len(good.rest()) == 40


def test_prompts_are_scored_as_transformers_scores_them(folders: Folders, engine: ContinuousBatch) -> None:
    references, prompt = References(folders), PROMPTS[2]
    for adapted in (False, True):
        one, other = (submit(engine, tokens, 1, adapted=adapted, top=2, scored=True) for tokens in (prompt, PROMPTS[0]))
        one.rest(), other.rest()
        chances = torch.log_softmax(references.logits(prompt, adapted=adapted).float(), dim=-1)
        assert [token.id for token in one.row.scores] == prompt and one.row.scores[0].logprob is None
        for place, token in enumerate(one.row.scores[1:]):
            assert token.logprob == pytest.approx(float(chances[place, token.id]), abs=1e-4)
            best = torch.topk(chances[place], 2)
            assert [word for word, _ in token.top] == best.indices.tolist()
        assert [token.id for token in other.row.scores] == PROMPTS[0]


@pytest.mark.parametrize(
    ("asked", "size", "expected"),
    [
        ("auto", 1, torch.float32),
        ("bfloat16", 1, torch.float32),
        ("bfloat16", 1 << 50, torch.bfloat16),  # 32 bits would not fit the machine
        ("float32", 1 << 50, torch.float32),
    ],
)
def test_weights_are_held_in_32_bits_unless_they_do_not_fit(asked: str, size: int, expected: torch.dtype) -> None:
    assert number_format(asked, size) is expected
    with pytest.raises(ValueError, match="SM_VLLM_DTYPE=float8"):
        number_format("float8", size)


def test_weights_stay_in_16_bits_in_memory(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "number_format", lambda asked, size: torch.bfloat16)
    engine = ContinuousBatch(*folders, "bfloat16", 1)
    assert {parameter.dtype for parameter in engine.model.parameters()} == {torch.bfloat16}
    assert submit(engine, [0, 5], 4, adapted=True).rest()[-1] in (Ended("stop"), Ended("length"))


def drawn(logits: torch.Tensor, *rows: Sampling) -> list[int]:
    return [Draw(row).token(logits) for row in rows]


def test_draws_follow_the_probabilities_within_the_top_p() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    for temperature, share in ((1.0, 0.5 / 0.8), (0.5, 0.25 / 0.34)):  # a lower one makes the likely likelier
        tokens = drawn(logits, *(Sampling(temperature, 0.79, seed) for seed in range(4000)))
        assert set(tokens) == {0, 1}
        assert abs(tokens.count(0) / 4000 - share) < 0.03


def test_a_seed_draws_the_same_from_all_of_a_flat_vocabulary_and_none_draws_again() -> None:
    logits = torch.zeros(5000)
    for seed in (0, -5, 1 << 70):
        assert drawn(logits, Sampling(1.0, 1.0, seed)) == drawn(logits, Sampling(1.0, 1.0, seed))
    assert len(set(drawn(logits, *(Sampling(1.0, 1.0, seed) for seed in range(300))))) > 250
    assert len(set(drawn(logits, *(Sampling(1.0) for _ in range(20))))) > 10
