"""What a person sees of a rehearsal: live on a terminal, plain lines everywhere else."""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Self, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rehearsal.programs import as_typed

_FIELD = re.compile(r"(\w+)=(\S+)")
_PHASES = {
    "load": "loading the model",
    "evaluate-base": "losses of the base model",
    "train": "training",
    "choose-scale": "choosing the adapter scale",
    "evaluate-tuned": "losses of the fine-tuned model",
    "save": "saving the adapter",
}
_LOSSES = {"heldout": "held-out loss", "outside": "external loss"}
_SETS = {
    "heldout": "held-out documents",
    "outside": "external documents",
    "control": "retention set",
    "outside_shuffled": "external documents, their words shuffled",
    "heldout_shuffled": "held-out documents, their words shuffled",
    "scale": "documents that choose the adapter scale",
    "training_text": "training text",
    "choices": "multiple-choice items",
}
_NOT_THERE = "ResourceNotFoundException"  # what was to be removed is not there: TearDown looks for everything
_CAUSE = 160  # letters of a failure's cause beside its state; the whole of it stands at the end
_PLAIN_EVERY = 15.0  # seconds between two lines of progress that are not on a terminal


def fields_of(line: str) -> tuple[str, dict[str, str]]:
    """The kind of a line that the training container printed, and its fields."""
    kind, _, rest = line.partition(" ")
    return kind, dict(_FIELD.findall(rest))


