"""Which properties of a resource ministack never looks at while it creates it.

Why it exists: an emulator that ignores a property deploys any value of it. What was deployed must not be mistaken for
what was checked, so each creation writes what it left unread into the file that IGNORED_PROPERTIES names, a JSON object
a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.services.cloudformation import provisioners
from watched import Watched

Create = Callable[[str, dict[str, Any], str], Any]


def _watching(kind: str, create: Create, file: Path) -> Create:
    def watched(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
        declared = sorted(properties)
        watch = Watched(properties)
        made = create(logical_id, watch, stack_name)
        line = {"type": kind, "stack": stack_name, "unread": [name for name in declared if name not in watch.read]}
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(line)}\n")
        return made

    return watched


def install() -> None:
    """Watch the creation of every type of resource."""
    file = Path(os.environ["IGNORED_PROPERTIES"])
    for kind, handler in provisioners._RESOURCE_HANDLERS.items():
        if "create" in handler:
            handler["create"] = _watching(kind, handler["create"], file)
