"""Messages of one reading each: layouts named and positional."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.frame import Bool, Float64, Frame, Int64, RawFrame
from swapstream.operators.readers import Bad, all_of, device_detail, devices_good, finite, not_finite_detail
from swapstream.operators.records import record_type
from swapstream.operators.times import Times


class Singles:
    """Records to columns; see readers.Reader."""

    def __init__(self, schema: Schema, tagged: bool = False) -> None:
        made = record_type(schema, tagged)
        self.schema, self.record = schema, made.type
        self._devices, self._ticks = _column(made.where["device"]), _column(made.where["time"])
        self._values = _values_getter(schema, made.where)
        self._times = Times(schema)
        self._width = len(schema.fields)

    def frame(self, raw: RawFrame, records: list[Any], places: Int64) -> tuple[Frame, list[Bad]]:
        """The good readings in order, and the bad ones."""
        devices: list[str] = self._devices(records)
        times = self._times.of_numbers(self._ticks(records))
        values = self._matrix(records)
        logged = raw.timestamps[places]
        known, timely, whole = devices_good(devices), self._times.good(times, logged), finite(values)
        good = all_of(known, timely, whole)
        frame = Frame(raw.partition, raw.offsets[places], logged, times, devices, values)
        if good is None:
            return frame, []
        bad = list(self._explain(records, places, times, logged, good, (known, timely)))
        return frame.take(np.flatnonzero(good)), bad

    def _matrix(self, records: list[Any]) -> Float64:
        numbers = chain.from_iterable(map(self._values, records))
        return np.fromiter(numbers, np.float64, len(records) * self._width).reshape(len(records), self._width)

    def _explain(
        self, records: list[Any], places: Int64, times: Int64, logged: Int64, good: Bool, parts: tuple[Bool | None, Bool | None]
    ) -> Iterator[Bad]:
        """The decoded records that are bad all the same."""
        known, timely = parts
        for i in np.flatnonzero(~good).tolist():
            record, place = records[i], int(places[i])
            if known is not None and not known[i]:
                yield Bad(place, None, "device", device_detail(*self._devices([record])))
            elif timely is not None and not timely[i]:
                (tick,) = self._ticks([record])
                yield Bad(place, None, "time", self._times.why(tick, int(times[i]), int(logged[i])))
            else:
                yield Bad(place, None, "not_finite", not_finite_detail(self.schema.names, self._values(record)))


def _column(where: str) -> Callable[[list[Any]], list[Any]]:
    """What lies at an attribute path of each record; at the top twice as fast as by attrgetter."""
    if where == "device":
        return lambda records: [record.device for record in records]
    if where == "time":
        return lambda records: [record.time for record in records]
    get = attrgetter(where)
    return lambda records: list(map(get, records))


def _values_getter(schema: Schema, where: dict[str, str]) -> Callable[[Any], Iterable[float]]:
    if "values" in where:
        return attrgetter(where["values"])
    getter: Callable[[Any], Any] = attrgetter(*(where[f"v{i}"] for i in range(len(schema.fields))))
    if len(schema.fields) > 1:
        return getter
    return lambda record: (getter(record),)  # attrgetter of one name gives no tuple
