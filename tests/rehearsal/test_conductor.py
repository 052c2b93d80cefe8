"""What a person sees of a rehearsal, how it ends, and what Ctrl-C does. The engines are fakes, all else is real."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from rehearsal.account.assembly import Assembly
from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display
from rehearsal.conductor.options import parse
from rehearsal.models.weights import Substitute, WeightsMissing
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, TrainingPlan
from rehearsal.sagemaker.vllm import environment as vllm_environment

Conduct = Callable[..., tuple[int, str]]
PROJECT = Path(__file__).parents[2]
PROGRAM = PROJECT / "tests" / "doubles" / "rehearsal" / "conduct_with_fakes.py"


class Program:
    """A rehearsal that runs as a program of its own."""

    def __init__(self, assembly: Path, results: Path, outcome: str, *options: str) -> None:
        self.results = results
        command = [sys.executable, str(PROGRAM), str(assembly), outcome, "--quick", "--results", str(results), *options]
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        """Read on until a line with `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        pytest.fail(f"{text!r} never came in:\n{''.join(self.lines)}")

    def finish(self) -> tuple[int, str]:
        """Read the rest; return the exit code and everything that was said."""
        rest, _ = self.process.communicate(timeout=120)
        return self.process.returncode, "".join(self.lines) + rest


@pytest.fixture
def conduct(assembly: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Rehearses in this process; returns the exit code and everything that was said."""

    def conduct(outcome: str, *arguments: str, deploying: Path = assembly) -> tuple[int, str]:
        options = parse(["--quick", "--results", str(tmp_path / "results"), *arguments])
        said = io.StringIO()
        display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
        engines = {"training": FakeTraining(TrainingPlan(outcome=cast(Any, outcome))), "hosting": FakeHosting()}
        project = dataclasses.replace(options, project=PROJECT)
        conductor = Conductor(project, display, engines=engines, time_scale=500, assembly=Assembly(deploying))
        return conductor.run(), said.getvalue()

    return conduct


@pytest.fixture
def start(assembly: Path, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs and ends those that a failed test leaves."""
    programs: list[Program] = []

    def begin(outcome: str, *options: str) -> Program:
        programs.append(Program(assembly, tmp_path / "results", outcome, *options))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)


def test_a_rehearsal_with_a_server_that_is_not_installed_says_how_to_get_it(
    assembly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_environment, "interpreter", _missing)
    options = dataclasses.replace(parse(["--server", "vllm", "--results", str(tmp_path)]), project=tmp_path)
    said = io.StringIO()
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    assert Conductor(options, display, assembly=Assembly(assembly)).run() == 2
    assert "The model server is missing: run make vllm" in said.getvalue()


def _missing() -> Path:
    raise vllm_environment.VllmMissing("run make vllm")


def test_a_rehearsal_ends_with_a_report_and_nothing_left(conduct: Conduct, tmp_path: Path) -> None:
    code, said = conduct("completed", "--as", "mine")

    assert code == 0, said
    files = {path.name for path in (tmp_path / "results" / "mine").iterdir()}
    assert files >= {
        "report.html", "report.pdf", "summary.json", "MODEL_CARD.md", "pre-trained.jsonl", "fine-tuned.jsonl", "plan.json",
    }  # fmt: skip
    summary = json.loads((tmp_path / "results" / "mine" / "summary.json").read_text())
    assert summary["status"] == "SUCCEEDED"
    for expected in (
        "→ Preflight", "✓ Preflight", "✓ AskBothModels", "✓ RemoveResources", "Verdict: improved", "Held-out loss:",
        "Nothing billable is left", "✓ training jobs: none", "✓ schedules: none", "✓ TearDown: SUCCEEDED",
        "✓ the 2 state machines ran the definitions of", "✓ alarms: none of 10 went off, after one sweep",
    ):  # fmt: skip
        assert expected in said
    (calls,) = re.findall(r"✓ rights: each of (\d+) calls is one that its role may make", said)
    assert int(calls) > 50
    assert "\x1b[" not in said, "colours do not belong into a file"


def test_a_right_that_the_roles_lack_is_refused_as_on_aws_and_named(
    conduct: Conduct, assembly: Path, tmp_path: Path
) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(assembly, lacking)
    (template,) = lacking.glob("*FineTuning.template.json")
    text = template.read_text(encoding="utf-8")
    assert text.count('"sagemaker:CreateTrainingJob",') == 1
    template.write_text(text.replace('"sagemaker:CreateTrainingJob",', ""), encoding="utf-8")

    code, said = conduct("completed", deploying=lacking)

    assert code == 1, said
    assert "FAILED: " in said
    assert "is not authorized to perform: sagemaker:CreateTrainingJob" in said
    (line,) = [line for line in said.splitlines() if "a right is missing" in line]
    assert re.search(
        r"FineTuningRole\w+-\w+: sagemaker:CreateTrainingJob on arn:aws:sagemaker:us-east-1:\d+:training-job/captune-",
        line,
    )
    assert "✓ TearDown: SUCCEEDED" in said


def test_a_failed_training_job_gives_its_reason_and_what_to_do(conduct: Conduct) -> None:
    code, said = conduct("killed")

    assert code == 1, said
    assert "FAILED: TrainingFailed" in said
    assert "killed by signal 9" in said
    assert "✓ training jobs: none" in said
    assert "✓ TearDown: SUCCEEDED" in said


def test_ctrl_c_stops_the_execution_and_waits_for_the_tear_down(start: Callable[..., Program]) -> None:
    program = start("hangs")
    program.wait_for("✓ DescribeTraining")

    program.process.send_signal(signal.SIGINT)
    code, said = program.finish()

    assert code == 130, said
    assert "ABORTED: Stopped" in said
    assert "✓ training jobs: none" in said
    assert "✓ TearDown: SUCCEEDED" in said


class Impatient(io.StringIO):
    """A terminal whose person presses Ctrl-C as soon as each of these words has come, in this order."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._words = list(words)

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._words and self._words[0] in text:
            self._words.pop(0)
            os.kill(os.getpid(), signal.SIGINT)
        return written


def test_a_second_ctrl_c_leaves_at_once_and_says_what_would_be_left_on_aws(assembly: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(parse(["--quick", "--results", str(tmp_path / "results")]), project=PROJECT)
    said = Impatient("DescribeTraining", "TearDown follows")
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    hosting, training = FakeHosting(), FakeTraining(TrainingPlan(outcome="hangs"))
    engines = {"training": training, "hosting": hosting}
    conductor = Conductor(options, display, engines=engines, time_scale=500, assembly=Assembly(assembly))

    assert conductor.run() == 130

    told = said.getvalue()
    assert "Left before TearDown had ended." in told
    assert re.search(r"^  training jobs: \S+", told, re.MULTILINE)
    assert "  endpoints: none" in told
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def lacking(cache: Path) -> Path:
    """A model that cannot be made."""
    raise WeightsMissing("Run: pip install it")


def test_what_a_killed_rehearsal_left_goes_when_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".rehearsal" / "runs" / "rehearsal-20260102-030405-0002"
    (left / "sagemaker").mkdir(parents=True)
    monkeypatch.setattr("rehearsal.conductor.run_folders.psutil.pids", list)
    options = dataclasses.replace(parse(["--results", str(tmp_path)]), project=tmp_path)
    display = Display(console=Console(file=io.StringIO()))

    assert Conductor(options, display, model=Substitute("Small Llama", 1_000_000, lacking)).run() == 2

    assert not left.exists()


def test_a_model_that_cannot_be_made_is_told_before_anything_is_synthesized(tmp_path: Path) -> None:
    said = io.StringIO()
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    options = dataclasses.replace(parse(["--results", str(tmp_path)]), project=tmp_path)
    model = Substitute("Small Llama", 1_000_000, lacking)

    assert Conductor(options, display, model=model).run() == 2

    assert "Rehearsing with Small Llama (1 million parameters) in place of Llama 2 7B." in said.getvalue()
    assert said.getvalue().endswith("The model is missing: Run: pip install it\n")
    assert not (tmp_path / ".rehearsal" / "runs").exists()


def test_settings_that_the_stacks_refuse_are_told_in_their_own_words(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text('{"app": "exit 1"}')
    (tmp_path / "app.py").write_text("import sys\nsys.exit('captune: Mend these:\\n  - epochs')\n")
    said = io.StringIO()
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    options = dataclasses.replace(parse(["--results", str(tmp_path)]), project=tmp_path)
    model = Substitute("Small Llama", 1_000_000, lambda cache: tmp_path)

    assert Conductor(options, display, model=model).run() == 2

    assert "The settings were refused: captune: Mend these:\n  - epochs" in said.getvalue()


def test_ctrl_c_before_the_start_leaves_nothing(start: Callable[..., Program]) -> None:
    program = start("completed")
    program.wait_for("Deploying")

    program.process.send_signal(signal.SIGTERM)
    code, said = program.finish()

    assert code == 130, said
    assert "nothing is left" in said or "✓ training jobs: none" in said


def test_a_closed_terminal_stops_the_execution_and_leaves_no_account_behind(start: Callable[..., Program]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may have been started with nohup
    program = start("hangs", "--as", "closed")
    signal.signal(signal.SIGHUP, before)
    program.wait_for("✓ DescribeTraining")
    assert program.process.stdout is not None
    runs = PROJECT / ".rehearsal" / "runs"
    mine = f"rehearsal-*-{program.process.pid % 10_000:04d}"
    assert list(runs.glob(mine))

    program.process.stdout.close()
    for _ in range(2):  # the shell sends one, and the kernel
        program.process.send_signal(signal.SIGHUP)
    program.process.wait(timeout=120)

    assert (program.results / "closed" / "plan.json").is_file(), "it did not wait for TearDown"
    assert not list(runs.glob(mine))


def test_with_a_dollar_left_the_run_is_refused_before_any_sagemaker_job(conduct: Conduct) -> None:
    code, said = conduct("completed", "--budget-left", "1")

    assert code == 1, said
    assert "FAILED: BudgetExceeded" in said
    told = re.search(r"\$1\.00 of the cap's \$\d+\.\d\d .* may cost \$(\d+\.\d\d): \$(\d+\.\d\d) is missing", said)
    assert told, said
    assert Decimal(told[1]) - Decimal(told[2]) == 1
    assert "StartTraining" not in said


def test_with_four_dollars_left_the_run_is_clamped_and_succeeds(conduct: Conduct, tmp_path: Path) -> None:
    code, said = conduct("completed", "--budget-left", "4", "--as", "clamped")

    assert code == 0, said
    plan = json.loads((tmp_path / "results" / "clamped" / "plan.json").read_text())
    assert plan["budget"]["clamped"]
    assert plan["budget"]["worstCaseCents"] <= 400


def test_a_kept_endpoint_is_ended_by_its_schedule(conduct: Conduct) -> None:
    code, said = conduct("completed", "--keep-endpoint-minutes", "20")

    assert code == 0, said
    assert "The rehearsal's clock moves on" in said
    assert "✓ EndpointKept" in said
    assert "✓ endpoints: none" in said


def test_a_wrong_input_is_refused_by_name(conduct: Conduct) -> None:
    code, said = conduct("completed", "--input", '{"epoch": 3}')

    assert code == 1, said
    assert "FAILED: InvalidInput" in said
    assert "did you mean `epochs`" in said


def test_what_an_earlier_run_of_that_name_left_is_not_mixed_with_a_refused_runs_files(
    conduct: Conduct, tmp_path: Path
) -> None:
    earlier = tmp_path / "results" / "mine"
    earlier.mkdir(parents=True)
    for name in ("summary.json", "fine-tuned.jsonl"):
        (earlier / name).write_text("{}")

    code, said = conduct("completed", "--input", '{"epoch": 3}', "--as", "mine")

    assert code == 1, said
    assert re.search(r"What an earlier run left in \S+/mine is now in \S+/mine-earlier-1\.", said)
    assert json.loads((earlier / "summary.json").read_text())["error"] == "InvalidInput"
    assert not (earlier / "fine-tuned.jsonl").exists()
    assert (tmp_path / "results" / "mine-earlier-1" / "fine-tuned.jsonl").is_file()


def test_two_training_processes_are_refused_where_the_system_cannot_launch_them(
    conduct: Conduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")

    code, said = conduct("completed", "--set", "training_instance_count=2")

    assert code == 2, said
    assert "The settings were refused: training_instance_count=2 trains with as many processes" in said
    assert "Deploying" not in said


def test_an_instance_that_is_to_be_taken_away_is_asked_for_on_spot(conduct: Conduct) -> None:
    code, said = conduct("completed", "--plain", "--interrupt-at", "5")

    assert code == 0, said
    assert '"spot": true' in said
    assert "StartSpotTraining" in said


def test_a_rehearsal_without_capacity_ends_as_it_would_on_aws(conduct: Callable[..., tuple[int, str]]) -> None:
    code, said = conduct("completed", "--plain", "--no-capacity", "ml.g5.2xlarge")

    assert code == 1
    assert "NoCapacity" in said
    assert "AWS had no free ml.g5.2xlarge for training in 3 attempts" in said
