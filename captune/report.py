"""`captune report`: judges a run's figures by today's rule and writes its report again.

A summary.json holds everything that a report shows, so a changed rule or page needs no new training.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from captune.account import Refused
from captune.flags import Results, RunName
from captune.kept_run import kept
from captune.runs import parsed
from common.contracts import run_folder
from common.storage import Storage
from report import render
from report.analysis import judged
from report.content.circumstances import is_of_records, is_smoke
from report.summary import decoding
from report.summary_types import Summary


class Folder:
    """What `Storage` calls of S3 to write, over the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        """Writes an object."""
        path = self._folder / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)


def without_titles(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The external losses with ids instead of titles: the repository holds no external documents."""
    if block is None:
        return None
    rows = [{**row, "title": row["id"]} for row in block.get("documents") or []]
    return {**block, **({"documents": rows} if rows else {})}


def judged_again(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary with the verdicts that today's rule gives its figures."""
    figures = (summary.get(key) for key in ("heldout", "beyond_control", "choices", "outside"))
    smoke, records = is_smoke(summary), is_of_records(summary)
    told = {key: summary.get(key) for key in ("scale", "word_order", "domain")}
    return {**summary, **judged(*figures, smoke=smoke, records=records, **told)}


def rewrite(source: Path, target: Path, *, for_the_repository: bool = False) -> str:
    """Writes the report of a results folder again, to another folder with copies of the run's other files; answers its verdict.

    `for_the_repository` replaces the titles of external documents with ids. Raises Refused for a run that is missing, damaged or was not measured.
    """
    file = source / run_folder.SUMMARY
    if not file.is_file():
        raise Refused(
            f"There is no {file}. Name the folder of a run, such as results/RUN: captune runs --here lists them."
        )
    summary = parsed(file.read_bytes(), str(file))
    if summary.get("status") != "SUCCEEDED" or not summary.get("heldout"):
        raise Refused(f"The run in {source} ended as {summary.get('status')}: it has no figures to judge.")
    target.mkdir(parents=True, exist_ok=True)
    if source.resolve() != target.resolve():
        for name in ("plan.json", "pre-trained.jsonl", "fine-tuned.jsonl"):
            shutil.copyfile(source / name, target / name)
    document = judged_again(summary)
    if for_the_repository and document.get("outside"):
        document["outside"] = without_titles(document["outside"])
    answers = [json.loads(line) for line in (source / "pre-trained.jsonl").read_text("utf-8").split("\n") if line]
    document["configuration"]["decoding"] = decoding(answers)
    render.write(Storage(Folder(target), "results"), "", cast(Summary, document))
    return str(document["verdict"])


def command(
    run: RunName,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write to this folder, with the answers and the plan.", show_default=False)] = None,
    for_the_repository: Annotated[bool, typer.Option("--for-the-repository", help="Replace the titles of external documents with their ids.")] = False,
    results: Results = Path("results"),
) -> None:  # fmt: skip
    """Reads the figures of a run and writes its report."""
    found = kept(run, results)
    source = found.folder if found else Path(run)
    verdict = rewrite(source, out or source, for_the_repository=for_the_repository)
    print(f"{out or source}: {verdict}")
