"""The exit code says whether everything that was checked holds, and one part's failure leaves the others alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.conformance.__main__ import check, exit_code
from verification.conformance.contract import Contract, Setting
from verification.conformance.programs import CannotRun

GOOD = Contract("answers", 1200, "the real server 1.0")
BAD = Contract("names", 3, "the parser", ("one is wrong", "another too"))
EMPTY = Contract("nothing", 0, "the void")


@pytest.mark.parametrize(
    ("contracts", "not_run", "require", "code"),
    [
        ([GOOD], {}, False, 0),
        ([GOOD], {"serving": "why"}, False, 0),
        ([GOOD], {"serving": "why"}, True, 3),
        ([], {"serving": "why"}, False, 1),
        ([], {}, False, 1),
        ([GOOD, BAD], {}, False, 1),
        ([GOOD, EMPTY], {}, False, 1),
        ([BAD], {"serving": "why"}, True, 1),
    ],
)
def test_only_what_was_checked_and_holds_exits_with_zero(
    contracts: list[Contract], not_run: dict[str, str], require: bool, code: int
) -> None:
    assert exit_code(contracts, not_run, require) == code


def test_a_part_that_breaks_off_leaves_the_others_alone() -> None:
    def cannot(_: Setting) -> list[Contract]:
        raise CannotRun("not on this system")

    def breaks(_: Setting) -> list[Contract]:
        raise RuntimeError("out of luck")

    parts = {"serving": cannot, "deploy": breaks, "expressions": lambda _: [GOOD]}

    contracts, not_run = check(parts, Setting(Path("assembly"), None, lambda line: None))

    assert not_run == {"serving": "not on this system"}
    assert [contract.holds for contract in contracts] == [False, True]
    assert contracts[0].problems == ("RuntimeError: out of luck",)
