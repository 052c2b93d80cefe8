"""captune COMMAND [options]: `captune --help` lists the commands, `captune COMMAND --help` the options of one."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from captune.commands import COMMANDS, EXAMPLES, Command

# A command's own options, --help too, are read by its module: an option stands in one place, whichever way it is reached.
_ALL_WORDS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}

app = typer.Typer(
    help="Fine-tune Llama 2 7B on AWS under a cap of $25, and rehearse all of it on this machine.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


def _run(command: Command, words: list[str]) -> int:
    try:
        code: int = import_module(command.module).main([*command.words, *words], command.prog)
    except ModuleNotFoundError as error:
        print(
            f"captune {command.name} needs {error.name}, which is not installed here: run make setup.", file=sys.stderr
        )
        return 1
    return code


def _add(command: Command) -> None:
    @app.command(command.name, help=command.purpose, rich_help_panel=command.group, context_settings=_ALL_WORDS)
    def run(context: typer.Context) -> None:
        raise typer.Exit(_run(command, context.args))


for _command in COMMANDS:
    _add(_command)


if __name__ == "__main__":
    app(prog_name="captune")
