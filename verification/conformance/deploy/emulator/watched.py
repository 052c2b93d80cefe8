"""A dictionary that knows which of its keys somebody looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Watched(dict[str, Any]):
    """A dictionary that remembers which of its keys were asked for; whoever looks at all has read all."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """As a dictionary's."""
        self.read.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """As a dictionary's."""
        self.read.add(key)
        return super().pop(key, *default)

    def items(self) -> Any:
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().values()

    def keys(self) -> Any:
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().keys()

    def copy(self) -> dict[str, Any]:
        """As a dictionary's."""
        return dict(self.items())
