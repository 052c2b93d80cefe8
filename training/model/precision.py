"""The number format in which a CPU computes, measured: `python -m model.precision` prints it."""

import math
import time

import torch

BFLOAT16_WORTH = 1.3  # a CPU must multiply that much faster in bfloat16 before we give up float32's accuracy


def bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies in bfloat16 clearly faster than in float32 (it takes a fifth of a second to ask)."""
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(6):  # taking turns, and the best of six, because other work may run on the machine
        for kind in best:
            left, right = torch.ones(512, 576, dtype=kind), torch.ones(576, 1536, dtype=kind)
            begun = time.perf_counter()
            left @ right
            best[kind] = min(best[kind], time.perf_counter() - begun)
    return best[torch.float32] > BFLOAT16_WORTH * best[torch.bfloat16]


if __name__ == "__main__":
    print("bfloat16" if bfloat16_is_faster() else "float32")
