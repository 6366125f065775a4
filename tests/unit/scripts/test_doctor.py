"""What the doctor says of what it finds."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from kafka import TopicPartition
from kafka.errors import TopicAuthorizationFailedError

from swapstream.jobs.partitioner import message_keys
from swapstream.models.errors import ClusterError
from swapstream.models.schema import Field, Schema
from swapstream.operators.token import FIRST_BYTE
from swapstream.scripts import doctor_keys
from swapstream.scripts.access import Right, denied, rights
from swapstream.scripts.doctor import check_packages, check_python, checkpoint_finding, guarded, java_finding
from swapstream.scripts.doctor_broker import (
    broker_settings,
    definition_finding,
    feature_finding,
    id_finding,
    open_transaction_finding,
    signing_finding,
    topic_findings,
    transaction_findings,
)
from swapstream.scripts.doctor_keys import judge_devices, judge_keys
from swapstream.scripts.environment import Environment, Flink, JobDefaults, Topic, Topics
from swapstream.scripts.kafka import Record
from swapstream.scripts.keyring import Keyring
from swapstream.scripts.trusting import trust_first
from tests.support.topics import Topics as Log

KEYS = message_keys(2, 2)


def record(partition: int, key: bytes | None, value: bytes = b"{}", offset: int = 7) -> Record:
    return Record(partition, offset, 0, key, value)


def test_keys_where_murmur2_puts_them_are_fine():
    found = judge_keys([record(0, KEYS[0]), record(1, KEYS[1])], 2, "t")
    assert (found.state, found.says) == ("ok", "2 messages of t lie where murmur2 puts their keys")
    assert judge_keys([], 2, "t").state == "ok"


def test_the_first_key_in_another_partition_is_named():
    found = judge_keys([record(0, KEYS[0]), record(1, KEYS[0], offset=9), record(0, KEYS[1])], 2, "t")
    assert found.state == "wrong"
    assert f"t-1 at offset 9: key {KEYS[0]!r} belongs in partition 0" in found.says
    assert "partitioner=murmur2_random" in found.fix


def test_who_can_sign_is_told(tmp_path, monkeypatch):
    Log(monkeypatch)
    environment = Environment(directory=str(tmp_path))
    found = signing_finding(environment)
    assert (found.state, "there is no key to sign with" in found.says) == ("advice", True)
    Keyring(environment.keyring).new("ann")
    assert "trusts no key yet" in signing_finding(environment).says
    trust_first(environment)
    assert signing_finding(environment).state == "ok"


def test_a_message_without_a_key_is_named():
    found = judge_keys([record(1, None)], 2, "t")
    assert found.says == "t-1 at offset 7: a message without a key"
    assert "swapstream rekey" in found.fix


def test_tokens_need_no_key(monkeypatch):
    log = Log(monkeypatch, partitions=1)
    monkeypatch.setattr(doctor_keys, "starts", lambda environment, topic, count: {0: 0})
    log.send("t", None, FIRST_BYTE + b"token")
    log.send("t", b"any", b"{}")
    (found,) = doctor_keys.key_findings(Environment(directory="/nonexistent"), "t")
    assert (found.state, found.says) == ("ok", "1 messages of t lie where murmur2 puts their keys")


PUMP = Schema("pump", (Field("x"),), "json")
BELT = Schema("belt", (Field("x"),), "json", layout="columnar")


def test_a_device_in_two_partitions_is_named_whatever_the_keys():
    log = [record(0, b"k", b'{"device": "a"}'), record(1, b"k", b'{"device": "b"}'), record(1, b"k", b"none"), record(0, b"k", b"")]
    found = judge_devices(log, [PUMP], "t")
    assert (found.state, found.says) == ("ok", "2 devices of t are in one partition each")
    found = judge_devices([*log, record(0, b"k", b'{"device": "b"}', offset=9)], [PUMP], "t")
    assert (found.state, found.check) == ("wrong", "devices (pump)")
    assert found.says == "t: device 'b' is in partition 1 at offset 7 and in partition 0 at offset 9"
    assert "swapstream rekey" in found.fix
    belts = [record(0, b"k", b'{"device": ["a", "b"]}'), record(1, b"k", b'{"device": ["c", "b"]}')]
    assert "device 'b'" in judge_devices(belts, [BELT], "t").says


@pytest.mark.parametrize(("settings", "states"), [
    ({}, ["unknown"]),
    ({"transaction.max.timeout.ms": "900000", "transactional.id.expiration.ms": "3600000"}, ["ok", "ok"]),
    ({"transaction.max.timeout.ms": "900000", "transactional.id.expiration.ms": "604800000"}, ["ok", "advice"]),
    ({"transaction.max.timeout.ms": "60000", "transactional.id.expiration.ms": "3600000"}, ["wrong", "ok"]),
    ({"transaction.max.timeout.ms": "900000", "transactional.id.expiration.ms": "600000"}, ["ok", "wrong", "ok"]),
    ({"transaction.max.timeout.ms": "900000", "transactional.id.expiration.ms": "3600000", "producer.id.expiration.ms": "1"},
     ["ok", "wrong", "ok"]),
])
def test_timeouts_are_held_against_the_brokers(settings, states):
    assert [found.state for found in transaction_findings(settings, JobDefaults())] == states


def test_ids_do_not_count_where_there_are_none():
    assert id_finding(7 * 86_400_000, JobDefaults(delivery="at_least_once")).state == "ok"


@pytest.mark.parametrize(("features", "state"), [
    ({}, "ok"), ({"transaction.version": {"finalized": (1, 1)}}, "ok"), ({"transaction.version": {"finalized": (2, 2)}}, "advice")])
def test_what_transaction_version_means_is_said(features, state):
    assert feature_finding(features).state == state


class Broker:
    """Answers as kafka-python's admin client does."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers

    def __getattr__(self, name: str):
        def answer(*_: object, **__: object) -> object:
            found = self.answers[name]
            if isinstance(found, Exception):
                raise found
            return found
        return answer


