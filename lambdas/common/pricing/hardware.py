"""How much hardware a run takes, beside its instance types. The plan carries it, and the definition starts what the plan says."""

from __future__ import annotations

# How many train is a setting.
ENDPOINT_INSTANCES = 1
# 13.5 GB of weights, as much again for a checkpoint, and room for the image. Types with a disk of their own ignore it.
TRAINING_VOLUME_GB = 100
