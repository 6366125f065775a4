"""What tests of commands share."""

from __future__ import annotations

import pytest

from tests.support.topics import Topics


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Topics in memory, in the place of a broker's."""
    return Topics(monkeypatch)
