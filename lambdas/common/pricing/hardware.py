"""How much hardware a run takes, beside its instance types. The plan carries it, and the definition starts what the plan says."""

from __future__ import annotations

# The prices of a reservation are those of one instance.
TRAINING_INSTANCES = 1
ENDPOINT_INSTANCES = 1
# 13.5 GB of weights, as much again for a checkpoint, and room for the image. Types with a disk of their own ignore it.
TRAINING_VOLUME_GB = 100
