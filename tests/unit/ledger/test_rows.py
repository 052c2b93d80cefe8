"""Which attributes of a ledger item are well formed, and which agree with each other."""

from typing import Any

import pytest

from common.ledger.rows import contradictions, faults
from tests.doubles.lambda_fakes import arn
from tests.doubles.ledger_fakes import DETAILS

NOON = "2026-11-24T12:00:00+00:00"
LONG = "x" * 50
LIFE = '"name": "captune-a", "createdAt": "2026-11-24T12:00:00Z"'
SETTLED: dict[str, Any] = {
    **DETAILS, "state": "settled", "execution_arn": arn("a"), "months": "2026-11,2026-12", "reserved_at": NOON, "settled_at": NOON,
    "actual_cents": 32, "actual_cents_2026-11": 30, "actual_cents_2026-12": 2,
}  # fmt: skip


def lives(life: str) -> str:
    return f'{{"lives": [{{{LIFE}}}, {{{life}}}]}}'


@pytest.mark.parametrize(
    "attributes",
    [
        SETTLED, {"state": "reserved"}, {"pk": "x", "note": LONG}, {"committed_cents": 0, "starts": 10**9},
        {"reserved_at": "2026-11-24T12:00:00"}, {"months": "2026-01"}, {"hosting_prices": "a=0.05 b=10 c=7.50"},
        {"endpoint_seen": "{}"}, {"endpoint_seen": f'{{"noneAt": "{NOON}"}}'}, {"endpoint_seen": lives(LIFE)},
        {"endpoint_seen": lives(f'{LIFE}, "goneAt": "{NOON}", "instanceType": "", "instanceCount": 2, "note": null')},
    ],
)  # fmt: skip
def test_a_well_formed_attribute_is_accepted(attributes: dict[str, Any]) -> None:
    assert faults(attributes) == []


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("training_instances", 0, "training_instances must be a whole number from 1 on, not 0"),
        ("reserved_cents", -1, "reserved_cents must be a whole number from 0 on, not -1"),
        ("starts", 10**9 + 1, "starts must be a whole number from 0 on, not 1000000001"),
        ("committed_cents", True, "committed_cents must be a whole number from 0 on, not True"),
        ("actual_cents_2026-11", LONG, f"actual_cents_2026-11 must be a whole number from 0 on, not {LONG[:40]}"),
        ("actual_cents_2026-13", 1, "actual_cents_2026-13 must end in a month such as 2026-11"),
        ("note", {"BOOL": True}, "note must be a text, not {'BOOL': True}"),
    ],
)  # fmt: skip
def test_a_fault_names_the_attribute_and_what_it_must_hold(name: str, value: Any, fault: str) -> None:
    assert faults({**SETTLED, name: value}) == [fault]


MALFORMED = {
    "state": ("`reserved` or `settled`", ["open", ""]),
    "months": ("2026-11,2026-12", [LONG, "2026-13", "٢٠٢٦-11", "2026-11, 2026-12"]),
    "execution_arn": ("arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME", ["arn"]),
    "reserved_at": (NOON, ["noon", "2026-02-29T12:00:00+00:00", "2026-11-24·12:00:00+00:00"]),
    "hosting_prices": ("ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222", ["cheap", "a=b=1", "a=0", "a=0.00 b=1", "a=1 b=0", "a=١", ""]),
    "endpoint_seen": ("{}", [
        "no", "[]", '{"noneAt": 1}', '{"noneAt": "noon"}', '{"lives": null}', '{"lives": ["name"]}', *map(lives, (
            "", '"name": "x"', f'"createdAt": "{NOON}"', '"name": "x", "createdAt": "noon"', f'"name": 1, "createdAt": "{NOON}"',
            f'{LIFE}, "goneAt": "noon"', f'{LIFE}, "instanceCount": "1"', f'{LIFE}, "instanceCount": true', f'{LIFE}, "instanceType": 1',
        )),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "example", "text"),
    [(name, example, text) for name, (example, texts) in MALFORMED.items() for text in texts],
)
def test_a_malformed_text_is_answered_with_an_example(name: str, example: str, text: str) -> None:
    assert faults({**SETTLED, name: text}) == [f"{name} must be written like {example}, not {text[:40]}"]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"state": "reserved", "actual_cents": 1}, []),
        ({"months": "2026-12,2026-11"}, []),
        ({"actual_cents": 31}, ["actual_cents must be 32, which its months add up to"]),
        ({"months": "2026-10,2026-12"}, ["months must hold 2026-11, the month of reserved_at"]),
        ({"reserved_at": "2026-12-01T03:00:00+05:00", "months": "2026-11"}, ["reserved_at must be written as 2026-11-30T22:00:00+00:00"]),
        ({"ends_by": "2026-11-24T12:00:00Z", "keep_until": "2026-11-24"},
         [f"ends_by must be written as {NOON}", "keep_until must be written as 2026-11-24T00:00:00+00:00"]),
    ],
)  # fmt: skip
def test_attributes_of_a_run_agree_with_each_other(changes: dict[str, Any], wrong: list[str]) -> None:
    assert contradictions({**SETTLED, **changes}) == wrong
