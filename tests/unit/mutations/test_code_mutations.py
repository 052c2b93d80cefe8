"""The tool that plants faults in the Lambdas' code: what it counts, what it lets live, and when it complains."""

from __future__ import annotations

import pytest

from code_mutations import reasons, table
from code_mutations.found import Found
from code_mutations.mutant import KILLED, SURVIVED, Mutant, lines_of
from code_mutations.named import NAMED, Fault
from code_mutations.parts import LAMBDAS, PARTS
from code_mutations.reasons import Reason

PLACE = "common/ledger/ledger.py Ledger.reserve"
ALIVE = Mutant(PLACE, "if room >= 0:", "if room > 0:", SURVIVED)
DEAD = Mutant(PLACE, "", "", KILLED)
REASON = Reason(PLACE, "if room >= 0:", ("if room > 0:",), "No reservation is of the whole cap.")


def test_every_part_has_code_and_tests() -> None:
    for part in PARTS.values():
        assert part.source_files() and part.test_files()
        assert all((LAMBDAS / name).is_file() for name in part.source_files())


class TestReasons:
    def test_a_survivor_without_a_reason_is_an_error(self) -> None:
        judgement = reasons.judge([ALIVE, DEAD], [], ["common/ledger/ledger.py"])

        assert (judgement.unexplained, judgement.holds) == ((ALIVE,), False)

    def test_a_survivor_with_a_reason_is_none(self) -> None:
        assert reasons.judge([ALIVE, DEAD], [REASON], ["common/ledger/ledger.py"]).holds

    def test_a_reason_for_what_was_killed_or_is_gone_is_an_error(self) -> None:
        judgement = reasons.judge([DEAD], [REASON], ["common/ledger/ledger.py"])

        assert judgement.stale == (f"{PLACE}: if room >= 0: -> if room > 0:",)
        assert not judgement.holds

    def test_reasons_of_parts_that_were_not_measured_are_not_judged(self) -> None:
        assert reasons.judge([], [REASON], ["common/pricing/costs.py"]).holds

    def test_of_a_sample_no_reason_is_stale(self) -> None:
        assert reasons.judge([DEAD], [REASON], ["common/ledger/ledger.py"], ["common/ledger/ledger.py"]).holds

    def test_a_reason_names_its_place_the_line_the_changes_and_why(self) -> None:
        text = (
            '[[survivor]]\nplace = "a.py f"\nline = "x = 1"\nbecomes = ["x = 2", "x = None"]\nwhy = "x is not read."\n'
        )

        assert reasons.read(text) == [Reason("a.py f", "x = 1", ("x = 2", "x = None"), "x is not read.")]

    @pytest.mark.parametrize("fault", ['why = ""', 'why = "y"\nmore = 1', 'why = "y"\n[[survivor]]\nplace = "a"'])
    def test_a_reason_that_says_nothing_is_refused(self, fault: str) -> None:
        with pytest.raises(ValueError, match="has place, line, becomes and why"):
            reasons.read(f'[[survivor]]\nplace = "a"\nline = "x"\nbecomes = ["z"]\n{fault}\n')

    def test_the_same_change_is_explained_once(self) -> None:
        one = '[[survivor]]\nplace = "a"\nline = "x"\nbecomes = ["z"]\nwhy = "y"\n'
        with pytest.raises(ValueError, match="given twice: a: z"):
            reasons.read(one + one)

    def test_the_reasons_that_are_kept_can_be_read(self) -> None:
        reasons.read(reasons.FILE.read_text("utf-8"))


class TestWording:
    @pytest.mark.parametrize("after", ['"XXWait for the end.XX"', '"wait for the end."', '"WAIT FOR THE END."'])
    def test_the_letters_of_a_sentence_are_wording(self, after: str) -> None:
        assert Mutant("a.py f", 'raise Late("Wait for the end.")', f"raise Late({after})", SURVIVED).is_wording

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('item["settled_at"]', 'item["SETTLED_AT"]'),
            ('if code == "None":', 'if code == "none":'),
            ('{"state": "reserved"}', '{"state": "XXreservedXX"}'),
            ("months = 1", "months = 2"),
            ("return True", "return False"),
            ('f"{a} and {b} or not"', 'f"{a} and {c} or not"'),
        ],
    )
    def test_a_key_a_status_and_code_are_not(self, before: str, after: str) -> None:
        assert not Mutant("a.py f", before, after, SURVIVED).is_wording


def test_the_lines_of_a_diff_lose_their_signs_and_indents() -> None:
    diff = ["--- a", "+++ b", "@@ -1 +1 @@", " def f():", "-    return -1", "+    return +1"]

    assert (lines_of(diff, "-"), lines_of(diff, "+")) == ("return -1", "return +1")


def test_the_table_counts_and_names_what_lives() -> None:
    printed = table.text(
        {"ledger": Found([DEAD, DEAD, DEAD, ALIVE], False)}, [], reasons.judge([ALIVE], [], ["common/ledger/ledger.py"])
    )

    assert "ledger         4       3   75.0%         1                0" in printed
    assert printed.endswith(f"Survivors without a reason:\n  {PLACE}\n    - if room >= 0:\n    + if room > 0:")


def test_what_was_not_made_was_not_killed() -> None:
    assert table.share([]) == 0.0


@pytest.mark.parametrize("fault", NAMED, ids=lambda fault: fault.title)
def test_what_a_review_planted_can_still_be_planted(fault: Fault) -> None:
    assert fault.file in [name for part in PARTS.values() for name in part.source_files()]
    assert (LAMBDAS / fault.file).read_text("utf-8").count(fault.before) == 1
