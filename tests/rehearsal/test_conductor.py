"""What a person sees of a rehearsal, how it ends, and what Ctrl-C does. The engines are fakes, all else is real."""

import dataclasses
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from captune import fetch
from captune.rehearse import check
from common.contracts import run_folder
from common.errors import BudgetExceeded
from rehearsal.conductor import results
from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display
from rehearsal.conductor.options import parse
from rehearsal.models.weights import SMALL, Substitute
from rehearsal.programs import CannotRun
from rehearsal.sagemaker.vllm import environment as vllm_environment
from stacks.assembly import Assembly
from tests.doubles.texts import prose
from verification.fake_engines import FakeHosting, FakeTraining, TrainingPlan

PROJECT = Path(__file__).parents[2]
Conduct = Callable[..., tuple[int, str]]


def rehearse(said: io.StringIO, arguments: list[str], project: Path = PROJECT, **more: Any) -> int:
    """Rehearse in this process; return the exit code."""
    display = Display(console=Console(file=said, width=160, highlight=False, soft_wrap=True))
    return Conductor(dataclasses.replace(parse(arguments), project=project), display, fetch.keep, check, **more).run()


def engines(*plans: TrainingPlan) -> dict[str, Any]:
    return {"training": FakeTraining(*plans), "hosting": FakeHosting()}


@pytest.fixture
def conduct(assembly: Path, tmp_path: Path) -> Conduct:
    """Rehearses with engines that end at once; returns the exit code and everything that was said."""

    def conduct(*arguments: str, deploying: Path = assembly) -> tuple[int, str]:
        said, options = io.StringIO(), ["--quick", "--results", str(tmp_path / "results"), *arguments]
        code = rehearse(said, options, engines=engines(), time_scale=500, assembly=Assembly(deploying))
        return code, said.getvalue()

    return conduct


