"""The folders of a training job with a tiny model of the real kind, and training/train.py as a process in them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_models import prose

SCRIPT = Path(__file__).parents[3] / "training" / "train.py"

SETTINGS = {
    "epochs": "6", "learning_rate": "0.01", "sequence_length": "64", "sequences_per_step": "2", "lora_rank": "4",
    "lora_dropout": "0.1", "seed": "3", "time_budget_seconds": "600",
}  # fmt: skip
# Writes a checkpoint every few steps, and a note after each: an interval that no setting accepts.
HURRIED = f"""
import dataclasses, runpy, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import arguments
read = arguments.read_arguments
arguments.read_arguments = lambda path: dataclasses.replace(read(path), checkpoint_minutes=0.002)
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


class Container:
    """The folders of one training job, and the process in them."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root = root
        # A CPU asks itself by the clock whether bfloat16 is fast; beside other tests its second start could answer otherwise than its
        # first, and a checkpoint of another precision counts for nothing. Without AVX-512 the answer is always no.
        self.environment = {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        self.command = [str(SCRIPT)]
        data = root / "input" / "data"
        for folder in (data / "corpus", data / "evaluation", root / "input" / "config", root / "model"):
            folder.mkdir(parents=True)
        shutil.copytree(model, data / "model")
        (data / "corpus" / "corpus.txt").write_text(corpus_of(8, 150), encoding="utf-8")
        for name, count in (("heldout", 6), ("outside", 7), ("control", 2)):
            entries = [{"id": f"{name}-{n}", "title": f"T{n}", "text": prose(n + 50, 60 + n)} for n in range(count)]
            self.evaluates(name, entries)
        self.evaluates("choices", items(4))
        self.settings()

    def evaluates(self, name: str, rows: list[dict[str, Any]]) -> None:
        path = self.root / "input" / "data" / "evaluation" / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def settings(self, **changes: str) -> None:
        """Write hyperparameters.json with these changes to the usual settings."""
        path = self.root / "input" / "config" / "hyperparameters.json"
        path.write_text(json.dumps(SETTINGS | changes), encoding="utf-8")

    def set_aside(self, count: int, name: str = "scale") -> None:
        """Write so many documents by which the adapter scale is chosen."""
        self.evaluates(name, [{"id": f"s{n}", "title": "", "text": prose(n + 90, 60)} for n in range(count)])

    def instance(self, kind: str, **more: object) -> None:
        path = self.root / "input" / "config" / "resourceconfig.json"
        path.write_text(json.dumps({"current_instance_type": kind, **more}), encoding="utf-8")

    def start(self) -> subprocess.Popen[str]:
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "LOCPATH", "TZ", "COVERAGE_PROCESS_CONFIG")
        environment = {key: value for key, value in os.environ.items() if key in kept}
        return subprocess.Popen(
            [sys.executable, *self.command, "--root", str(self.root)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", env=environment | self.environment,
        )  # fmt: skip

    def run(self) -> tuple[int, list[str]]:
        """Run to the end and return the exit code and the lines."""
        process = self.start()
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output.splitlines()

    def completes(self) -> list[str]:
        code, lines = self.run()
        assert code == 0, "\n".join(lines)
        return lines

    def signal_after(self, *plan: str | int) -> tuple[int, list[str]]:
        """Run, and send signals: once a line begins with the first word of `plan` the number after it is sent, and so on."""
        process = self.start()
        assert process.stdout is not None
        lines, left = [], list(plan)
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if left and line.startswith(str(left[0])):
                process.send_signal(int(left[1]))
                del left[:2]
            if not left:
                break
        rest, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, lines + rest.splitlines()

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "model" / "metrics.json").read_text(encoding="utf-8")))

    @property
    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text(encoding="utf-8")


def corpus_of(documents: int, words: int) -> str:
    return "\n\n".join(f"# Document {number}\n\n{prose(number, words)}" for number in range(documents))


def items(count: int) -> list[dict[str, Any]]:
    """Prompts that share their ends, each with another one as the right one."""
    ends, found = [prose(n, 3) for n in range(count)], []
    for n, right in enumerate(ends):
        choices = [right, *ends[:n], *ends[n + 1 :]]
        found.append(
            {"id": f"i{n}", "kind": "choice", "cluster": "set", "prompt": prose(n + 30, 5), "choices": choices}
        )
    return found


def starting(lines: list[str], event: str) -> list[str]:
    return [line for line in lines if line.startswith(event + " ")]
