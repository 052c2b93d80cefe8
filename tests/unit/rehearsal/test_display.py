"""What a person sees: a live display on a terminal, plain lines that scroll everywhere else, each thing once."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.progress import Task

from rehearsal.conductor import display as module
from rehearsal.conductor.display import Display
from tests.doubles import MovedTime


def shown(*, terminal: bool = False, plain: bool = False) -> tuple[Display, io.StringIO]:
    said = io.StringIO()
    console = Console(file=said, width=160, highlight=False, soft_wrap=True, force_terminal=terminal, color_system=None)
    return Display(plain=plain, console=console), said


def history(display: Display, machine: str, kind: str, name: str) -> None:
    display.history(machine, {f"state{kind}EventDetails": {"name": name}})


def training(display: Display, *lines: str) -> None:
    for line in lines:
        display.training(line)


def progress(step: int, of: int) -> str:
    return f"progress step={step} steps={of} loss=3.1 tokens_per_second=400 seconds_left=75"


def bars(display: Display) -> list[Task]:
    return [task for task in display._progress.tasks if task.visible]


def test_a_state_is_shown_once_under_the_heading_of_its_machine() -> None:
    display, said = shown()
    for _ in range(3):
        history(display, "FineTuning", "Entered", "WaitForTraining")
        history(display, "FineTuning", "Exited", "WaitForTraining")
    for state in ("Begin", "SettleLedger"):
        history(display, "TearDown", "Exited", state)
    assert said.getvalue().count("→ WaitForTraining") == said.getvalue().count("✓ WaitForTraining") == 1
    assert [line for line in said.getvalue().splitlines() if line and line[0] != " "] == ["FineTuning", "TearDown"]


@pytest.mark.parametrize("form", ["{}", '{{"errorMessage": "{}", "errorType": "InvalidInput"}}'])
def test_a_failed_task_is_one_line_with_its_sentence_and_its_state_has_no_tick(form: str) -> None:
    display, said = shown()
    sentence = "two lines [a] " + "word " * 100
    failed = {"taskFailedEventDetails": {"error": "InvalidInput", "cause": form.format(sentence)}}
    history(display, "FineTuning", "Entered", "Preflight")
    display.history("FineTuning", failed)
    history(display, "FineTuning", "Exited", "Preflight")
    *_, line, left = said.getvalue().splitlines()
    assert line.startswith("  ! InvalidInput: two lines [a] word word") and line.endswith("word …")
    assert len(line) <= len("  ! InvalidInput:  …") + 160
    assert left.startswith("  ✗ Preflight")


def test_a_state_that_was_tried_again_or_found_nothing_to_remove_has_not_failed() -> None:
    display, said = shown()
    for name, error in (
        ("Ask", "Lambda.TooManyRequestsException"),
        ("DeleteSchedule", "Scheduler.ResourceNotFoundException"),
    ):
        history(display, "TearDown", "Entered", name)
        display.history("TearDown", {"taskFailedEventDetails": {"error": error, "cause": "it"}})
        if name == "Ask":
            display.history("TearDown", {"taskSucceededEventDetails": {}})
        history(display, "TearDown", "Exited", name)
    assert "✓ Ask" in said.getvalue() and "✓ DeleteSchedule" in said.getvalue()
    assert "! Lambda" in said.getvalue() and "! Scheduler" not in said.getvalue()


def test_answers_are_counted() -> None:
    display, said = shown()
    for done in (0, 5, 5, 12, 12):
        display.asked(done, 12)
    assert said.getvalue() == "    5 of 12 answers\n    12 of 12 answers\n"


def test_the_time_left_for_answers_follows_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", clock := MovedTime())
    display, said = shown()
    monkeypatch.setattr(display._progress, "get_time", lambda: clock.now)
    for step in range(1, 6):  # whose speed says nothing of the answers'
        clock.now += 1.0
        training(display, progress(step, 5))
    for done in (2, 4, 6, 12):
        clock.now += 20.0
        display.asked(done, 12)
    assert said.getvalue().splitlines()[-2:] == ["    6 of 12 answers · 1 min 20 s left", "    12 of 12 answers"]


def test_without_a_terminal_phases_and_losses_are_a_line_each() -> None:
    display, said = shown()
    training(
        display, "phase name=load", "phase name=dance", "no such line", "heldout model=base loss=4.59 tokens=1200",
        "scored set=control windows=1 of=9",
    )  # fmt: skip
    assert said.getvalue().splitlines() == [
        "    loading the model …",
        "    held-out loss, base model: 4.59 nats per token (1200 tokens)",
        "    retention set · 1 of 9 parts",
    ]


def test_without_a_terminal_progress_is_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", clock := MovedTime())
    display, said = shown()
    for step, clock.now in enumerate((100.0, 101.0, 116.0, 117.0, 118.0), start=1):
        training(display, progress(step, 5))
    lines = [line.split(" · ")[0].strip() for line in said.getvalue().splitlines()]
    assert lines == ["step 1/5", "step 3/5", "step 5/5"]
    assert "loss 3.1 · 400 tokens/s · 1 min 15 s left" in said.getvalue()


def test_the_time_left_is_a_first_estimate_and_then_the_jobs_own() -> None:
    display, said = shown()
    training(
        display,
        "expected seconds=200",
        *(f"scored set=heldout windows=4 of=4{left}" for left in (" seconds_left=70", "")),
    )
    assert said.getvalue().splitlines() == [
        "    first estimate, after a second of training: the training job takes about 3 min 20 s on this machine",
        "    held-out documents · 4 of 4 parts · 1 min 10 s left",
        "    held-out documents · 4 of 4 parts",
    ]


def test_what_training_took_is_said_at_its_end() -> None:
    display, said = shown()
    training(display, "finished seconds=74.2")
    assert said.getvalue() == "    the training script took 1 min 14 s\n"


def test_points_of_the_held_out_curve_and_a_resumed_training_are_a_line_each() -> None:
    display, said = shown()
    training(display, "resume step=12 steps=25 made_again=3", "curve step=19 loss=3.5180")
    assert said.getvalue().splitlines() == [
        "    training continues after step 12 of 25",
        "    loss on the openings of held-out documents after step 19: 3.5180",
    ]


def test_on_a_terminal_training_and_each_text_have_a_bar_until_their_end() -> None:
    display, said = shown(terminal=True)
    with display:
        with display.step("Synthesizing"):
            assert [task.description for task in bars(display)] == ["Synthesizing"]
        history(display, "FineTuning", "Entered", "WaitForTraining")
        training(display, "phase name=train", progress(1, 4), progress(2, 4))
        now, bar = bars(display)
        display._progress.refresh()
        assert " 50%" in said.getvalue()
        assert (now.description, bar.completed, bar.total) == ("FineTuning · WaitForTraining", 2, 4)
        assert bar.fields["note"].split(" · ")[0] == "step 2/4"
        training(display, "phase name=evaluate-tuned", "scored set=heldout windows=20 of=80")
        bar = bars(display)[1]
        assert (bar.description, bar.completed, bar.total) == ("held-out documents", 20, 80)
        for end in ("heldout model=base loss=4.59 tokens=1200", "finished seconds=9"):
            training(display, "scored set=training_text windows=1 of=2", end)
            assert [task.description for task in bars(display)] == ["FineTuning · WaitForTraining"]
    assert "→ WaitForTraining" not in said.getvalue(), "the live line says so already"


def test_plain_lines_can_be_asked_for_on_a_terminal() -> None:
    display, said = shown(terminal=True, plain=True)
    with display, display.step("Deploying") as notes:
        notes.append("[x] left out")
    first, last = said.getvalue().splitlines()
    assert first == "Deploying …"
    assert last.startswith("✓ Deploying  ") and last.endswith(" s  [x] left out")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError()])
def test_a_closed_terminal_or_a_reader_that_is_gone_ends_no_thread_that_prints(error: OSError) -> None:
    """rich leaves such a thread by SystemExit, and an execution that ran in it would never come to its end."""

    def fail(*_: str) -> None:
        raise error

    closed = SimpleNamespace(write=fail, flush=fail, isatty=lambda: True)
    with Display(console=Console(file=cast(Any, closed))) as display:
        display.say("to no one")
