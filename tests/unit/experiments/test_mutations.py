"""Mutations: what is changed in a state machine, how a change is judged, and that a reason can't outlive its change."""

from pathlib import Path
from typing import Any

import pytest
import typer

from verification import mutations
from verification.money_mutations import command, fault, is_code, judge
from verification.mutations import NOT_NOTICED, Walk, expression_changes, report

LOOK = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:sns:publish",
    "Arguments": {"TopicArn": "${Topic}", "Open": True},
    "Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 4}],
    "Catch": [{"ErrorEquals": ["A.B"], "Next": "End"}, {"ErrorEquals": ["States.ALL"], "Next": "Wait"}],
    "Next": "Choose",
}
MACHINE: dict[str, Any] = {
    "StartAt": "Wait",
    "States": {
        "Wait": {"Type": "Wait", "Comment": "A while.", "Seconds": 30, "Output": {}, "Next": "Look"},
        "Look": LOOK,
        "Choose": {"Type": "Choice", "Choices": [{"Condition": "{% $n > 2 %}", "Next": "End"}], "Default": "Wait"},
        "Again": LOOK | {"Next": "End"},
        "End": {"Type": "Succeed"},
    },
}


def changes(machine: dict[str, Any]) -> dict[str, Any]:
    made = list(Walk(machine).changes(machine, "m: ", {}))
    assert len(made) == len(dict(made)), "each has a name of its own"
    return dict(made)


def test_every_kind_of_line_is_changed() -> None:
    made = changes(MACHINE)
    assert made.keys() >= {
        f"m: {name}" for name in (
        "Wait.Seconds: 30 → 31", "Wait.Next: Look → Wait", "Look.Retry dropped",
        "Look.Retry[0].MaxAttempts: 4 → 40", "Look.Catch[0] dropped", "Look.Catch[1] before [0]",
        "Look.Catch[0].ErrorEquals[0]: A.B → Never.Heard", "Look.Arguments.Open: True → False",
        "Look.Catch[1].ErrorEquals[0]: States.ALL → States.TaskFailed", "Choose.Choices[0].Condition: always",
        "Choose.Choices[0].Condition: $n [> → >=] 2", "Choose.Default: Wait → End", "Again.Retry dropped",
    )}  # fmt: skip
    assert not [one for one in made if "Comment" in one or "Next dropped" in one], (
        "Step Functions rejects such a machine"
    )


@pytest.mark.parametrize(
    ("expression", "changed"),
    [
        ("$a = 'x' and $b < 3", {"$a != 'x' and $b < 3", "$a = 'x' or $b < 3", "$a = 'x' and $b <= 3", "$a = 'x' and $b < 30"}),
        ("$contains($a.text, /^x|y/)", {"$contains($a.text, /x|y/)", "$contains($a.text, /^x/)", "$contains($a.text, /y/)"}),
        ("$a > 0 ? 'yes' : $b", {"$a > 0 or true ? 'yes' : $b", "$a > 0 and false ? 'yes' : $b"}),
        ("$exists($a.b)", {"false = $exists($a.b)"}),
        ("$substring($a, -1)", {"$substring($a, 0)", "$substring($a, -2)"}),
    ],
)  # fmt: skip
def test_every_part_of_an_expression_is_changed(expression: str, changed: set[str]) -> None:
    assert changed <= {text for _, text in expression_changes(expression, is_condition=False)}


@pytest.mark.slow
def test_judge_finds_which_test_notices_a_change(tmp_path: Path) -> None:
    tried = {"States": {"Wait": {"Type": "Wait", "Seconds": 30, "QueryLanguage": "JSONata"}}}
    (tmp_path / "test_wait.py").write_text(
        "def test_half_a_minute(tried):\n    assert tried['Wait']['Seconds'] == 30\n"
    )
    one = mutations.Judge(list(changes(tried).items()))

    class Given:
        @pytest.fixture
        def tried(self) -> dict[str, Any]:
            return tried["States"]

    pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)], plugins=[one, Given()])
    assert one.found["m: Wait.Seconds: 30 → 31"].endswith("test_half_a_minute")
    assert one.found["m: Wait.QueryLanguage dropped"] == NOT_NOTICED
    assert tried["States"]["Wait"]["Seconds"] == 30, "each change is made in a process of its own"


def test_unnoticed_change_needs_a_reason_and_a_reason_a_change() -> None:
    found = {"m: a": "test", "m: b": NOT_NOTICED}
    assert report("it", found, {"m: b": "why"})[1]
    assert report("it", found, {}) == (
        "2 changes of it, 1 of them noticed by a test: 50.0%\nFIX  no test notices m: b",
        False,
    )
    assert not report("it", found, {"m: b": "why", "m: a": "why"})[1]


SHOWN = """# common.ledger.ledger.xǁLedgerǁreserve__mutmut_7: survived
--- src/common/ledger/ledger.py
+++ src/common/ledger/ledger.py
@@ -1,2 +1,2 @@
 def reserve(self):
-    if room >= 0:
+    if room > 0:
"""
PLACE = "common.ledger.ledger.Ledger.reserve"
FAULT = f"{PLACE}: if room >= 0: → if room > 0:"
REASON = {"place": PLACE, "line": "if room >= 0:", "becomes": ["if room > 0:"], "why": "No run reserves the whole cap."}


def test_fault_is_named_by_its_function_and_its_lines() -> None:
    assert fault(SHOWN) == FAULT
    assert fault("# settle.billing.x_bill__mutmut_2: survived\n").startswith("settle.billing.bill: ")


@pytest.mark.parametrize(
    ("killed", "unnoticed", "reasons", "right"),
    [
        (20, [FAULT], [REASON], True), (20, [FAULT], [], False), (20, [], [REASON], False), (18, [FAULT], [REASON], False),
        (20, [FAULT], [REASON, {**REASON, "place": "common.ledger.ledger.gone"}], False),
    ],
)  # fmt: skip
def test_unnoticed_faults_need_a_reason(killed: int, unnoticed: list[Any], reasons: list[Any], right: bool) -> None:
    statuses = {f"common.ledger.ledger.xǁLedgerǁreserve__mutmut_{n}": "killed" for n in range(killed)}
    statuses |= {"common.ledger.ledger.xǁLedgerǁreserve__mutmut_99": "survived"}
    assert judge(statuses, unnoticed, reasons)[1] is right


def test_reason_for_a_function_that_was_not_tried_is_no_mistake() -> None:
    statuses = {"settle.billing.x_bill__mutmut_1": "killed"}
    assert judge(statuses, [], [REASON], all_tried=False)[1]
    assert not judge(statuses, [], [REASON])[1]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("common.pricing", True), ("settle.billing.x_bill__mutmut_2", True), ("common.ledger.ledger.xǁLedgerǁreserve*", True),
        ("*", True), ("nosuch", False), ("preflight.corpus", False), ("common.pricing.prices", False),
    ],
)  # fmt: skip
def test_fault_is_chosen_by_a_module_that_is_changed(name: str, right: bool) -> None:
    assert is_code(name) is right


def test_name_of_no_fault_is_an_error_before_anything_runs() -> None:
    with pytest.raises(typer.BadParameter, match="no fault is called nosuch"):
        command(["nosuch"])
