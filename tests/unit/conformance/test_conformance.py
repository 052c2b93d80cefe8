"""What the exit code says, that each planted fault is reached, how two trainings are compared, and how Step Functions is asked by TestState."""

import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from rehearsal import programs
from rehearsal.programs import PROJECT, CannotRun, StepFailed
from stacks import assembly as rehearsed_assembly
from tests.doubles import PATIENCE_SECONDS
from verification.conformance.__main__ import PARTS, check, exit_code
from verification.conformance.contracts import PLANTS, Contract, Setting, table
from verification.conformance.expressions import on_aws
from verification.conformance.expressions.evaluations import Evaluation
from verification.conformance.training_image import compare

GOOD = Contract("answers", 1200, "the real server 1.0")
BAD = Contract("names", 3, "the parser", ("one is wrong", "another too"))
EMPTY = Contract("nothing", 0, "the void")
FINE_TUNING = "Captune-FineTuning.template.json"


@pytest.mark.parametrize(
    ("contracts", "not_run", "require", "code"),
    [
        ([GOOD], {}, False, 0), ([GOOD], {"serving": "why"}, False, 0), ([GOOD], {"serving": "why"}, True, 3),
        ([], {"serving": "why"}, False, 1), ([], {}, False, 1), ([GOOD, BAD], {}, False, 1), ([GOOD, EMPTY], {}, False, 1),
        ([BAD], {"serving": "why"}, True, 1),
    ],
)  # fmt: skip
def test_only_what_was_checked_and_holds_exits_with_zero(
    contracts: list[Contract], not_run: dict[str, str], require: bool, code: int
) -> None:
    assert exit_code(contracts, not_run, require) == code
    assert table(contracts, not_run).count("BROKEN  ") == sum(
        0 if one.holds else 1 + max(1, len(one.problems)) for one in contracts
    )


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


def test_a_rehearsal_synthesizes_as_for_the_locked_cdk() -> None:
    version = programs.locked_version(PROJECT, "aws-cdk")
    assert f'"CDK_CLI_VERSION": "{version}"' in inspect.getsource(rehearsed_assembly)


@pytest.mark.parametrize(
    ("patience", "code", "named"),
    [
        (PATIENCE_SECONDS, "import sys; print('no access'); sys.exit(3)", r"ended with code 3: no access .*try\.log"),
        (1, "import time; time.sleep(600)", r"did not end .*try\.log"),
    ],
)
def test_a_command_that_fails_or_hangs_is_an_error(
    patience: int, code: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PATIENCE_SECONDS", patience)
    with pytest.raises(StepFailed, match=named):
        programs.run([sys.executable, "-c", code], {}, tmp_path / "try.log")


@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_that_finds_no_place_is_an_error(name: str, tmp_path: Path) -> None:
    assert PLANTS[name].part in PARTS
    for file in ("Captune-Storage.template.json", FINE_TUNING):
        (tmp_path / file).write_text(json.dumps({"Resources": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="planted elsewhere"):
        PLANTS[name].into(tmp_path)


def metrics(base: float, tuned: float) -> dict[str, Any]:
    """What a training measured on two texts of ten tokens; the losses are those of the second."""
    first, second = ({"id": name, "tokens": 10, "base_nll": 40.0, "tuned_nll": 35.0} for name in ("one", "two"))
    second |= {"base_nll": 10 * base, "tuned_nll": 10 * tuned}
    return {"evaluation": {"heldout": {"documents": [first, second], "base_loss": base, "tuned_loss": tuned}}}


@pytest.mark.parametrize(
    ("base", "tuned", "problems"),
    [
        (4.0, 3.5, []),
        (4.009, 3.549, []),
        (4.02, 3.5, ["heldout two, base model: the losses are 0.020 apart"]),
        (4.0, 3.4, ["heldout two, tuned model: the losses are 0.100 apart"]),
        (float("nan"), 3.5, ["heldout two, base model: the losses are nan apart"]),
    ],
)
def test_losses_that_differ_break_the_contract(base: float, tuned: float, problems: list[str]) -> None:
    found = compare(metrics(base, tuned), metrics(4.0, 3.5), "torch 2.9.0")
    assert (found.count, list(found.problems)) == (4, problems)


CONTEXT = {"Execution": {"Name": "one"}}
AFTER_A_CALL = Evaluation(
    "$plan.cents + $states.result.Payload.more",
    {"plan": {"cents": 5}, "states": {"input": {"a": 1}, "result": {"Payload": {"more": 2}}, "context": CONTEXT}},
    0,
    {"value": 7},
)
AFTER_AN_ERROR = Evaluation(
    "$states.errorOutput.Error",
    {"states": {"input": {}, "errorOutput": {"Error": "E", "Cause": "because"}, "context": CONTEXT}},
    0,
    {"value": "E"},
)


def test_a_recorded_context_is_given_as_variables_input_and_mock() -> None:
    asked = on_aws.request(AFTER_A_CALL)
    state = json.loads(asked["definition"])
    assert (state["Output"], json.loads(asked["variables"])) == (f"{{% {AFTER_A_CALL.text} %}}", {"plan": {"cents": 5}})
    assert (json.loads(asked["input"]), json.loads(asked["context"])) == ({"a": 1}, CONTEXT)
    assert asked["mock"] == {"result": '{"Payload": {"more": 2}}', "fieldValidationMode": "NONE"}
    caught = on_aws.request(AFTER_AN_ERROR)
    assert caught["mock"] == {"errorOutput": {"error": "E", "cause": "because"}}
    assert json.loads(caught["definition"])["Catch"][0]["Output"] == "{% $states.errorOutput.Error %}"


@pytest.mark.parametrize(
    ("one", "answer", "words"),
    [
        (AFTER_A_CALL, {"status": "SUCCEEDED", "output": "7.0"}, ""),
        (AFTER_AN_ERROR, {"status": "CAUGHT_ERROR", "output": '"E"'}, ""),
        (AFTER_A_CALL, {"status": "SUCCEEDED", "output": "8"}, "gives 8, not 7"),
        (AFTER_A_CALL, {"status": "FAILED", "error": "States.Query", "cause": "c"}, "gives States.Query: c, not 7"),
    ],
)
def test_another_value_is_told(one: Evaluation, answer: dict[str, Any], words: str) -> None:
    """The stubbed client checks request and answer by the service's model."""
    client = boto3.client("stepfunctions", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_response("test_state", answer, on_aws.request(one))
        found = on_aws.differences(client, [one])
    assert (len(found), words in "".join(found)) == (bool(words), True)


@pytest.mark.parametrize(("output", "code"), [("7", 0), ("8", 1)])
def test_step_functions_is_asked_after_the_price_was_told(
    output: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def test_state(**asked: Any) -> dict[str, str]:
        assert "at most" in capsys.readouterr().out
        return {"status": "SUCCEEDED", "output": output}

    clients = {"stepfunctions": SimpleNamespace(test_state=test_state)}
    clients["sts"] = SimpleNamespace(get_caller_identity=lambda: {"Account": "123456789012"})
    monkeypatch.setattr(on_aws.account, "session", lambda region: SimpleNamespace(client=clients.__getitem__))
    monkeypatch.setattr(on_aws, "synthesize", lambda *of: None)
    monkeypatch.setattr(on_aws, "recorded", lambda assembly: [AFTER_A_CALL])
    assert on_aws.command() == code
    said = capsys.readouterr().out
    assert ("gives 8, not 7" in said, "1 expressions have" in said) == (bool(code), not code)
