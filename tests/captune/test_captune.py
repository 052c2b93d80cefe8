"""The command: it names everything that can be done, and passes on words and exit codes as they are."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from captune import __main__ as command
from captune.commands import COMMANDS, Command
from rehearsal.conductor.options import parse

ROOT = Path(__file__).resolve().parents[2]
ANYWHERE = Path(sys.executable).parent


def said(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(command.app, list(words))
    # On GitHub, and where FORCE_COLOR is set, the help is coloured also where nobody looks at it.
    return answer.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", answer.output)


def test_the_help_names_every_command_under_its_group_with_examples() -> None:
    code, text = said("--help")
    assert code == 0 and "captune rehearse --corpus mine.txt" in text
    for group in dict.fromkeys(one.group for one in COMMANDS):
        assert group in text
    assert all(f"│ {one.name} " in text for one in COMMANDS)


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_each_command_is_a_module_that_takes_words_and_a_name(one: Command) -> None:
    parameters = list(inspect.signature(import_module(one.module).main).parameters)
    assert parameters == ["arguments", "prog"]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("rehearse", "--held-out"),
        ("ledger", "--json"),
        ("prove-cap", "--months"),
        ("evidence", "--only"),
        ("report", "--for-the-repository"),
        ("conformance", "--require"),
    ],
)
def test_the_options_of_a_command_are_those_of_its_module(name: str, option: str) -> None:
    code, text = said(name, "--help")
    assert (code, text.startswith(f"usage: captune {name} ")) == (0, True), text
    assert option in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rehearse", "--corpus", "nowhere.txt"], "captune rehearse: error: argument --corpus: there is no file nowhere.txt"),
        (["ledger", "--jason"], "captune: error: unrecognized arguments: --jason"),
        (["prove-cap", "--months", "many"], "captune prove-cap: error: argument --months: invalid int value: 'many'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["rehears"], "No such command 'rehears'"),
    ],
)  # fmt: skip
def test_wrong_options_end_with_two_and_the_words_of_the_module(words: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "captune", *words],
        cwd=ANYWHERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_is_the_modules(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    given: list[object] = []

    def main(arguments: list[str], prog: str) -> int:
        given.append((arguments, prog))
        return code

    monkeypatch.setattr("operations.__main__.main", main)
    assert said("ledger", "--json", "--region", "eu-west-1")[0] == code
    assert given == [(["ledger", "--json", "--region", "eu-west-1"], "captune")]


def test_what_is_not_installed_is_named_with_the_way_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_moto(name: str) -> None:
        raise ModuleNotFoundError(name="moto")

    monkeypatch.setattr(command, "import_module", without_moto)
    code, text = said("rehearse")
    assert (code, "captune rehearse needs moto" in text, "make setup" in text) == (1, True, True)


def test_so_is_what_a_module_looks_for_only_when_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(arguments: list[str], prog: str) -> int:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr("operations.__main__.main", main)
    assert said("data", "--loss") == (1, "captune data needs torch, which is not installed here: run make setup.\n")


def made(*variables: str) -> list[str]:
    """The words of the command that `make rehearse` would run."""
    command_line = ["make", "--dry-run", "--silent", "--old-file=.venv/.ready", "rehearse", *variables]
    # Not what a make that runs these tests was told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command_line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return shlex.split(done.stdout.splitlines()[-1])


def test_make_hands_on_the_variables_that_are_set_and_no_others(tmp_path: Path) -> None:
    corpus, held_out = tmp_path / "my corpus.txt", tmp_path / "held-out.txt"
    for file in (corpus, held_out):
        file.write_text("One text.")
    words = made(f"CORPUS={corpus}", f"HELD_OUT={held_out}", "WORDS=0", "SEED=7", "ARGS=--plain")
    assert words[:2] == made() == ["captune", "rehearse"]
    options = parse(words[2:])
    assert (options.corpus, options.held_out, options.plain) == (corpus, held_out, True)
    assert (options.settings["corpus_words"], options.input) == ("0", {"seed": 7})


def test_a_region_may_stand_before_the_command_or_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from operations import __main__ as operations

    seen: list[object] = []
    monkeypatch.setattr(operations.boto3, "Session", lambda region_name: seen.append(region_name))
    monkeypatch.setattr(operations.idle, "check", lambda session: "nothing")
    for words in (["--region", "eu-west-1", "idle"], ["idle", "--region", "eu-west-1"], ["idle"]):
        assert operations.main(words) == 0
    assert seen == ["eu-west-1", "eu-west-1", "us-east-1"]
