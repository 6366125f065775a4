"""What a rekey job is told, and what is refused before it starts; running it is tested on a real cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swapstream.models.errors import ClusterError, InvalidSettings, UnknownName
from swapstream.models.schema import Field, Schema
from swapstream.scripts import at_risk, rekey, upgrade
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author
from swapstream.scripts.rekey import RekeySubmission, check_schemas, check_takes, newest
from swapstream.scripts.submitted import the_deployment
from swapstream.scripts.upgrade_order import UpgradeOrder

RAW = Deployment("prod", "rekey-raw", "rekey", 2)
PUMP = Schema("pump", (Field("x"),), "json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(rekey, "partition_count", lambda environment, topic: {"telemetry": 4, "keyed": 8}[topic])
    return Environment(directory=str(tmp_path))


def test_it_is_told_what_to_read_and_what_to_write(here: Environment) -> None:
    told = RekeySubmission(here, RAW, None, [PUMP], "raw", None)._told("", 0, {0: 5, 1: 7}, "exactly_once")
    assert told.topics == {"telemetry": "raw", "rekeyed": "telemetry", "dead_letters": "dead-letters"}
    assert (told.partitions, told.start_offsets, told.schemas, told.plan, told.job) == (4, {0: 5, 1: 7}, (PUMP,), "", "rekey")
    assert (told.group, told.transactions) == ("prod.rekey-raw", "swapstream.prod.rekey-raw.output")
    assert RekeySubmission(here, RAW, None, [PUMP], "raw", "keyed")._told("", 0, {}, "exactly_once").partitions == 8


def test_what_it_is_told_can_be_read_again(here: Environment, tmp_path: Path) -> None:
    belt = Schema("belt", (Field("x", path=("a", "b")),), "json", device=("m", "id"), layout="columnar", type_key="k", type="b")
    told = RekeySubmission(here, RAW, None, [PUMP, belt], "raw", None)._told("", 0, {0: 5}, "exactly_once")
    told.write(tmp_path / "spec.json")
    assert type(told).read(tmp_path / "spec.json") == told


@pytest.mark.parametrize(("source", "target"), [("raw", "raw"), ("telemetry", None), ("dead-letters", None), ("raw", "dead-letters")])
def test_topics_must_differ(here: Environment, source: str, target: str | None) -> None:
    with pytest.raises(InvalidSettings, match="must be three topics"):
        RekeySubmission(here, RAW, None, [PUMP], source, target)


def test_it_goes_on_from_its_newest_checkpoint_where_there_is_one(here: Environment) -> None:
    assert newest(here, RAW) is None
    Deployments(here).save(RAW.submitted("a" * 32).stopped())
    assert newest(here, RAW) is None
    checkpoint = here.checkpoints / ("a" * 32) / "chk-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "_metadata").write_bytes(b"m")
    assert newest(here, RAW) == "latest"
    submission = RekeySubmission(here, RAW, newest(here, RAW), [PUMP], "raw", None)
    assert submission.restore is not None
    assert submission.restore.uri == checkpoint.as_uri()


@pytest.mark.parametrize(("others", "said"), [
    ([Schema("fan", (Field("x"),), "msgpack", type_key="kind", type="fan")], "share a codec; these have json, msgpack"),
    ([Schema("fan", (Field("x"),), "json")], "2 of these have none"),
    ([Schema("a", (Field("x"),), "json", type_key="kind", type="t"), Schema("b", (Field("x"),), "json", type_key="kind", type="t")],
     "2 of these have type 't'"),
    ([Schema("a", (Field("x"),), "json", type_key="kind", type="t"), Schema("b", (Field("x"),), "json", type_key="what", type="u")],
     "share a type_key; these have kind, what"),
])
def test_schemas_that_can_not_share_a_topic_are_refused(others: list[Schema], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        check_schemas([PUMP, *others])


@pytest.mark.parametrize(("read", "written", "said"), [
    ({}, {"message.timestamp.type": "LogAppendTime"}, "timestamps of raw would be lost"),
    ({"max.message.bytes": "2000"}, {"max.message.bytes": "1000"}, "max.message.bytes=1000, less than raw with 2000"),
    ({"message.timestamp.after.max.ms": "9"}, {"message.timestamp.after.max.ms": "8"}, "would not take every message"),
])
def test_a_topic_that_would_not_take_every_message_is_refused(read: Any, written: Any, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        check_takes("raw", read, "keyed", written)


def test_settings_that_may_not_be_read_are_believed_to_be_good() -> None:
    check_takes("raw", {}, "keyed", {})
    check_takes("raw", {"max.message.bytes": "1000"}, "keyed", {"max.message.bytes": "1000"})
    check_takes("raw", {"max.message.bytes": "1000"}, "keyed", {})


def test_what_it_has_written_is_told_by_its_group(here: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_risk, "committed_offsets", lambda environment, group: {"prod.rekey-raw": {0: 7, 2: 0}}[group])
    told = RekeySubmission(here, RAW, None, [PUMP], "raw", None)._told("", 0, {0: 5}, "exactly_once")
    answered = at_risk.last_answered(here, told)
    assert at_risk.between(answered, {0: 7, 2: 0}) == {}
    assert at_risk.between(answered, {0: 9, 2: 0}) == {0: (7, 8)}


def test_it_is_not_upgraded_and_is_nobodys_default(here: Environment) -> None:
    Deployments(here).save(RAW.submitted("a" * 32))
    with pytest.raises(InvalidSettings, match="without a plan"):
        upgrade.run(UpgradeOrder(here, RAW.name, Author("me")), "savepoint", False, False)
    with pytest.raises(UnknownName, match="running here: none"):
        the_deployment(here, None)
    assert the_deployment(here, RAW.name) == RAW.name
