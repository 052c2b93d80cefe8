import pytest

from tests.doubles.preflight_site import Site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """An account in which a run can start, on 24 November 2026, until a test changes something."""
    return Site(monkeypatch)
