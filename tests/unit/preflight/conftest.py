"""An account in which a run can start, until a test changes something."""

from __future__ import annotations

import pytest

from tests.doubles.preflight_site import Site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """The account, on 24 November 2026."""
    return Site(monkeypatch)
