"""Records to measure models on: those of a file, or the last ones of telemetry, labelled where the `labels` topic knows them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoders
from swapstream.operators.frame import Bool, Frame, RawFrame
from swapstream.operators.labels import Labels
from swapstream.operators.token import is_token
from swapstream.scripts import kafka
from swapstream.scripts.bounds import starts
from swapstream.scripts.environment import Environment
from swapstream.scripts.files import Columns, read_telemetry
from swapstream.scripts.labels import read_labels

LAST = re.compile(r"last:([1-9][0-9]{0,6})")


class Sample(msgspec.Struct, frozen=True):
    """Readings of one schema as one long frame, in the order of each device; `labels` bool[n] where somebody knows, else None."""

    schema: str
    frame: Frame
    labels: Bool | None = None


def last(against: str) -> int | None:
    """The N of "last:N"; None for the name of a file. Raises InvalidSettings."""
    found = LAST.fullmatch(against)
    if found is None and against.startswith("last:"):
        raise InvalidSettings(f"against {against!r}: allowed are last:N with N from 1 to 9999999, or a file")
    return int(found[1]) if found else None


def of_file(path: str, schema: Schema, columns: Columns | None = None) -> Sample:
    """Without the rows that a job would send to dead letters. Raises InvalidSettings."""
    usable = read_telemetry(path, schema.names, columns).finite()
    return Sample(schema.name, usable.frame(), usable.labels)


def of_telemetry(environment: Environment, schemas: Sequence[Schema], count: int) -> list[Sample]:
    """The last `count` committed messages of telemetry, as readings of each schema. Tokens and bad readings are left out.

    Raises ClusterError.
    """
    labels, topic = read_labels(environment), environment.topics.telemetry.name
    records = last_records(environment, count)
    frames = decoded(records, schemas)
    return [Sample(schema.name, frame, marked(frame, records, topic, labels) if len(frame) else None)
            for schema, frame in zip(schemas, frames, strict=True)]


def last_records(environment: Environment, count: int) -> list[kafka.Record]:
    """The newest of all partitions by Kafka's timestamp, oldest first; those of a partition stay in their order."""
    topic = environment.topics.telemetry.name
    records = [record for record in kafka.read_to_end(environment, topic, starts(environment, topic, count))
               if record.value is not None and not is_token(record.value)]
    times = in_order(records)
    return [records[place] for place in np.argsort(times, kind="stable")[-count:].tolist()]


def in_order(records: Sequence[kafka.Record]) -> list[int]:
    """Their timestamps, made such that they never fall within a partition, as producers' clocks may."""
    highest: dict[int, int] = {}
    times = []
    for record in records:
        highest[record.partition] = max(record.timestamp, highest.get(record.partition, record.timestamp))
        times.append(highest[record.partition])
    return times


def decoded(records: Sequence[kafka.Record], schemas: Sequence[Schema]) -> list[Frame]:
    """A frame for each schema, the place among `records` as offset."""
    at, times = np.arange(len(records)), np.array([record.timestamp for record in records], np.int64)
    raw = RawFrame(0, [record.value for record in records], at, times, [record.key for record in records])
    frames, _ = Decoders(tuple(schemas)).decode(raw, 0, len(raw))
    return frames


def marked(frame: Frame, records: Sequence[kafka.Record], topic: str, labels: Labels) -> Bool | None:
    """Which readings are anomalies, as labels say; None where they say nothing of any. `records`: those that are the frame's offsets."""
    partitions, offsets = (np.array(column, np.int64)[frame.offsets] for column in
                           zip(*((record.partition, record.offset) for record in records), strict=True))  # fmt: skip
    names, codes = frame.by_device()
    there, anomalous = np.zeros(len(frame), np.bool_), np.zeros(len(frame), np.bool_)
    for partition in np.unique(partitions).tolist():
        rows = np.flatnonzero(partitions == partition)
        there[rows], anomalous[rows] = labels.said(
            topic, partition, offsets[rows], frame.index[rows], names, codes[rows], frame.times[rows]
        )
    return anomalous if there.any() else None
