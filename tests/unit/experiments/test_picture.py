"""The picture of a report's first screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.experiments import picture


def test_picture_without_a_browser_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="chromium"):
        picture.take(tmp_path / "r.html", tmp_path / "p.png")
