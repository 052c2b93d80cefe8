"""examples/first_run.ipynb: every cell runs, in order, against a rehearsal."""

import ast
import json
import re
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


@pytest.mark.thorough
def test_the_notebook_follows_a_rehearsal_and_asks_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CELLS[0], names)
    names["RESULTS"] = tmp_path
    for cell in CELLS[1:]:
        exec(cell, names)
    assert set(names["replies"]) == {"base", "medical"} and all(names["replies"].values())
    assert {"held-out documents", "retention set"} <= set(names["losses"].index)
    assert names["losses"].loc["held-out documents", "documents"] >= 6
    assert len(names["side_by_side"]) and set(names["side_by_side"].columns) == {"prompt", "base model", "fine-tuned"}
    assert names["server"].returncode is not None, "the model server has ended"
    assert re.search(r"\w", names["summary"]["headline"])