def producer(start: int, age: float) -> SimpleNamespace:
    return SimpleNamespace(producer_id=5, current_transaction_start_offset=start, last_timestamp=(time.time() - age) * 1000)


@pytest.mark.parametrize(("producers", "state"), [
    ([], "ok"), ([(-1, 100)], "ok"), ([(3, 1)], "ok"), ([(3, 100), (-1, 100)], "wrong")])
def test_only_a_transaction_that_stays_open_is_wrong(producers, state):
    active = [producer(start, age) for start, age in producers]  # made now: tests are collected long before they run
    listed = {1: [SimpleNamespace(producer_id=5, transactional_id="loader")]}
    broker = Broker(describe_producers={TopicPartition("t", 1): SimpleNamespace(active_producers=active)}, list_transactions=listed)
    found = open_transaction_finding(broker, "t", 2)
    assert found.state == state
    assert state == "ok" or "t-1: no reader gets past offset 3, where 'loader' (producer 5) has begun" in found.says
    assert state == "ok" or "abort --topic t --partition 1 --start-offset 3`" in found.fix


def test_many_definitions_are_worth_a_word():
    few = [record(0, b"a", bytes(1_000_000)), record(0, b"gone", None)]
    assert (definition_finding(few).state, definition_finding(few).says) == ("ok", "1 definitions, 1.0 MB")
    assert definition_finding(few * 70).state == "advice"


def test_a_producer_whose_name_may_not_be_asked_is_known_by_its_number():
    broker = Broker(describe_producers={TopicPartition("t", 1): SimpleNamespace(active_producers=[producer(3, 60)])},
                    list_transactions=TopicAuthorizationFailedError())
    assert "offset 3, where producer 5 has begun" in open_transaction_finding(broker, "t", 2).says


