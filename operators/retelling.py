"""What was made of readings on the way to their answers, as columns: values, features, and what each model said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from swapstream.operators.frame import Bool, Int64
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.scored import RoleScores, Scored
from swapstream.operators.scores import Provenance

Columns = dict[str, Any]
"""Name → array [n]."""


class Retelling:
    """A witness of shards' answers; `columns` are those of the readings that are wanted.

    - topic, partition, offset, index; device, time (event time, µs), logged (Kafka's, ms); epoch, plan, extractor, schema.
    - value.<field>, feature.<name>, warming, anomalous.
    - <role>.model, .score (NaN: none), .threshold, .error, for champion, canary and on_error; of challengers the role is
      `challenger <name:version>`.

    What there is not for a reading, as its route did not show it to a model, or its plan has no such field, is "" or NaN.
    """

    def __init__(self, first: Mapping[int, int], device: str | None = None) -> None:
        self._first, self._device = first, device
        self._chunks: list[Columns] = []

    def __call__(self, scored: Scored, part: LoadedInput, provenance: Provenance) -> None:
        rows = np.flatnonzero(self._wanted(scored, provenance.partition))
        if len(rows):
            self._chunks.append(
                _identity(scored, provenance, rows)
                | _named("value", part.schema.names, scored.frame.values, rows)
                | _named("feature", part.extractor.features, scored.features, rows)
                | {"warming": scored.warming[rows], "anomalous": scored.anomalous[rows]}
                | _roles(scored.roles, rows, len(scored.frame))
            )

    def columns(self) -> Columns:
        """All of them, by partition, offset and index, and no copy is kept. None where there was no reading."""
        columns = joined(self._chunks)
        self._chunks = []
        return in_order(columns) if columns else columns

    def _wanted(self, scored: Scored, partition: int) -> Bool:
        wanted: Bool = scored.frame.offsets >= self._first.get(partition, 0)
        if self._device is not None and wanted.any():
            names, codes = scored.frame.by_device()
            wanted &= codes == names.index(self._device) if self._device in names else False
        return wanted


def joined(chunks: list[Columns]) -> Columns:
    """One below the other. Takes the columns away as it goes, so that they are in memory once."""
    sizes = [len(chunk["offset"]) for chunk in chunks]
    kinds = {name: column.dtype for chunk in chunks for name, column in chunk.items()}
    return {name: np.concatenate([chunk.pop(name) if name in chunk else _nothing(size, kind)
                                  for chunk, size in zip(chunks, sizes, strict=True)]) for name, kind in kinds.items()}


def _nothing(n: int, kind: Any) -> Any:
    return np.full(n, "" if kind.hasobject else np.nan, kind)


def in_order(columns: Columns) -> Columns:
    """They nearly always are."""
    keys = [columns[name] for name in ("index", "offset", "partition")]
    later: Bool = np.zeros(len(keys[0]) - 1, np.bool_)
    for key in keys:  # the last one decides, where it is the same the one before
        later = (key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & later)
    if later.all():
        return columns
    order = np.lexsort(keys)
    return {name: column[order] for name, column in columns.items()}


def _identity(scored: Scored, provenance: Provenance, rows: Int64) -> Columns:
    frame, n = scored.frame, len(rows)
    said = {"epoch": provenance.epoch, "plan": provenance.plan, "extractor": provenance.extractor, "schema": provenance.schema}
    return {
        "topic": np.full(n, provenance.topic, object),
        "partition": np.full(n, provenance.partition),
        "offset": frame.offsets[rows],
        "index": frame.index[rows],
        "device": np.array(frame.devices, object)[rows],
        "time": frame.times[rows],
        "logged": frame.timestamps[rows],
        **{name: np.full(n, value, object if isinstance(value, str) else np.int64) for name, value in said.items()},
    }


def _named(what: str, names: tuple[str, ...], table: Any, rows: Int64) -> Columns:
    # By column in memory, while all of it is in the processor's cache: in the end a table of a million rows is made column by column.
    return {f"{what}.{name}": column for name, column in zip(names, np.ascontiguousarray(table[rows].T), strict=True)}


def _roles(roles: list[RoleScores], rows: Int64, n: int) -> Columns:
    """Of all routes: the readings of one are asked of other models than those of another."""
    found: Columns = {}
    for one in roles:
        name = f"{one.role} {one.model.name}" if one.role == "challenger" else one.role
        columns = [found.setdefault(f"{name}.{key}", empty(n)) for key, empty in EMPTY.items()]
        errors = np.full(len(one.rows), "", object)
        for place, reason in one.errors.items():
            errors[place] = reason
        for column, value in zip(columns, (str(one.model), one.scores, one.threshold, errors), strict=True):
            column[one.rows] = value
    return {name: column[rows] for name, column in found.items()}


EMPTY: Mapping[str, Any] = {
    "model": lambda n: np.full(n, "", object),
    "score": lambda n: np.full(n, np.nan),
    "threshold": lambda n: np.full(n, np.nan),
    "error": lambda n: np.full(n, "", object),
}
