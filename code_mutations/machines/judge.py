"""Asks checks about a mutant, each mutant in a process of its own that begins with everything loaded."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .mutants import Mutant

PATIENCE = 300  # seconds until a mutant that does not come to an end counts as noticed


@dataclass(frozen=True)
class Check:
    """Something that holds of the machines as they are. `holds` says whether it still does."""

    name: str
    holds: Callable[[], bool]
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the check that noticed it, or none."""

    mutant: Mutant
    noticed_by: str | None


class Judge:
    """Judges mutants against checks. Those that noticed the neighbours of a mutant are asked first.

    Args:
        checks: what is asked.
        processes: how many mutants are judged at once.
        remembered: the check that noticed a mutant the last time, by the mutant's name; it is asked before all others.
    """

    def __init__(
        self, checks: Sequence[Check], processes: int = 1, remembered: Mapping[str, str] | None = None
    ) -> None:
        self._checks, self._processes, self._remembered = checks, processes, remembered or {}
        self._noticed: Counter[tuple[str, str]] = Counter()

    def judge(self, mutants: Iterable[Mutant]) -> Iterator[Verdict]:
        """The verdict on each mutant, in the order in which they are known."""
        waiting, running = iter(mutants), dict[int, tuple[Mutant, int]]()
        gc.freeze()  # what is loaded stays shared between the processes, for nobody walks through it any more
        while True:
            while len(running) < self._processes and (mutant := next(waiting, None)) is not None:
                process, answer = self._start(mutant)
                running[process] = mutant, answer
            if not running:
                return
            process, _ = os.wait()
            if process not in running:
                continue
            mutant, answer = running.pop(process)
            with os.fdopen(answer) as said:
                words = said.read()
            # A process that dies without a word was brought down by the mutant.
            name = words.removeprefix("noticed ") if words != "lives" else None
            if name is not None:
                name = name or "the end of its process"
                self._noticed[mutant.state, name] += 1
                self._noticed["", name] += 1
            yield Verdict(mutant, name)

    def _start(self, mutant: Mutant) -> tuple[int, int]:
        reading, writing = os.pipe()
        process = os.fork()
        if process:
            os.close(writing)
            return process, reading
        try:
            signal.alarm(PATIENCE)
            gc.disable()
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            mutant.apply()
            noticed = next((check.name for check in self._ranked(mutant) if not check.holds()), None)
            os.write(writing, f"noticed {noticed}".encode() if noticed else b"lives")
        finally:
            os._exit(0)

    def _ranked(self, mutant: Mutant) -> list[Check]:
        def rank(check: Check) -> tuple[bool, int, float]:
            here, anywhere = self._noticed[mutant.state, check.name], self._noticed["", check.name]
            is_new = check.name != self._remembered.get(mutant.name)
            return is_new, -here, -(anywhere + 0.1) / (check.seconds + 0.01)

        return sorted(self._checks, key=rank)