def cause_of(cause: Any) -> str:
    """The sentence in a failure's cause: a Lambda's is JSON until a state has put it into words."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(cause)["errorMessage"])
    return str(cause or "")


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _left(seconds: float | str | None) -> str:
    """The end of a note on progress; empty where no time is known or left."""
    return f" · {duration(float(seconds))} left" if seconds and float(seconds) else ""


class _TolerantFile:
    """A file whose reader may have gone: errors of writing are ignored."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write, and ignore errors."""
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, and ignore errors."""
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Display:
    """Prints steps, states and training; `plain` without a live display even on a terminal. Thread-safe; use it in a with-statement."""

    def __init__(self, plain: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        # Where the reader of a pipe has gone, rich would end the thread that prints.
        self.console.file = cast(IO[str], _TolerantFile(self.console.file))
        self.live = self.console.is_terminal and not plain
        self._lock = threading.RLock()
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=self.console, transient=True, disable=not self.live,
        )  # fmt: skip
        self._now = self._progress.add_task("", total=None, note="", visible=False)
        self._bar = self._progress.add_task("", note="", visible=False)
        self._last_plain = 0.0
        self._seen: set[tuple[str, str]] = set()
        self._entered: dict[tuple[str, str], float] = {}
        self._machine = ""
        self._moved = ""  # what the bar shows
        self._answers = 0
        self._failed: set[str] = set()  # machines whose last task failed

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str = "") -> None:
        """Print a line."""
        with self._lock:
            self.console.print(as_typed(text))

    def _doing(self, what: str) -> None:
        with self._lock:
            self._progress.reset(self._now, description=escape(what), visible=bool(what))

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """A step of the conductor; what is appended to the list is shown behind it."""
        notes: list[str] = []
        started = time.monotonic()
        self._doing(what)
        if not self.live:
            self.say(f"{what} …")
        yield notes
        self._doing("")
        note = f"  [dim]{escape('; '.join(notes))}[/]" if notes else ""
        self.say(f"[green]✓[/] {escape(what)}  [dim]{duration(time.monotonic() - started)}[/]{note}")

    def history(self, machine: str, event: Mapping[str, Any]) -> None:
        """An event of an execution's history; a state that is entered again (a loop) is shown only the first time."""
        entered, left = event.get("stateEnteredEventDetails"), event.get("stateExitedEventDetails")
        key = (machine, (entered or left or {}).get("name", ""))
        with self._lock:
            if entered is not None or "taskSucceededEventDetails" in event:
                self._failed.discard(machine)
            if entered is not None:
                self._entered[key] = time.monotonic()
                self._doing(f"{machine} · {entered['name']}")
                if key not in self._seen:
                    self._heading(machine)
                    if not self.live:
                        self.say(f"  → {entered['name']}")
            elif left is not None and key not in self._seen:
                self._seen.add(key)
                seconds = time.monotonic() - self._entered.get(key, time.monotonic())
                self._heading(machine)
                mark = "[red]✗[/]" if machine in self._failed else "[green]✓[/]"
                self.say(f"  {mark} {escape(left['name'])}  [dim]{duration(seconds)}[/]")
            for name in ("taskFailedEventDetails", "taskTimedOutEventDetails", "evaluationFailedEventDetails"):
                if (failure := event.get(name)) is not None and not str(failure.get("error")).endswith(_NOT_THERE):
                    self._failed.add(machine)
                    cause = " ".join(cause_of(failure.get("cause")).split())
                    cause = cause if len(cause) <= _CAUSE else f"{cause[:_CAUSE].rpartition(' ')[0]} …"
                    self.say(f"  [yellow]![/] {escape(str(failure.get('error')))}: {escape(cause)}")

    def _heading(self, machine: str) -> None:
        if machine != self._machine:
            self._machine = machine
            self.say(f"\n[bold]{escape(machine)}[/]")

    def training(self, line: str) -> None:
        """A line that the training container printed."""
        kind, values = fields_of(line)
        if kind == "phase" and values.get("name") in _PHASES:
            self._end_bar()
            self.say(f"    {_PHASES[values['name']]} …")
        elif kind in _LOSSES:
            self._end_bar()
            model = values.get("model", "").replace("tuned", "fine-tuned")
            self.say(
                f"    {_LOSSES[kind]}, {model} model: {values.get('loss')} nats per token ({values.get('tokens')} tokens)"
            )
        elif kind == "expected":
            about = duration(float(values["seconds"]))
            self.say(
                f"    first estimate, after a second of training: the training job takes about {about} on this machine"
            )
        elif kind == "resume":
            self.say(f"    training continues after step {values['step']} of {values['steps']}")
        elif kind == "curve":
            self.say(f"    loss on the openings of held-out documents after step {values['step']}: {values['loss']}")
        elif kind == "finished":
            self._end_bar()
            self.say(f"    the training script took {duration(float(values.get('seconds', 0)))}")
        elif kind == "progress" and "step" in values:
            step, steps = int(values["step"]), int(values["steps"])
            note = f"step {step}/{steps} · loss {values.get('loss')} · {values.get('tokens_per_second')} tokens/s"
            note += _left(values.get("seconds_left"))
            self._move_bar("training", step, steps, note, note)
        elif kind == "scored":
            name = _SETS.get(values.get("set", ""), "documents")
            done, of = int(values["windows"]), int(values["of"])
            note = f"{done} of {of} parts{_left(values.get('seconds_left'))}"
            self._move_bar(name, done, of, note, f"{name} · {note}")

    def asked(self, done: int, of: int) -> None:
        """So many of the answers are there; said once for each number."""
        if done > self._answers:
            self._answers = done
            left = self._progress.tasks[self._bar].time_remaining if done < of else None  # rich's own estimate
            note = f"{done} of {of} answers{_left(left)}"
            self._move_bar("asking both models", done, of, note, note)

    def _end_bar(self) -> None:
        with self._lock:
            self._progress.update(self._bar, visible=False)

    def _move_bar(self, what: str, done: int, of: int, note: str, line: str) -> None:
        """Moves the bar of `what`, with the note behind it; where there is no terminal, says `line` now and then."""
        with self._lock:
            if what != self._moved:  # the speed of something else tells no time
                self._moved = what
                self._progress.reset(self._bar, total=of)
            self._progress.update(self._bar, description=what, completed=done, total=of, note=note, visible=True)
            if not self.live and (done == of or time.monotonic() - self._last_plain >= _PLAIN_EVERY):
                self._last_plain = time.monotonic()
                self.say(f"    {line}")
