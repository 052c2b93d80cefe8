"""Engines that follow a script and do no work: for the workflow's tests and the failure matrix.

Why beside the real ones: a cell of the matrix has to end in a second, and no real container can be told to fail in its third minute.
"""

from .hosting import FakeHosting, HostingPlan
from .training import FakeTraining, TrainingPlan

__all__ = ["FakeHosting", "FakeTraining", "HostingPlan", "TrainingPlan"]
