"""What part of a topic is meant: offsets, or times, in each of its partitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import TopicPartition

from swapstream.models.errors import InvalidSettings
from swapstream.operators.verification import Span
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment

Place = int | datetime


def place_of(text: str | None) -> Place | None:
    """An offset, or a time in UTC where it names no zone. Raises InvalidSettings."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSettings(f"{text!r} is neither an offset nor a time; allowed are numbers and times as in 2026-01-31T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Section(msgspec.Struct, frozen=True):
    """What of a partition is meant, and the first offset that is still there."""

    span: Span
    beginning: int


def sections(environment: Environment, topic: str, start: Place | None, end: Place | None) -> dict[int, Section]:
    """The records from `start` to `end`, both included, in each partition; None: from the first that is there, to the last answered.

    A time stands for the first record whose timestamp is not before it. Raises ClusterError.
    """
    client = kafka.consumer(environment, topic)
    try:
        with kafka.broker_errors(environment):
            partitions = sorted(client.assignment())
            firsts, ends = client.beginning_offsets(partitions), client.end_offsets(partitions)
            return {each.partition: Section(span_of(firsts[each], ends[each], _resolved(client, each, start, ends[each]),
                                                    _resolved(client, each, end, ends[each])), firsts[each]) for each in partitions}
    finally:
        client.close()


def span_of(first: int, end: int, start: int | None, stop: int | None) -> Span:
    """Between the offsets there are, `first` to before `end`."""
    last = end - 1 if stop is None else min(stop, end - 1)
    return Span(first if start is None else max(start, first), last, stop is None)


def offsets_at(environment: Environment, topic: str, milliseconds: int) -> dict[int, int]:
    """Partition → the first offset whose message is not older; of partitions without one their end."""
    client = kafka.consumer(environment, topic)
    try:
        with kafka.broker_errors(environment):
            partitions = sorted(client.assignment())
            ends = client.end_offsets(partitions)
            return {each.partition: _offset_at(client, each, milliseconds, ends[each]) for each in partitions}
    finally:
        client.close()


def _resolved(client: Any, partition: TopicPartition, place: Place | None, end: int) -> int | None:
    return _offset_at(client, partition, int(place.timestamp() * 1000), end) if isinstance(place, datetime) else place


def _offset_at(client: Any, partition: TopicPartition, milliseconds: int, end: int) -> int:
    found: Mapping[TopicPartition, Any] = client.offsets_for_times({partition: max(0, milliseconds)})
    return end if found.get(partition) is None else int(found[partition].offset)
