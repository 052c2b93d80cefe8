"""The models that a rehearsal can train and serve in place of the real one, by the names of its option; each is made once on this machine."""

from collections.abc import Mapping

from .gemma_3 import GEMMA
from .llama_2 import LARGE
from .weights import SMALL, Substitute

DEFAULT = "smollm2-135m"
STAND_INS: Mapping[str, Substitute] = {DEFAULT: SMALL, "gemma-3-270m": GEMMA, "llama-2-7b-shape": LARGE}
