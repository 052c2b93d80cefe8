"""The runs of one seed, each a process of its own: its memory is its own, and training/ is called as a container calls it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verification.experiments.bench.material import Text
from verification.experiments.experiments import PROJECT
from rehearsal.sagemaker.real.container import environment_of

USUAL, SAME_TIME, WHOLE = "the usual recipe", "ours, in the same time", "ours, a default rehearsal"
RECIPES = (USUAL, SAME_TIME, WHOLE)
# The same for all: no GPU, and threads that wait soon sleep (training/train.py says why).
_SURROUNDINGS = {
    "CAPTUNE_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000",
    "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1",
}  # fmt: skip
_SAID = 2000  # characters of what a failed run said

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Bench:
    """The model and the text that every recipe is given, and who is told of each run."""

    text: Text
    model: Path
    say: Callable[[str], None] = print

    def seed(self, seed: int) -> dict[str, Metrics]:
        """The metrics of every recipe with one seed, in turns, so that a busy hour of the machine is shared by all."""
        usual = self._usual(seed)
        whole = self._ours(seed, WHOLE, {})
        fitting = steps_in(usual["training"]["seconds"], whole["training"])
        same_time = self._ours(
            seed,
            SAME_TIME,
            {
                "max_steps": str(fitting),
                "epochs": str(math.ceil(fitting / whole["training"]["steps"])),
                # By the size of one pass, as for the whole of it.
                "sequences_per_step": str(whole["settings"]["sequences_per_step"]),
            },
        )
        return {USUAL: usual, SAME_TIME: same_time, WHOLE: whole}

    def _usual(self, seed: int) -> Metrics:
        return self._run(seed, USUAL, {}, ["-m", "verification.experiments.bench.usual", "--seed", str(seed)])

    def _ours(self, seed: int, recipe: str, settings: Mapping[str, str]) -> Metrics:
        # As Preflight has the project's own texts learnt.
        given = {"seed": str(seed), "document_order": "written", **settings}
        return self._run(seed, recipe, given, [str(PROJECT / "training" / "train.py")])

    def _run(self, seed: int, recipe: str, settings: Mapping[str, str], command: Sequence[str]) -> Metrics:
        with tempfile.TemporaryDirectory(prefix="captune-bench-") as folder:
            root = Path(folder)
            self.text.lay_out(root, self.model, settings)
            path = {"PYTHONPATH": f"{PROJECT / 'training'}:{PROJECT}"}
            done = subprocess.run(
                [sys.executable, *command, "--root", str(root)],
                cwd=PROJECT,
                env=environment_of(_SURROUNDINGS | path, root, isolated=True),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ValueError(
                    f"{recipe}, seed {seed}, ended with {done.returncode}: {(done.stdout + done.stderr)[-_SAID:]}"
                )
            metrics: Metrics = json.loads((root / "model" / "metrics.json").read_text("utf-8"))
        training = metrics["training"]
        self.say(
            f"  seed {seed}, {recipe}: {training['steps']} steps in {training['seconds']:.0f} s, "
            f"{training['tokens_per_second']:.0f} tokens/s"
        )
        return metrics


def steps_in(seconds: float, whole: Mapping[str, Any]) -> int:
    """How many whole steps fit into so many seconds, by the pace of another training; one at least."""
    return max(1, int(seconds * whole["steps"] / whole["seconds"]))
