"""Rows to learn from, out of an export, or computed from a span of telemetry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute

from swapstream.models.errors import InvalidSettings
from swapstream.models.manifest import Source
from swapstream.operators.batches import Batch
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.labels import Labels
from swapstream.scripts.computed import computed
from swapstream.scripts.environment import Environment
from swapstream.scripts.exports import About, Slice, read_about, read_tables
from swapstream.scripts.labels import read_labels
from swapstream.scripts.remembered import Remembered
from swapstream.scripts.spans import Place, sections, whole_sections
from swapstream.scripts.training import Input, Rows, enough


class Read(NamedTuple):
    """Readings of one partition, warming ones left out, in the log's order."""

    features: Float64
    devices: list[str]
    times: Int64
    labelled: Bool
    anomalous: Bool


class Learnable(NamedTuple):
    """Rows, and what makes such features: their names, the shape (T, F) of windows or (), and the extractor's name:version:digest."""

    rows: Rows
    features: tuple[str, ...]
    shape: tuple[int, ...]
    extractor: str


def of_export(folder: Path, given: Input | None) -> Learnable:
    """The rows of an export; `given`, where it is said which extractor they must be of. Raises InvalidSettings."""
    about = read_about(folder)
    if about.left_out:
        raise InvalidSettings(f"{folder}: features {', '.join(about.left_out[:6])} are of private fields and were left out, so that no "
                              "model of it could be deployed: train with --topic")  # fmt: skip
    if given and given.extractor.ref != about.extractor:
        raise InvalidSettings(f"{folder} holds features of extractor {about.extractor}; --plan or --schema says {given.extractor.ref}")
    table = pyarrow.concat_tables(read_tables(folder, about)) if about.files else None
    parts = {part.partition: read_table(table, about, part.partition) for part in about.slices} if table is not None else {}
    slices = {part.partition: part for part in about.slices}
    return Learnable(joined(parts, slices, about.topic, str(folder)), about.features, about.shape, about.extractor)


def read_table(table: pyarrow.Table, about: About, partition: int) -> Read:
    """A partition's rows of an export."""
    order = [("offset", "ascending"), ("index", "ascending")]
    mine = table.filter(pyarrow.compute.field("partition") == partition).sort_by(order)
    mine = mine.filter(pyarrow.compute.invert(mine["warming"]))
    said = mine["label"]
    features = np.column_stack([mine[name].to_numpy() for name in about.columns]) if about.columns else np.zeros((len(mine), 0))
    return Read(
        features, mine["device"].to_pylist(), mine["time"].cast(pyarrow.int64()).to_numpy(), said.is_valid().to_numpy(),
        said.fill_null(False).to_numpy(),
    )  # fmt: skip


def of_topic(environment: Environment, topic: str, start: Place | None, end: Place | None, given: Input, whole: bool) -> Learnable:
    """A span of telemetry through the extractor, which begins to know devices where the span begins; labels joined.

    Raises ClusterError, and where the `whole` span is wanted InvalidSettings for one that retention has deleted.
    """
    wanted = (whole_sections if whole else sections)(environment, topic, start, end)
    labels = read_labels(environment)
    parts: dict[int, Read] = {}
    slices: dict[int, Slice] = {}
    for partition, section in wanted.items():
        batches = list(computed(environment, topic, partition, section, given, Remembered(section.span.first)))
        if batches:
            parts[partition] = read_batches(batches, labels, topic)
            count = sum(map(len, batches))
            slices[partition] = Slice(partition, int(batches[0].offsets[0]), int(batches[-1].offsets[-1]), count)
    rows = joined(parts, slices, topic, f"topic {topic}")
    return Learnable(rows, given.extractor.features, given.extractor.shape, given.extractor.ref)


def read_batches(batches: Iterable[Batch], labels: Labels, topic: str) -> Read:
    found = []
    for batch in batches:
        warm = batch.take(~batch.warming)
        devices = [warm.devices[code] for code in warm.device.tolist()]
        found.append(Read(warm.features, devices, warm.times, *warm.labelled(labels, topic)))
    features, times, labelled, anomalous = (np.concatenate([part[place] for part in found]) for place in (0, 2, 3, 4))
    return Read(features, [device for part in found for device in part.devices], times, labelled, anomalous)


def joined(parts: dict[int, Read], slices: dict[int, Slice], topic: str, name: str) -> Rows:
    """The partitions' rows; each partition is a source, whose digest is that of its features. Raises InvalidSettings."""
    count = sum(part.rows for part in slices.values())
    if not parts:
        raise InvalidSettings(f"{name}: there are no readings in the span")
    found = list(parts.values())
    labelled = np.concatenate([part.labelled for part in found])
    rows = Rows(
        np.concatenate([part.features for part in found]), [device for part in found for device in part.devices],
        np.concatenate([part.times for part in found]), np.concatenate([part.anomalous for part in found]) if labelled.any() else None,
        labelled if labelled.any() else None, tuple(source(topic, part.features, slices[place]) for place, part in parts.items()),
        np.repeat(np.arange(len(found)), [len(part.features) for part in found]),
    )  # fmt: skip
    return enough(rows, name, count, f"{count - len(rows)} are warming")


def source(topic: str, features: Float64, part: Slice) -> Source:
    digest = hashlib.sha256(np.ascontiguousarray(features, "<f8").tobytes()).hexdigest()
    return Source("telemetry", topic, digest, len(features), part.partition, part.first, part.last)
