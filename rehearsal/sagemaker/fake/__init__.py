"""Engines that follow a plan and do no work: for tests of the workflow, and for failures that no real container has on demand."""

from .hosting import FakeHosting, HostingPlan
from .training import FakeTraining, TrainingPlan

__all__ = ["FakeHosting", "FakeTraining", "HostingPlan", "TrainingPlan"]
