"""A prompts file, line by line."""

from __future__ import annotations

import json
from typing import Any

GOOD: dict[str, Any] = {
    "id": "q-1",
    "kind": "question",
    "prompt": "Which gene encodes the protein p53?",
    "facts": [{"name": "gene", "pattern": r"\bTP53\b"}],
}


def lines(*prompts: Any) -> bytes:
    return "\n".join(p if isinstance(p, str) else json.dumps(p, ensure_ascii=False) for p in prompts).encode()
