"""What topics are created with, and how others differ."""

from __future__ import annotations

from swapstream.scripts.environment import Topic
from swapstream.scripts.topics import difference, wanted_settings


def test_parameters_are_compacted_and_take_whole_models():
    assert wanted_settings("parameters", Topic("p", compacted=True)) == {
        "cleanup.policy": "compact", "max.message.bytes": "12582912"}


def test_what_is_not_compacted_must_not_be_whatever_the_brokers_default():
    assert wanted_settings("telemetry", Topic("t", 4)) == {"cleanup.policy": "delete"}


def test_the_environments_own_settings_win():
    topic = Topic("s", config={"max.message.bytes": "5", "retention.ms": "9"})
    assert wanted_settings("scores", topic) == {
        "cleanup.policy": "delete", "max.message.bytes": "5", "retention.ms": "9"}


def test_differences_are_told_in_words():
    assert difference({"a": "1"}, 2, {"a": "1", "b": "3"}, 2) == ""
    assert difference({"a": "1", "b": "2"}, 2, {"a": "0"}, 4) == "4 partitions, not 2; a is 0, not 1; b is None, not 2"
