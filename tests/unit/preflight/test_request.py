"""The execution input: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import InvalidInput
from preflight.request import Request, parse
from preflight.texts import personal_data

# JSON can name half of a surrogate pair: a text that neither a file nor a service can hold.
LONE = "\ud800"


def refusal_of(execution_input: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse(execution_input)
    return str(refused.value)


def test_an_empty_input_uses_every_default() -> None:
    assert parse({}) == Request()


def test_every_key_is_taken() -> None:
    asked = parse(
        {"corpus": "corpora/a.txt", "heldOut": "corpora/b.txt", "prompts": "corpora/c.jsonl", "epochs": 50, "seed": 0,
         "keepEndpointMinutes": 240, "samplesPerPrompt": 8, "heldOutside": "corpora/d.jsonl"}
    )  # fmt: skip
    assert asked == Request(
        "corpora/a.txt", "corpora/b.txt", "corpora/c.jsonl", 50, 0, 8, 240, held_outside="corpora/d.jsonl"
    )


@pytest.mark.parametrize("given", [[], "text", 3, None, True])
def test_an_input_that_is_no_object_is_refused(given: Any) -> None:
    assert "must be a JSON object such as {}" in refusal_of(given)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("epoch", "epochs"),
        ("held_out", "heldOut"),
        ("Corpus", "corpus"),
        ("keep-endpoint-minutes", "keepEndpointMinutes"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(key: str, meant: str) -> None:
    assert f"unknown key `{key}` (did you mean `{meant}`?)" in refusal_of({key: 1})


def test_an_unknown_key_that_is_near_to_nothing_is_answered_with_all_known_ones() -> None:
    message = refusal_of({"zzz": 1})
    assert (
        "known: corpus, heldOut, heldOutside, prompts, epochs, seed, keepEndpointMinutes, samplesPerPrompt" in message
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 0), ("epochs", 51), ("seed", -1), ("seed", 2**31), ("keepEndpointMinutes", 241),
     ("samplesPerPrompt", 9), ("epochs", True), ("seed", False), ("epochs", "3"), ("epochs", 2.5), ("epochs", None)],
)  # fmt: skip
def test_a_number_out_of_range_or_of_another_kind_is_refused(key: str, value: Any) -> None:
    assert f"`{key}` must be a whole number from" in refusal_of({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("corpus", "mine.txt"), ("corpus", "corpora/mine.pdf"), ("corpus", 7), ("corpus", None), ("prompts", "corpora/p.txt"),
     ("corpus", "s3://bucket/corpora/mine.txt"), ("corpus", "corpora/" + "x" * 1100 + ".txt")],
)  # fmt: skip
def test_a_file_is_named_by_its_key_under_corpora(key: str, value: Any) -> None:
    assert f"`{key}` must be the key of a" in refusal_of({key: value})


def test_held_out_text_without_a_corpus_of_its_own_is_refused() -> None:
    assert "`heldOut` belongs to a corpus of your own" in refusal_of({"heldOut": "corpora/b.txt"})


def test_several_seeds_are_taken_in_their_order() -> None:
    assert parse({"seeds": [7, 0, 2147483647]}).seeds == (7, 0, 2147483647)
    assert parse({"seeds": [2, 1], "smoke": False}).seeds == (2, 1)
    assert parse({"seeds": [1, 2, 3, 4, 5]}).seeds == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "seeds",
    [[1], [], [1, 2, 3, 4, 5, 6], [1, 1], [1, -1], [1, 2**31], [1, True], [1, "2"], [1, 2.0], [1, [2]], 7, "1,2", None,
     {"1": 2}, [LONE, LONE]],
)  # fmt: skip
def test_seeds_are_two_to_five_different_whole_numbers(seeds: Any) -> None:
    message = refusal_of({"seeds": seeds})
    assert "`seeds` must be 2 to 5 different whole numbers from 0 to 2147483647 such as [1, 2, 3], not " in message
    assert "for a single one give `seed`" in message


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 0), ("smoke", True), ("adapterUri", "s3://bucket/runs/a/training/b/output/model/")]
)
def test_seeds_stand_beside_nothing_that_says_otherwise(key: str, value: Any) -> None:
    message = refusal_of({"seeds": [1, 2], key: value})
    assert f"`seeds` cannot stand beside `{key}`" in message
    assert "leave one of them out" in message


def test_all_faults_are_told_at_once() -> None:
    message = refusal_of({"epochs": 0, "sed": 4, "corpus": "x"})
    assert all(part in message for part in ("`epochs`", "did you mean `seed`?", "`corpus` must be"))


def test_a_refusal_stays_readable_however_large_the_input_is() -> None:
    junk = {f"{number}" * 50: "y" * 1000 for number in range(300)} | {"corpus": "z" * 200_000}
    message = refusal_of(junk)
    assert len(message) < 3000
    assert "and 293 more" in message


@pytest.mark.parametrize(
    "given",
    [
        {LONE: 1},
        {"corpus": f"corpora/{LONE}.txt"},
        {"corpus": "corpora/a.txt", "heldOut": f"corpora/{LONE}.txt"},
        {"prompts": f"corpora/{LONE}.jsonl"},
        {"adapterUri": f"s3://bucket/runs/{LONE}/training/job/output/model/"},
        {"epochs": LONE},
        {"smoke": LONE},
        {"seed": {LONE: [LONE]}},
    ],
)
def test_half_a_surrogate_pair_is_a_named_error_that_can_be_written(given: dict[str, Any]) -> None:
    assert r"\ud800" in refusal_of(given)
    refusal_of(given).encode()


@pytest.mark.parametrize(
    "given",
    [
        {"corpus": "jane.doe@example.org.txt"}, {"jane.doe@example.org": 1}, {"epochs": "Jane Döe, 03/05/1961"},
        {"corpus": "corpora/a.csv", "columns": {"group": ["jane.doe@example.org"]}},
        {"adapterUri": f"s3://{'b' * 90}/jane.doe@example.org/"},
    ],
)  # fmt: skip
def test_what_looks_like_data_of_a_person_is_not_repeated(given: dict[str, Any]) -> None:
    message = refusal_of(given)
    assert personal_data.NOT_SHOWN in message
    assert not [word for word in ("jane", "Jane", "1961", "bbbb") if word in message]


def test_a_whole_surrogate_pair_is_a_character_like_any_other() -> None:
    assert parse({"corpus": "corpora/\U0001f600.txt"}).corpus == "corpora/\U0001f600.txt"


@pytest.mark.parametrize(("characters", "taken"), [(1024 - 12, True), (1024 - 11, False)])
def test_a_key_may_be_as_long_as_a_key_of_s3(characters: int, taken: bool) -> None:
    key = f"corpora/{'a' * characters}.txt"
    assert (parse({"corpus": key}).corpus == key) if taken else ("corpora/" in refusal_of({"corpus": key}))
