"""examples/first_run.ipynb: every cell runs, in order, against a rehearsal."""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from captune.account import PROJECT

NOTEBOOK = PROJECT / "examples" / "first_run.ipynb"
CELLS = [
    "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"
]


def test_no_cell_keeps_an_output_and_each_is_python() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code"] == [[]] * len(CELLS)
    for cell in CELLS:
        ast.parse(cell)


def test_its_aws_part_reads_outputs_that_the_stack_has() -> None:
    template = json.loads((PROJECT / "tests/stacks/snapshots/FineTuning.json").read_text("utf-8"))
    read = set(re.findall(r'outputs\["(\w+)"\]', "\n".join(CELLS)))
    assert read and read <= template["Outputs"].keys()


# What the notebook calls as captune: the same commands, with a toy model instead of one that is fetched.
TOY = """
import sys
from functools import partial
from pathlib import Path
from captune.__main__ import app
from rehearsal.conductor import conductor
from rehearsal.models.weights import Substitute
base, *words = sys.argv[1:]
toy = Substitute("Toy Llama", 50_000, lambda cache: Path(base))
conductor.Conductor = partial(conductor.Conductor, model=toy)
app(words if words[0] == "rehearse" else [*words, "--base", base])
"""


@pytest.mark.thorough
def test_the_notebook_follows_a_rehearsal_and_asks_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.doubles.rehearsal.toy_models import FAMILIES  # takes seconds: the other tests here need no torch

    matplotlib.use("agg")
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CELLS[0], names)
    FAMILIES["Llama 2"].make(tmp_path / "toy")
    (tmp_path / "toy.py").write_text(TOY)
    names["RESULTS"], names["CAPTUNE"] = (
        tmp_path / "results",
        [sys.executable, str(tmp_path / "toy.py"), str(tmp_path / "toy")],
    )
    for cell in CELLS[1:]:
        exec(cell, names)
    assert set(names["replies"]) == {"base", "medical"}
    assert {"held-out documents", "retention set"} <= set(names["losses"].index)
    assert names["losses"].loc["held-out documents", "documents"] >= 6
    assert len(names["side_by_side"]) and set(names["side_by_side"].columns) == {"prompt", "base model", "fine-tuned"}
    assert names["server"].returncode is not None, "the model server has ended"
    assert re.search(r"\w", names["summary"]["headline"])
