"""The command: its help names everything that can be done, options and errors end with the right code, and make hands on what it is given."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from typer.testing import CliRunner

from captune import __main__ as command
from captune.account import Refused
from rehearsal import programs
from rehearsal.conductor.options import parse
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.aws_account import deployed, said
from tests.doubles.lambda_fakes import refusal

ROOT = Path(__file__).resolve().parents[3]
CAPTURED: Any = {"capture_output": True, "text": True, "timeout": PATIENCE_SECONDS}


def words_of(name: str) -> list[str]:
    return ["dev", name] if name in command.MOVED else [name]


def test_help_names_every_command_and_group() -> None:
    texts = {"-h": said("-h")[1], "dev": said("dev", "--help")[1]}
    for name, group, *_ in command.COMMANDS:
        text = texts[words_of(name)[0]] if name in command.MOVED else texts["-h"]
        assert f"│ {name} " in text and group in text


@pytest.mark.parametrize(("name", "purpose"), [(name, purpose) for name, *_, purpose in command.COMMANDS])
def test_every_command_has_help_in_one_style(name: str, purpose: str) -> None:
    """One imperative sentence as the purpose, and one or more sentences for each option."""
    assert re.fullmatch(r"[A-Z][a-z]*[^s.] [^.]*(\.(?=\w)[^.]*|/\.?[^.]*|lm-eval)*\.", purpose), purpose
    found = command.loaded(name)
    for option in found.params:
        told = getattr(option, "help", None) or ""
        assert option.hidden or re.fullmatch(r"[A-Za-z`].*\.", told), (name, option.name)
    code, text = said(*words_of(name), "-h")
    assert (code, purpose.split()[0] in text) == (0, True)


@pytest.mark.parametrize("name", sorted(command.MOVED))
def test_an_old_name_tells_the_new_one(name: str) -> None:
    code, text = said(name, "--quick")
    assert (code, text) == (2, f"`captune {name}` is now `captune {command.MOVED[name]}`.\n")
    assert said(*command.MOVED[name].split(), "-h")[0] == 0


def test_the_version_is_that_of_the_package() -> None:
    assert said("--version") == (0, f"captune {version('captune')}\n")


def test_the_shell_completes_commands_and_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CAPTUNE_COMPLETE", "complete_bash")
    for typed, place, expected in (("captune ru", 1, "runs"), ("captune dev prove-cap --mo", 3, "--months")):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(place))
        assert expected in CliRunner().invoke(command.app, [], prog_name="captune").output.split()


def test_help_loads_no_large_library() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom captune.__main__ import app\n"
        "for words in (['-h'], ['rehearse', '-h'], ['dev', '-h']): assert not CliRunner().invoke(app, words).exit_code\n"
        "print(sorted({'aws_cdk', 'jsii', 'moto', 'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, **CAPTURED).stdout == "[]\n"


@pytest.mark.parametrize("words", [["ledger", "--jason"], ["rehearse", "--corpus", "nowhere.txt"], ["rehears"]])
def test_wrong_words_end_with_code_two(words: list[str]) -> None:
    code, text = said(*words)
    assert code == 2 and words[-1].removeprefix("--") in text


@pytest.mark.slow
def test_the_command_works_from_any_folder(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONIOENCODING"] = "ascii"  # a terminal that lacks most letters
    typed = [str(Path(sys.executable).with_name("captune")), "costs"]
    done = subprocess.run(typed, cwd=tmp_path, env=environment, **CAPTURED)
    assert (done.returncode, "| $3.56 |" in done.stdout) == (0, True), done.stderr


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_moto(name: str) -> None:
        raise ModuleNotFoundError(name="moto")

    monkeypatch.setattr(command, "import_module", without_moto)
    code, text = said("rehearse")
    assert (code, "needs moto" in text, "make setup" in text) == (1, True, True)


def test_a_command_asks_the_region_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    account = deployed()
    sessions = {"eu-west-1": account, "us-east-1": account}
    monkeypatch.setattr(boto3, "Session", lambda region_name: sessions.pop(region_name))
    for words in (["dev", "idle", "--region", "eu-west-1"], ["dev", "idle"]):
        assert said(*words)[0] == 0
    assert not sessions
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    account.client("stepfunctions").troubles["list_executions"] = [refusal("AccessDeniedException")]
    code, text = said("dev", "idle")
    assert code == 1 and "AccessDeniedException" in text and "aws sts get-caller-identity" in text


def test_a_profile_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    code, text = said("ledger")
    assert code == 1 and "wrok" in text and "aws configure list-profiles" in text
    code, text = said("check")
    assert code == 2 and "wrok" in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "mine.txt"), "mine.txt: No such file or directory. Correct the path."),
        (OSError(errno.ENOSPC, "No space left on device", "results/x"), "results/x: No space left on device. Make room on that disk"),
        (OSError(errno.EROFS, "Read-only file system", "results"), "results: Read-only file system. Name a place where you may write"),
        (EndpointConnectionError(endpoint_url="https://sts"), "Check that this machine reaches AWS: the network, the proxy"),
        (Refused("Fetch it: captune fetch RUN"), "Fetch it: /opt/venv/bin/captune fetch RUN"),
    ],
)  # fmt: skip
def test_an_expected_error_ends_with_its_fix(monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr("captune.costs.command", fails)
    monkeypatch.setattr(programs, "_captune", lambda: "/opt/venv/bin/captune")
    code, text = said("costs")
    assert code == 1 and told in text and "Errno" not in text


def test_the_report_of_latest_is_the_newest_run_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, begun in (("old", "2030-01-01"), ("new", "2030-01-02")):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "plan.json").write_text(
            f'{{"runName": "{name}", "domain": "d", "startedAt": "{begun}"}}'
        )
    monkeypatch.chdir(tmp_path)
    code, text = said("report", "latest")
    assert code == 1 and "There is no results/new/summary.json" in text


@pytest.mark.parametrize(
    ("path", "make", "name"),
    [
        ("", {}, ".venv/bin/captune"),
        (".venv/bin", {}, "captune"),
        (".venv/bin", {"MAKELEVEL": "1"}, ".venv/bin/captune"),
    ],
)
def test_a_command_in_a_message_is_written_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, make: dict[str, str], name: str
) -> None:
    own = tmp_path / ".venv" / "bin" / "captune"
    own.parent.mkdir(parents=True)
    own.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAKELEVEL", raising=False)
    for variable, value in {"PATH": str(tmp_path / path), **make}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "executable", str(own.with_name("python")))
    programs._captune.cache_clear()
    monkeypatch.setattr(programs, "_captune", programs._captune.__wrapped__)
    told = "Ask both models: captune use results/captune-1. Run `captune check`, or captune, in /a/captune folder"
    expected = f"Ask both models: {name} use results/captune-1. Run `{name} check`, or captune, in /a/captune folder"
    assert programs.as_typed(told) == expected


@pytest.mark.slow
def test_a_command_that_is_told_to_end_leaves_no_folder(tmp_path: Path) -> None:
    program = (
        "import tempfile, time\nfrom captune import __main__ as command, report\n"
        "def fake(run):\n    with tempfile.TemporaryDirectory() as folder:\n        print(folder, flush=True)\n        time.sleep(60)\n"
        "report.command = fake\ncommand.app(['report', 'x'])\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline().startswith(bytes(tmp_path))
        child.terminate()
        assert child.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_cdk_runs_with_the_node_of_the_environment(tmp_path: Path) -> None:
    """Another one may be too old, and the CDK then prints a page about it into every help text."""
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho too old >&2\nexit 1\n")
    old.chmod(0o755)
    typed = [str(Path(sys.executable).with_name("captune")), "dev", "pages", "--help"]
    done = subprocess.run(
        typed, env=os.environ | {"PATH": f"{tmp_path}:{os.defpath}"}, **CAPTURED | {"encoding": "utf-8"}
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("WARNING: Retrying after connection broken by 'ProxyError'", "pip could not reach https://host/simple. Check the network"),
        ("ERROR: No space left on device", "ERROR: No space left on device"),
    ],
)  # fmt: skip
def test_make_names_the_index_that_pip_could_not_reach(tmp_path: Path, says: str, told: str) -> None:
    pip = tmp_path / "bin" / "python"
    pip.parent.mkdir()
    pip.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
    pip.chmod(0o755)
    words = ("--eval=fetched: ; @$(INSTALL) packages $(SHOWN) $(EXPLAINED)", "fetched", f"VENV={tmp_path}")
    code, text = make(*words, PIP_INDEX_URL="https://me:secret@host/simple")
    assert code == 2 and text.startswith(told) and "secret" not in text
    assert ("then go on: make fetched" in text) is ("Retrying" in says)


def make(*arguments: str, **variables: str) -> tuple[int, str]:
    """How make ends with these arguments, and what it prints. Nothing is set up for a test."""
    done_before = (".venv/.rehearsable", ".venv/.ready", ".venv/.deployable", "node_modules/.bin/cdk")
    # Not what a make that runs these tests was given.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "ARGS"}
    words = ["make", "--silent", *(f"--old-file={file}" for file in done_before), *arguments]
    done = subprocess.run(words, cwd=ROOT, env=environment | variables, **CAPTURED)
    return done.returncode, done.stdout + done.stderr


def would_run(*arguments: str) -> list[list[str]]:
    code, text = make("--dry-run", *arguments)
    assert code == 0, text
    return [shlex.split(line.replace("node_modules/.bin/cdk", "cdk")) for line in text.splitlines()]


def test_make_rehearse_hands_on_the_variables_that_are_set(tmp_path: Path) -> None:
    corpus, held_out = tmp_path / "my corpus.txt", tmp_path / "held-out.txt"
    for file in (corpus, held_out):
        file.write_text("One text.")
    (words,) = would_run("rehearse", f"CORPUS={corpus}", f"HELD_OUT={held_out}", "WORDS=0", "SEED=7", "ARGS=--plain")
    assert words[:2] == ["captune", "rehearse"]
    options = parse(words[2:])
    assert (options.corpus, options.held_out, options.plain) == (corpus, held_out, True)
    assert (options.settings["corpus_words"], options.input) == ("0", {"seed": 7})


def test_in_cloudshell_everything_that_is_large_is_written_beside_the_home() -> None:
    here = would_run("deploy", "AWS_EXECUTION_ENV=CloudShell", "--old-file=/tmp/captune/venv/.deployable")
    assert here[-1] == ["cdk", "--output", "/tmp/captune/cdk.out", "deploy", "--all"]
    assert would_run("deploy")[-1] == ["cdk", "deploy", "--all"]


def test_make_deploy_first_checks_with_its_own_words() -> None:
    given = ["--require-approval", "never", "-c", "region=eu-west-1"]
    check, *_, deploy = would_run("deploy", f"ARGS={' '.join(given)}")
    assert (check, deploy) == (["captune", "dev", "deployable", *given], ["cdk", "deploy", "--all", *given])
    assert "deployable" not in [word for words in would_run("deploy", "CHECK=no") for word in words]


@pytest.mark.parametrize(
    ("new", "fetches", "found"),
    [
        ("python3", False, "python3"), ("python3.12", False, "python3.12"),
        ("", True, "FETCHED/python/bin/python3.12"), ("", False, ""),
    ],
)  # fmt: skip
def test_a_python_that_is_new_enough_is_found_or_fetched(tmp_path: Path, new: str, fetches: bool, found: str) -> None:
    """CloudShell has Python 3.9 alone: uv, which any Python can install, fetches another."""
    asked_for_uv = f'[ "$1" = -m ] && exit {0 if fetches else 1}; exit 1'
    names = ("python3", "python3.13", "python3.12", "python3.11")
    scripts = {f"bin/{name}": "exit 0" if name == new else asked_for_uv for name in names}
    scripts["uv/bin/python"] = "exit 0"  # of the environment that venv makes for uv
    scripts["uv/bin/uv"] = f'case "$*" in *"python find"*) echo {tmp_path}/python/bin/python3.12;; esac'
    for path, text in scripts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / path).chmod(0o755)
    # The Makefile puts the environment's own folder first, where there may be a Python: another one is named.
    words = ("--eval=found: ; @$(FIND_PYTHON)", "found", "PYTHON=python3", f"FETCHED={tmp_path}", f"VENV={tmp_path}/no")
    code, text = make(*words, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert (code == 0) is bool(found), text
    assert not found or text.splitlines()[0] == found.replace("FETCHED", str(tmp_path))
    assert ("There is no Python 3.11 or newer here, so uv fetches 3.12" in text) is (not new)
    assert ("Install Python 3.12, then: make PYTHON=python3.12" in text) is (not found)


def test_make_destroy_asks_once_before_anything_is_destroyed() -> None:
    asked, destroyed, told = would_run("destroy")
    assert (asked, told[0]) == (["captune", "destroy"], "echo")
    assert destroyed == ["cdk", "destroy", "Captune-Guardrail", "Captune-FineTuning", "--force"]
    asked, destroyed, _ = would_run("destroy", "ARGS=--force -c region=eu-west-1")
    assert asked == ["captune", "destroy", "--region", "eu-west-1", "--yes"]
    assert destroyed[4:] == ["--force", "-c", "region=eu-west-1"]
    asked, destroyed = would_run("destroy", "DATA=delete")
    assert asked[-1] == "--data"
    assert destroyed[2:] == ["Captune-Guardrail", "Captune-FineTuning", "Captune-Storage", "--force"]


@pytest.mark.parametrize("given", ["--profile work", "--context=region=eu-west-1", "-cregion=x", "--region eu-west-1"])
def test_make_destroy_rejects_a_second_account_or_region(given: str) -> None:
    code, text = make("--dry-run", "destroy", f"ARGS={given}")
    assert code != 0 and "captune destroy" not in text and "AWS_PROFILE=name make destroy" in text


def test_a_part_of_the_proof_does_not_replace_the_printed_whole() -> None:
    assert would_run("prove-cap") == [["captune", "dev", "prove-cap", "--out", "results/prove-cap.md"]]
    assert would_run("prove-cap", "ARGS=--months 50") == [["captune", "dev", "prove-cap", "--months", "50"]]
