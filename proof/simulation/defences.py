"""The lines of defence that are neither code nor a state of a machine, each of which can be taken away for a control."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Defences:
    """What stands between a run and an open bill. All true in what is deployed."""

    dead_mans_switch: bool = True
    event_rule: bool = True
    sweeper: bool = True
    current_cap: bool = True


DEFENCES = Defences()
