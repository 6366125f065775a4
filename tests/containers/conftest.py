"""What tests of containers share."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.scripts.environment import Topics
from tests.support.fake_kubectl import FakeKubectl

from . import schemas


@pytest.fixture(scope="session")
def crd() -> jsonschema.Draft7Validator:
    """What the operator takes for a FlinkDeployment."""
    return jsonschema.Draft7Validator(schemas.flink_deployment())


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    return FakeKubectl(tmp_path / "kubectl", monkeypatch)


@pytest.fixture
def spec() -> JobSpec:
    topics = {role: topic.name for role, topic in Topics().by_role().items()}
    return JobSpec("detect", "prod", "pumps", "0" * 64, 7, "kafka:9092", topics, 4, dict.fromkeys(range(4), 0), parallelism=3)