def test_a_rehearsal_ends_with_a_report_and_nothing_left(conduct: Conduct, tmp_path: Path) -> None:
    """On spot, and with an endpoint that is kept until its schedule ends it."""
    code, said = conduct("--as", "mine", "--interrupt-at", "5", "--keep-endpoint-minutes", "20")

    assert code == 0, said
    files = {path.name for path in (tmp_path / "results" / "mine").iterdir()}
    assert files >= {
        "report.html", "report.pdf", "summary.json", "MODEL_CARD.md", "pre-trained.jsonl", "fine-tuned.jsonl", "plan.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "results" / "mine" / "summary.json").read_text("utf-8"))["status"] == "SUCCEEDED"
    for expected in (
        "→ Preflight", "✓ Preflight", '"spot": true', "StartSpotTraining", "✓ AskBothModels", "✓ EndpointKept",
        "The rehearsal's clock skips them", "✓ RemoveResources", "Verdict: improved", "Held-out loss:", "Nothing billable is left",
        "✓ training jobs: none", "✓ endpoints: none", "✓ schedules: none", "✓ TearDown: SUCCEEDED",
    ):  # fmt: skip
        assert expected in said
    (calls,) = re.findall(r"✓ permissions: the roles allow each of (\d+) calls", said)
    assert int(calls) > 50
    assert "\x1b[" not in said, "colours do not belong into a file"


def test_a_permission_that_a_role_lacks_is_rejected_and_named(conduct: Conduct, assembly: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(assembly, lacking)
    (template,) = lacking.glob("*FineTuning.template.json")
    text = template.read_text(encoding="utf-8")
    right = '"Action": "sagemaker:CreateTrainingJob"'
    assert text.count(right) == 1
    template.write_text(text.replace(right, '"Action": "sagemaker:DescribeTrainingJob"'), encoding="utf-8")

    code, said = conduct(deploying=lacking)

    assert code == 1, said
    assert "is not authorized to perform: sagemaker:CreateTrainingJob" in said
    (line,) = [line for line in said.splitlines() if "a permission is missing" in line]
    assert re.search(r"FineTuningRole\w+-\w+: sagemaker:CreateTrainingJob on arn:aws:sagemaker:us-east-1:", line)
    assert "✓ TearDown: SUCCEEDED" in said


def test_a_rejected_run_says_why_and_keeps_an_earlier_runs_files(conduct: Conduct, tmp_path: Path) -> None:
    earlier = tmp_path / "results" / "mine"
    earlier.mkdir(parents=True)
    for name in ("summary.json", "fine-tuned.jsonl"):
        (earlier / name).write_text("{}")

    code, said = conduct("--budget-left", "1", "--as", "mine")

    assert code == 1, said
    last = said.rstrip().splitlines()[-1]
    assert last.startswith("FAILED: BudgetExceeded: ") and last.endswith(BudgetExceeded.advice)
    assert not [one for one in ("errorMessage", "✓ Preflight", "NotFound", "StartTraining") if one in said]
    named = re.search(
        r"may cost \$(\d+\.\d\d), but \$1\.00 of the cap's \$\d+\.\d\d .*: \$(\d+\.\d\d) is missing", said
    )
    assert named, said
    assert Decimal(named[1]) - Decimal(named[2]) == 1
    assert re.search(r"What an earlier run left in \S+/mine is now in \S+/mine-earlier-1\.", said)
    assert json.loads((earlier / "summary.json").read_text("utf-8"))["error"] == "BudgetExceeded"
    assert not (earlier / "fine-tuned.jsonl").exists()
    assert (tmp_path / "results" / "mine-earlier-1" / "fine-tuned.jsonl").is_file()


def test_a_file_that_a_run_would_reject_is_rejected_first(conduct: Conduct, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("One line again.\n" * 400)
    (tmp_path / "asked.jsonl").write_text("{nope\n")
    code, said = conduct("--corpus", str(tmp_path / "mine.txt"), "--prompts", str(tmp_path / "asked.jsonl"))
    assert code == 1, said
    one, other, fix = said.rstrip().splitlines()[-3:]
    assert one.startswith("PromptsRejected: ") and other.startswith(f"DatasetRejected: {tmp_path}/mine.txt repeats")
    assert f"captune check {tmp_path}/mine.txt --prompts {tmp_path}/asked.jsonl" in fix
    assert "Deploying" not in said and "✓ Checking" not in said and not list((tmp_path / "results").iterdir())


def test_what_cannot_be_shown_is_said_before_training(conduct: Conduct, tmp_path: Path) -> None:
    # All but the last five documents stand in the text twice, on other lines.
    twice = [f"# {n}\n\n{prose(150, n)}\n\n# Again {n}\n\n{' '.join(prose(150, n).split())}" for n in range(12)]
    once = [f"# Own {n}\n\n{prose(26, 500 + n)}" for n in range(5)]
    (tmp_path / "mine.txt").write_text("\n\n".join([*twice, *once]))
    _, said = conduct("--corpus", str(tmp_path / "mine.txt"))
    place = said.index("always “not shown”")
    assert said.index("share eight words in a row with another one") < place < said.index("Deploying")


def test_the_results_place_is_tried_first(conduct: Conduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "taken").write_text("a file")
    code, said = conduct("--as", "taken")
    assert code == 2 and "--results FOLDER" in said
    assert "cannot begin: " in said and f"{tmp_path}/results: taken is a file." in said
    assert "Deploying" not in said
    enough = SMALL.adapter_bytes(16) + results.REPORT_BYTES + run_folder.SPARE_BYTES
    for free, code in ((enough - 1, 2), (enough, 0)):
        monkeypatch.setattr(results.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        found, said = conduct()
        assert found == code and (f"{enough - 1:,} bytes are free and {enough:,} are needed" in said) is (code == 2)


def test_what_was_trained_is_kept_elsewhere_where_the_disk_fills_up_meanwhile(
    conduct: Conduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = fetch.copy

    def full(s3: Any, bucket: str, objects: Any, target: Path, *more: Any) -> Any:
        if tmp_path in target.parents:
            raise fetch.DiskFull("The disk is full.")
        return copy(s3, bucket, objects, target, *more)

    monkeypatch.setattr(fetch, "copy", full)
    code, said = conduct("--as", f"elsewhere-{os.getpid()}")
    kept = PROJECT / ".rehearsal" / "results" / f"elsewhere-{os.getpid()}"
    try:
        assert code == 0 and f"They are in {kept}." in said and f"Report: {kept}/report.html" in said
        assert (kept / "adapter" / "adapter_config.json").is_file()
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def test_a_type_without_capacity_ends_the_run_as_on_aws(conduct: Conduct) -> None:
    code, said = conduct("--plain", "--no-capacity", "ml.g5.2xlarge")
    assert code == 1, said
    assert "FAILED: NoCapacity" in said
    assert "AWS had no free ml.g5.2xlarge for training within 7200 seconds" in said


def _is_lacking(*_: Path) -> Path:
    raise CannotRun("Run: pip install it")


@pytest.mark.parametrize(
    ("arguments", "make_model", "system", "said"),
    [
        ([], _is_lacking, "Linux", "cannot begin: Run: pip install it\n"),
        (["--server", "vllm"], Path, "Linux", "cannot begin: Run: pip install it\n"),
        ([], Path, "Linux", "cannot begin: captune: Fix these:\n  - epochs\n"),
        (["--set", "training_instance_count=2"], Path, "Darwin", "cannot begin: training_instance_count=2"),
        (
            ["--set", "epochs=many"],
            Path,
            "Linux",
            'in cdk.json under "context", or with --set key=value:\n  - epochs is',
        ),
    ],
    ids=["no model", "no server", "settings", "several processes off Linux", "a setting of the command line"],
)
def test_what_the_user_has_to_change_first_is_said_before_an_account_is_made(
    arguments: list[str], make_model: Any, system: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(vllm_environment, "interpreter", _is_lacking)
    (tmp_path / "cdk.json").write_text('{"app": "", "context": {}}')
    (tmp_path / "app.py").write_text("import sys\nsys.exit('captune: Fix these:\\n  - epochs\\n')\n")
    (tmp_path / "manifest.json").write_text('{"artifacts": {}}')
    shown, model = io.StringIO(), Substitute("Small Llama", 1_000_000, make_model)
    assembly = Assembly(tmp_path) if system == "Darwin" or make_model is _is_lacking else None

    code = rehearse(shown, [*arguments, "--results", str(tmp_path)], project=tmp_path, model=model, assembly=assembly)

    assert code == 2
    assert "Rehearsing with Small Llama (1 million parameters) instead of Llama 2 7B." in shown.getvalue()
    assert said in shown.getvalue() and "Deploying" not in shown.getvalue()


class Impatient(io.StringIO):
    """A terminal from which a signal comes as soon as each of these words was printed."""

    def __init__(self, number: int, *words: str) -> None:
        super().__init__()
        self._number, self._words = number, list(words)

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._words and self._words[0] in text:
            self._words.pop(0)
            os.kill(os.getpid(), self._number)
        return written


def accounts_here() -> set[Path]:
    """The folders of this process's rehearsals."""
    return set((PROJECT / ".rehearsal" / "runs").glob(f"rehearsal-*-{os.getpid() % 10_000:04d}"))


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (signal.SIGTERM, ["Deploying"], ["Stopped before anything was started. No resource is left."]),
        (signal.SIGINT, ["✓ DescribeTraining"], ["ABORTED: Stopped", "✓ training jobs: none", "✓ TearDown: SUCCEEDED"]),
        (signal.SIGINT, ["DescribeTraining", "TearDown follows"],
         ["You left before TearDown ended.", "  training jobs: captune-", "  endpoints: none"]),
    ],
    ids=["before the start: nothing is left", "once: TearDown follows", "twice: leaves and says what is left"],
)  # fmt: skip
def test_a_signal_stops_the_execution_also_in_a_background_job(
    number: int, words: list[str], said: list[str], assembly: Path, tmp_path: Path
) -> None:
    shown, arguments = Impatient(number, *words), ["--quick", "--results", str(tmp_path / "results")]
    earlier = accounts_here()
    before = signal.signal(number, signal.SIG_IGN)  # a shell lets a background job ignore Ctrl-C
    try:
        # Whoever leaves in the middle of TearDown has to meet a job that is still Stopping.
        plan = TrainingPlan("hangs", stop_looks=10_000 if "left before" in said[0] else 1)
        code = rehearse(shown, arguments, engines=engines(plan), time_scale=500, assembly=Assembly(assembly))
        assert signal.getsignal(number) is signal.SIG_IGN, "it is given back"
    finally:
        signal.signal(number, before)
    assert code == 130, shown.getvalue()
    for expected in said:
        assert expected in shown.getvalue()
    assert accounts_here() == earlier, "none is left behind"


@pytest.mark.thorough
def test_a_job_that_lost_its_instance_goes_on_and_the_report_tells_of_it(tmp_path: Path) -> None:
    """The real training process is killed where AWS takes the instance away."""
    from tests.doubles.rehearsal.toy_models import FAMILIES  # takes seconds: other tests here need no torch

    def toy(cache: Path) -> Path:
        FAMILIES["Llama 2"].make(tmp_path / "toy")
        return tmp_path / "toy"

    results = tmp_path / "results"
    asked = ["--quick", "--plain", "--epochs", "2", "--interrupt-at", "1", "--results", str(results), "--as", "spot"]
    said = io.StringIO()

    code = rehearse(said, asked, model=Substitute("Toy Llama", 50_000, toy))

    assert code == 0, said.getvalue()
    summary = json.loads((results / "spot" / "summary.json").read_text("utf-8"))
    spot, training = summary["configuration"]["spot"], summary["training"]
    assert (summary["status"], spot["interruptions"], training["starts"]) == ("SUCCEEDED", 1, 2)
    assert training["steps"] == training["planned_steps"] > 1
    assert 0 < spot["billed_seconds"] < spot["training_seconds"]
    assert summary["cost"]["training_seconds"] == spot["billed_seconds"]
    assert "1 interruption, " in (results / "spot" / "report.html").read_text("utf-8")
