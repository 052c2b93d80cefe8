"""Arguments and options that several commands share: one name and one sentence for one meaning."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rehearsal.conductor.options import SETTING, SETTING_FLAGS

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or `latest`.", show_default=False)]
Results = Annotated[Path, typer.Option(metavar="FOLDER", help="Look for runs in this folder.")]
Region = Annotated[
    str | None, typer.Option(help="Use this AWS region (default: the one in cdk.json).", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result to this file too.")]
External = Annotated[
    Path | None, typer.Option("--outside", metavar="FILE", help="Measure on this external test set too.")
]
Settings = Annotated[
    list[str] | None, typer.Option(*SETTING_FLAGS, metavar="NAME=VALUE", show_default=False, help=SETTING)
]
Server = Annotated[Literal["transformers", "vllm"], typer.Option(help="Answer with this model server on this machine.")]
Base = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Use these weights of the base model, to answer a fetched run here.", show_default=False
    ),
]
