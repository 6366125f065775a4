"""Fixtures: one artifact of each kind, and rows."""

from __future__ import annotations

import pytest

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.kinds import KINDS
from tests.unit.models.examples import example, sample


@pytest.fixture(params=sorted(KINDS))
def artifact(request: pytest.FixtureRequest) -> Artifact:
    """One artifact of each kind there is."""
    return example(request.param)


@pytest.fixture
def rows() -> Float64:
    return sample()
