"""A small part of `make mutate-machines`: what it changes, how it judges, and that a reason cannot outlive its mutant."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from code_mutations.machines.expressions import mutations
from code_mutations.machines.judge import Check, Judge
from code_mutations.machines.mutants import mutants
from code_mutations.machines.reasons import Reason, read, stale
from code_mutations.machines.report import Result

WAIT = {"Type": "Wait", "Comment": "A while.", "Seconds": 30, "Output": {}, "Next": "Look"}
RETRY = [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 4}]
LOOK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:sns:publish",
    "Arguments": {"TopicArn": "${Topic}", "Open": True},
    "Retry": RETRY,
    "Catch": [{"ErrorEquals": ["A.B"], "Next": "End"}, {"ErrorEquals": ["States.ALL"], "Next": "Wait"}],
    "Next": "Choose",
}
CHOOSE = {"Type": "Choice", "Choices": [{"Condition": "{% $n > 2 %}", "Next": "End"}], "Default": "Wait"}
MACHINE = {
    "StartAt": "Wait",
    "States": {
        "Wait": WAIT,
        "Look": LOOK,
        "Choose": CHOOSE,
        "Again": LOOK | {"Next": "End"},
        "End": {"Type": "Succeed"},
    },
}


def machine() -> dict[str, Any]:
    return copy.deepcopy(MACHINE)


def texts(expression: str, is_condition: bool = False) -> set[str]:
    return {text for _, text in mutations(expression, {"a", "b"}, is_condition)}


class TestWhatIsChanged:
    @pytest.mark.parametrize(
        "name",
        [
            "Wait.Seconds: 30 → 31", "Wait.Seconds: 30 → 300", "Wait.Output dropped", "Wait.Next: Look → Wait",
            "Look.Retry dropped", "Look.Retry[0].MaxAttempts: 4 → 40", "Look.Catch[0] dropped (['A.B'])",
            "Look.Catch[1] before [0]", "Look.Catch[0].ErrorEquals[0]: A.B → Never.Heard", "Look.Arguments.Open: True → False",
            "Look.Catch[1].ErrorEquals[0]: States.ALL → States.TaskFailed", "Choose.Choices[0].Condition: always",
            "Choose.Choices[0].Condition: $n [> → >=] 2", "Choose.Default: Wait → End", "Look.Catch dropped",
        ],
    )  # fmt: skip
    def test_every_kind_of_line(self, name: str) -> None:
        assert f"m: {name}" in {mutant.name for mutant in mutants("m", machine())}

    def test_a_comment_and_what_aws_refuses_to_deploy_without_are_left_alone(self) -> None:
        names = " ".join(mutant.name for mutant in mutants("m", machine()))
        assert "Comment" not in names and "Next dropped" not in names and "Type" not in names

    def test_an_anchor_is_one_place_however_often_it_is_referred_to(self) -> None:
        names = [mutant.name for mutant in mutants("m", machine())]
        assert len(names) == len(set(names))
        assert not [name for name in names if "Again.Retry[0]" in name]
        assert "m: Again.Retry dropped" in names

    def test_each_mutant_changes_something_and_no_two_the_same(self) -> None:
        made = []
        for index in range(len(mutants("m", machine()))):
            changed = machine()
            mutants("m", changed)[index].apply()
            made.append(changed)
        assert MACHINE not in made
        assert all(made.count(one) == 1 for one in made)

    @pytest.mark.parametrize(
        ("expression", "changed"),
        [
            ("$a = 1 and $b < 3", {"$a != 1 and $b < 3", "$a = 1 or $b < 3", "$a = 1 and $b <= 3", "$a = 1 and $b < 30"}),
            ("$contains($a.text, /^x|y/)", {"$contains($a.text, /y/)", "$contains($a.text, /^x/)", "$contains($a.text, /x|y/)"}),
            ("$a > 0 ? 'yes' : $b", {"'yes'", "$b", "$a > 0 ? '' : $b", "$a > 0 ? 'yes' : $a"}),
            ("'at(' & ($a ? 'x' : 'y') & ')'", {"'at(' & ('x') & ')'", "'at(' & ('y') & ')'"}),
            ("$exists($a.b) and $a.b > 0", {"false = $exists($a.b) and $a.b > 0", "$exists($a.bX) and $a.b > 0"}),
            ("$substring($a, -1)", {"$substring($a, 1)"}),
        ],
    )  # fmt: skip
    def test_every_part_of_an_expression(self, expression: str, changed: set[str]) -> None:
        assert changed <= texts(expression)

    def test_a_guard_may_be_open_or_shut_for_ever(self) -> None:
        assert {"true", "false"} <= texts("$a > 2", is_condition=True)

    def test_an_expression_that_is_not_understood_is_not_passed_over(self) -> None:
        with pytest.raises(ValueError, match="not understood: ~>"):
            texts("$a ~> $b")


class TestTheJudge:
    @pytest.mark.slow
    def test_kills_a_planted_mutant_and_lets_an_equivalent_one_live(self) -> None:
        tried = machine()
        checks = [
            Check("the end is reached", lambda: "End" in tried["States"]),
            Check("half a minute", lambda: tried["States"]["Wait"]["Seconds"] == 30),
        ]
        verdicts = {one.mutant.name: one.noticed_by for one in Judge(checks, 2).judge(mutants("m", tried))}
        assert verdicts["m: Wait.Seconds: 30 → 31"] == "half a minute"
        assert verdicts["m: Wait.Output dropped"] is None
        assert tried == MACHINE  # each mutant is made in a process of its own

    def test_counts_a_mutant_that_brings_its_process_down_as_noticed(self) -> None:
        def fall() -> bool:
            raise MemoryError

        (verdict, *_) = Judge([Check("falls", fall)]).judge(mutants("m", machine())[:1])
        assert verdict.noticed_by == "the end of its process"


class TestTheReasons:
    def test_one_for_a_mutant_that_a_test_notices_and_one_for_none_are_errors(self) -> None:
        reasons = [Reason("m: a.*", "no matter"), Reason("m: gone", "no matter")]
        assert stale(reasons, ["m: ab"], ["m: ac"]) == [
            "a test notices m: ab, for which a reason is given",
            "no living mutant is called m: gone",
        ]

    def test_a_mutant_that_lives_without_one_has_to_be_mended(self) -> None:
        result = Result(["m: a", "m: b", "m: c"], {"m: a": "test"}, ["m: c"], [Reason("m: c", "why")], 1, 1.0)
        assert result.wrong == ["nothing at all notices m: c", "only the snapshot notices m: b"]
        assert "MEND  only the snapshot notices m: b" in result.text()

    def test_all_of_the_file_can_be_read_and_say_something(self) -> None:
        assert all(len(reason.reason) > 20 for reason in read())
