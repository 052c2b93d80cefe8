"""Faults that a review planted by hand and that no test noticed then, where mutmut has no operator that makes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Some lines of a file under lambdas/, which stand there once, and what takes their place."""

    title: str
    file: str
    before: str
    after: str


NAMED: tuple[Fault, ...] = ()
