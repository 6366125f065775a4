"""What status finds out about shards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.operators.assignment import Upgrade
from swapstream.scripts import shard_status
from swapstream.scripts.controller import swap
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.lag import Lag
from swapstream.scripts.publish import Author, Part, publish
from swapstream.scripts.shard_status import shards_of
from tests.support.shards import deployable
from tests.support.topics import Topics

ONE = deployable("p", champion="a:1")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """One deployment that was swapped, and whose first shard said so."""
    topics, made = Topics(monkeypatch), Environment(directory=str(tmp_path))
    publish(made, "prod", [Part(*definition) for definition in ONE.definitions()], Author("me"))
    swap(made, "prod", "d", ONE.digest, Author("me"))
    row = {"namespace": "prod", "deployment": "d", "event": "activated", "partition": 0, "offset": 0, "epoch": 1, "plan_name": "p"}
    topics.send(made.topics.ledger.name, b"", msgspec.json.encode(row))
    monkeypatch.setattr(shard_status, "end_offsets", lambda *_: {0: 90, 1: 80})
    monkeypatch.setattr(shard_status, "starts", lambda *_: {0: 0})
    monkeypatch.setattr(shard_status, "lags", lambda _, group, ends: {0: Lag(3, 0.1), 1: Lag(80, 9.0)} if group == "prod.d" else {})
    return made


def test_plan_epoch_and_lag_of_each_shard(environment: Environment) -> None:
    rows = shards_of(environment, ["prod.d"])
    assert [(row["deployment"], row["partition"], row["plan"], row["epoch"], row["behind_records"]) for row in rows] == [
        ("prod.d", 0, "p", 1, 3), ("prod.d", 1, None, None, 80)]  # fmt: skip
    assert {row["newest_epoch"] for row in rows} == {1}


def test_a_job_that_reads_other_topics_has_no_rows(environment: Environment) -> None:
    assert shards_of(environment, ["alice.other"]) == []


def test_where_the_broker_is_away_there_are_no_rows(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ClusterError("no broker")

    monkeypatch.setattr(shard_status, "end_offsets", away)
    assert shards_of(environment, ["prod.d"]) == []
    assert shards_of(environment, []) == []


def test_blue_and_green_have_rows_of_their_own(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployments = Deployments(environment)
    told = JobSpec("detect", "prod", "d", ONE.digest, 0, "", {}, 2, {}, generation=3)
    green = msgspec.structs.replace(told, generation=4, line=4, upgrade=Upgrade("handover", ONE.digest, 2))
    deployments.save(Deployment("prod", "d", "detect", 2, generation=3))
    for one, path in ((told, deployments.spec("d")), (green, deployments.spec("d", green=True))):
        one.write(path)
    monkeypatch.setattr(shard_status, "lags", lambda _, group, ends: {"prod.d": {0: Lag(3)}, "prod.d.4": {1: Lag(7)}}[group])
    shown = [(row["side"], row["partition"], row["duty"], row["generation"], row["epoch"], row["behind_records"])
             for row in shards_of(environment, ["prod.d", "prod.d"])]  # fmt: skip
    assert shown == [("blue", 0, "emit", 3, 1, 3), ("blue", 1, "emit", 3, 0, None),
                     ("green", 0, "mute", 4, 2, None), ("green", 1, "mute", 4, 2, 7)]  # fmt: skip
