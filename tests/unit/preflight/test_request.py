"""The execution input: what is taken, and what is refused with its fault and the fix."""

from typing import Any

import pytest

from common.errors import InvalidInput
from preflight.request import Request, parse
from preflight.texts import personal_data

ADAPTER = "s3://bucket/runs/a/training/b/output/model/"
SERVING = {"adapterUri": ADAPTER, "serveOnly": True, "keepEndpointMinutes": 60}
# JSON can name half of a surrogate pair: a text that neither a file nor a service can hold.
LONE = "\ud800"
LONGEST_KEY = f"corpora/{'a' * (1024 - 12)}.txt"
REFUSED: list[tuple[Any, str]] = [
    ([], "not a JSON object. Start an execution with {}"),
    ({"comment": "x"}, "unknown key `comment`"),
    ({"epoch": 1}, "unknown key `epoch` (did you mean `epochs`?)"),
    ({"zzz": 1}, "known: corpus, heldOut, columns, heldOutside, prompts, smoke"),
    *(({"epochs": value}, "`epochs` must be a whole number from 1 to 50") for value in (0, True, "3", 2.5, None)),
    *(({"corpus": value}, "`corpus` must be the key of a .txt") for value in ("mine.txt", "corpora/mine.pdf", 7, None)),
    ({"corpus": LONGEST_KEY.replace("/", "/a")}, "`corpus` must be the key of a"),
    ({"prompts": "corpora/p.txt"}, "`prompts` must be the key of a .jsonl file"),
    *(({"heldOutside": value}, "`heldOutside` must be the key of a") for value in ("o.jsonl", "corpora/o.pdf", 7, "")),
    ({"heldOut": "corpora/b.txt"}, "`heldOut` needs your own corpus"),
    ({"corpus": "corpora/a.txt", "columns": {"prompt": "x"}}, "`columns` needs a corpus with columns"),
    ({"corpus": "corpora/a.csv", "columns": ["x"]}, "`columns` must map names to the columns"),
    ({"corpus": "corpora/a.csv", "columns": {"prompt": "completion"}}, "`columns` maps two names to one column"),
    *(({key: 1}, f"`{key}` must be true or false") for key in ("smoke", "spot", "serveOnly")),
    *(({"smoke": value}, "`smoke` must be true or false") for value in ("true", None)),
    *(
        ({"adapterUri": value}, "s3://BUCKET/runs/RUN/training/JOB/output/model/")
        for value in ("", 5, None, ADAPTER.removeprefix("s3://bucket/"), "s3://bucket/runs/a/report/")
    ),
    ({"serveOnly": True, "keepEndpointMinutes": 60}, "`serveOnly` needs `adapterUri`"),
    *(({**SERVING, "keepEndpointMinutes": value}, "`serveOnly` needs `keepEndpointMinutes`") for value in (0, None)),
    *(
        ({**SERVING, key: value}, f"`{key}` has no effect with `serveOnly`")
        for key, value in {"corpus": "corpora/a.txt", "smoke": True, "seed": 1, "samplesPerPrompt": 0}.items()
    ),
    *(
        ({"adapterUri": ADAPTER, key: value}, f"`{key}`")
        for key, value in {"epochs": 2, "spot": True, "heldOutside": "corpora/o.jsonl"}.items()
    ),
]
WITH_PERSONAL_DATA: list[dict[str, Any]] = [
    {"corpus": "jane.doe@example.org.txt"},
    {"epochs": "Jane Döe, 03/05/1961"},
    {"corpus": "corpora/a.csv", "columns": {"group": ["jane.doe@example.org"]}},
    {"adapterUri": f"s3://{'b' * 90}/jane.doe@example.org/"},
]


def refusal_of(given: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse(given)
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "request_"),
    [
        ({}, Request()),
        ({"Comment": "Insert your JSON here"}, Request()),
        ({"Comment": "Insert your JSON here", "smoke": True}, Request(smoke=True)),
        ({"corpus": "corpora/a.txt", "heldOut": "corpora/b.txt"}, Request("corpora/a.txt", "corpora/b.txt")),
        ({"prompts": "corpora/c.jsonl", "epochs": 50}, Request(prompts="corpora/c.jsonl", epochs=50)),
        ({"keepEndpointMinutes": 240, "samplesPerPrompt": 8}, Request(keep_endpoint_minutes=240, samples_per_prompt=8)),
        ({"seed": 2**31 - 1, "smoke": False}, Request(seed=2**31 - 1)),
        ({"adapterUri": ADAPTER[:-1]}, Request(adapter_uri=ADAPTER)),
        ({"corpus": LONGEST_KEY}, Request(LONGEST_KEY)),
        (SERVING, Request(adapter_uri=ADAPTER, serve_only=True, keep_endpoint_minutes=60)),
        ({"serveOnly": False, "smoke": True}, Request(smoke=True)),
    ],
)
def test_valid_input_is_taken(given: dict[str, Any], request_: Request) -> None:
    assert parse(given) == request_


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_invalid_input_is_rejected_with_its_fault(given: Any, words: str) -> None:
    assert words in refusal_of(given)


def test_a_rejection_counts_all_faults_and_stays_short_however_large_the_input_is() -> None:
    message = refusal_of({f"{number}" * 50: "y" * 1000 for number in range(300)} | {"corpus": "z" * 200_000})
    assert len(message) < 3000
    assert "and 293 more" in message


@pytest.mark.parametrize("given", [{LONE: 1}, {"corpus": f"corpora/{LONE}.txt"}, {"seed": {LONE: [LONE]}}])
def test_half_a_surrogate_pair_is_rejected_in_writable_text(given: dict[str, Any]) -> None:
    assert r"\ud800" in refusal_of(given)
    refusal_of(given).encode()


@pytest.mark.parametrize("given", WITH_PERSONAL_DATA)
def test_personal_data_is_not_repeated(given: dict[str, Any]) -> None:
    message = refusal_of(given)
    assert personal_data.NOT_SHOWN in message
    assert not [word for word in ("jane", "Jane", "1961", "bbbb") if word in message]