def test_what_may_not_be_asked_is_unknown():
    refused = Broker(describe_producers=TopicAuthorizationFailedError(), describe_cluster={"brokers": [{"broker_id": 1}]},
                     describe_configs={"broker": {"1": {}}})
    assert open_transaction_finding(refused, "t", 1).state == "unknown"
    assert broker_settings(refused) == {}


def topic(name: str, partitions: int = 1, error: int = 0, allowed: tuple[str, ...] = ("DESCRIBE", "READ", "WRITE")) -> dict:
    return {"name": name, "partitions": [{}] * partitions, "error_code": error, "authorized_operations": allowed}


def test_a_topic_is_missing_differs_or_is_fine():
    one = Topic("a", 1)
    environment = Environment(topics=Topics(**{role: Topic(role) for role in Topics.__struct_fields__} | {"telemetry": one}))
    there = [topic("a", 2), topic("labels"), topic("ledger")]
    configs = {"topic": {"a": {"cleanup.policy": {"value": "delete"}}, "labels": {"cleanup.policy": {"value": "compact"}}, "ledger": {}}}
    broker = Broker(describe_topics=there, describe_configs=configs)
    found = {finding.check: finding for finding in topic_findings(environment, broker)}
    assert found["topic a"].says == "telemetry: 2 partitions, not 1"
    assert found["topic labels"].says == "labels: cleanup.policy is compact, not delete"
    assert found["topic ledger"].state == "unknown"
    assert found["topic scores"].says.startswith("scores: it does not exist")


def test_rights_that_are_missing_are_named_and_topics_that_do_not_exist_are_not():
    wanted = [Right("topic", "a", ("Read", "Write")), Right("topic", "hidden", ("Read",)), Right("topic", "none", ("Read",)),
              Right("group", "prod.", ("Read",), prefixed=True)]
    broker = Broker(describe_topics=[topic("a", allowed=("DESCRIBE", "READ")), topic("hidden", 0, error=29), topic("none", 0, error=3)],
                    list_group_offsets={})
    assert denied(broker, wanted, "d") == ["Write on topic a", "Read on topic hidden"]


def test_every_topic_group_and_id_of_a_deployment_is_among_the_rights():
    found = rights(Environment())
    assert {right.name for right in found if right.resource == "topic"} == {t.name for t in Topics().by_role().values()}
    assert [right.name for right in found if right.resource != "topic"] == ["prod.", "swapstream.prod.", "swapstream.controller.prod."]


@pytest.mark.parametrize(("printed", "state"), [
    ('openjdk version "17.0.15" 2025-04-15', "ok"), ('java version "1.8.0_1"', "wrong"),
    ('openjdk version "21" 2023', "wrong"), ("", "wrong")])
def test_javas_version(printed, state):
    assert java_finding(printed).state == state


def test_pythons_version():
    assert (check_python((3, 11)).state, check_python((3, 12)).state) == ("ok", "wrong")


def test_a_package_that_is_not_as_asked_is_named_and_extras_are_not_asked_for():
    assert check_packages(["click>=8", 'nothing>=1; extra == "plot"']).state == "ok"
    assert check_packages(["click>=999", "nothing>=1"]).says.startswith("click is ")
    assert "nothing is 0, not >=1" in check_packages(["nothing>=1"]).says


def test_checkpoints_that_nobody_keeps_are_wrong():
    assert checkpoint_finding(Environment(), {}).state == "wrong"
    assert checkpoint_finding(Environment(), {"execution.checkpointing.dir": "s3://b"}).state == "ok"
    assert checkpoint_finding(Environment(flink=Flink(rest="http://f:1", checkpoints="s3://b")), {}).state == "ok"


def test_an_error_is_a_finding_with_the_fix_it_names():
    def fails() -> None:
        raise ClusterError("no broker at b:1; start one with `swapstream up`")

    [found] = guarded("broker", fails)
    assert (found.state, found.says, found.fix) == ("wrong", "no broker at b:1", "start one with `swapstream up`")
