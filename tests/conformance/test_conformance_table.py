"""What the checks print, and the exit code that tells whether everything holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.conformance import parts
from verification.conformance.__main__ import check, exit_code, main
from verification.conformance.contract import Contract
from verification.conformance.environments import CannotRun
from verification.conformance.parts import Setting
from verification.conformance.table import text

GOOD = Contract("answers", 1200, "the real server 1.0", figures="98 % the same")
BAD = Contract("names", 3, "the parser", ("one is wrong", "another too"))
EMPTY = Contract("nothing", 0, "the void")
SETTING = Setting(Path("assembly"), None, lambda line: None)


def test_each_contract_has_its_count_its_counterpart_and_its_figures() -> None:
    printed = text([GOOD], {})

    assert "answers     1,200  holds   the real server 1.0\n    98 % the same" in printed
    assert "BROKEN" not in printed


def test_every_problem_of_a_broken_contract_is_printed() -> None:
    printed = text([GOOD, BAD], {})

    assert "BROKEN  one is wrong" in printed
    assert "BROKEN  another too" in printed


def test_of_many_problems_the_rest_is_counted() -> None:
    assert "and 5 more" in text([Contract("many", 1, "x", ("wrong",) * 25)], {})


def test_a_contract_that_compared_nothing_does_not_hold() -> None:
    assert not EMPTY.holds
    assert "nothing was compared" in text([EMPTY], {})
    assert exit_code([GOOD, EMPTY], {}, require=False) == 1


def test_a_part_that_cannot_run_is_named_with_its_reason() -> None:
    assert "serving: not run: no such wheel" in text([GOOD], {"serving": "no such wheel"})


@pytest.mark.parametrize(
    ("contracts", "not_run", "require", "code"),
    [
        ([GOOD], {}, False, 0),
        ([GOOD], {"serving": "why"}, False, 0),
        ([GOOD], {"serving": "why"}, True, 3),
        ([], {"serving": "why"}, False, 1),
        ([], {}, False, 1),
        ([GOOD, BAD], {}, False, 1),
        ([BAD], {"serving": "why"}, True, 1),
    ],
)
def test_only_what_was_checked_and_holds_gives_zero(
    contracts: list[Contract], not_run: dict[str, str], require: bool, code: int
) -> None:
    assert exit_code(contracts, not_run, require) == code


def _cannot(setting: Setting) -> list[Contract]:
    raise CannotRun("not on this system")


def _breaks(setting: Setting) -> list[Contract]:
    raise RuntimeError("out of luck")


def test_one_part_that_cannot_run_or_breaks_off_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, part in (("serving", _cannot), ("deploy", _breaks), ("expressions", lambda setting: [GOOD])):
        monkeypatch.setitem(parts.PARTS, name, part)

    contracts, not_run = check(["serving", "deploy", "expressions"], SETTING)

    assert not_run == {"serving": "not on this system"}
    assert [contract.holds for contract in contracts] == [False, True]
    assert contracts[0].problems == ("RuntimeError: out of luck",)


def test_a_part_that_does_not_exist_is_refused_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nowhere"])

    assert ended.value.code == 2
    assert "there is no part nowhere" in capsys.readouterr().err
