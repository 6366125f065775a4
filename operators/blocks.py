"""Messages of many readings each: layout columnar. Numbers that come as bytes are copied once and looked at where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.frame import Frame, Int64, RawFrame
from swapstream.operators.readers import (
    SURELY_GOOD,
    Bad,
    all_of,
    device_detail,
    devices_good,
    finite,
    not_finite_detail,
)
from swapstream.operators.records import MAX_READINGS, record_type
from swapstream.operators.times import Times

Buffer = Any
"""Something with the bytes of little-endian 64 bit numbers."""


class Wrong(Exception):
    """A message none of whose readings can be told: reason and detail."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """The n readings of a message. `times` are ticks or, with `micros`, microseconds; `device` is one name, or n."""

    place: int
    n: int
    device: str | list[str]
    times: Buffer
    values: Buffer
    micros: bool


class Blocks:
    """Records to columns; see readers.Reader."""

    def __init__(self, schema: Schema, tagged: bool = False) -> None:
        made = record_type(schema, tagged)
        self.schema, self.record = schema, made.type
        self._device: Callable[[Any], str | list[str]] = attrgetter(made.where["device"])
        self._time = attrgetter(made.where["time"])
        self._values = attrgetter(made.where["values"]) if "values" in made.where else None
        self._columns = [attrgetter(made.where.get(f"v{i}", f"v{i}")) for i in range(len(schema.fields))]
        self._times = Times(schema)
        self._width = len(schema.fields)

    def frame(self, raw: RawFrame, records: list[Any], places: Int64) -> tuple[Frame, list[Bad]]:
        """The good readings in order, and the bad ones."""
        blocks: list[Block] = []
        bad: list[Bad] = []
        for record, place in zip(records, places.tolist(), strict=True):
            try:
                blocks.append(self._block(record, place))
            except Wrong as error:
                bad.append(Bad(place, None, *error.args))
        return self._join(raw, blocks, bad)

    def _block(self, record: Any, place: int) -> Block:
        """Raises Wrong. What is plainly good, all of it bytes of 64 bit numbers, takes half the time."""
        times, device = self._time(record), self._device(record)
        n = len(times) >> 3
        if type(times) is memoryview and len(times) == 8 * n and 0 < n <= MAX_READINGS:
            values = self._values(record) if self._values else None
            plain = type(values) is memoryview and len(values) == 8 * n * self._width
            if plain and type(device) is str and 0 < len(device) <= SURELY_GOOD:
                return Block(place, n, device, times, values, False)
        return self._checked(record, place)

    def _checked(self, record: Any, place: int) -> Block:
        times, micros = self._time(record), False
        n = len(times)
        if isinstance(times, memoryview):
            n, rest = divmod(n, 8)
            if rest:
                raise Wrong("invalid", f"time has {len(times)} bytes; allowed is a multiple of 8")
        else:
            times, micros = self._times.of_numbers(times), True
        if not 0 < n <= MAX_READINGS:
            raise Wrong("invalid" if n else "empty", f"{n} readings; 1 to {MAX_READINGS} are allowed")
        return Block(place, n, self._name(record, n), times, self._numbers(record, n), micros)

    def _name(self, record: Any, n: int) -> str | list[str]:
        device = self._device(record)
        if isinstance(device, str):
            if devices_good((device,)) is not None:
                raise Wrong("device", device_detail(device))
        elif len(device) != n:
            raise Wrong("invalid", f"{len(device)} devices for {n} times")
        return device

    def _numbers(self, record: Any, n: int) -> Buffer:
        """float64 [n, F]."""
        if self._values is None:
            return self._stacked(record, n)
        values = self._values(record)
        if isinstance(values, memoryview | list):
            return numbers(values, n * self._width, "values")
        return self._stacked(values, n)

    def _stacked(self, record: Any, n: int) -> Buffer:
        columns = (
            numbers(column(record), n, name) for column, name in zip(self._columns, self.schema.names, strict=True)
        )
        return np.stack([np.frombuffer(column, "<f8") for column in columns], axis=1)

    def _join(self, raw: RawFrame, blocks: list[Block], bad: list[Bad]) -> tuple[Frame, list[Bad]]:
        counts = np.array([block.n for block in blocks], np.int64)
        of_block = np.repeat(np.arange(len(blocks)), counts)
        places = np.array([block.place for block in blocks], np.int64)
        values = joined((block.values for block in blocks), "<f8").reshape(-1, self._width)
        times = self._micros(blocks, of_block)
        index = np.arange(len(of_block)) - (np.cumsum(counts) - counts)[of_block]
        devices, coded = named(blocks, of_block)
        logged = raw.timestamps[places][of_block]
        known = devices_good(devices) if coded is None else None
        timely, whole = self._times.good(times, logged), finite(values)
        good = all_of(known, timely, whole)
        frame = Frame(raw.partition, raw.offsets[places][of_block], logged, times, devices, values, index, coded)
        if good is None:
            return frame, bad
        for i in np.flatnonzero(~good).tolist():
            block, reading = blocks[of_block[i]], int(index[i])
            if known is not None and not known[i]:
                said = ("device", device_detail(devices[i]))
            elif timely is not None and not timely[i]:
                said = ("time", self._times.why(self._tick(block, reading), int(times[i]), int(logged[i])))
            else:
                said = ("not_finite", not_finite_detail(self.schema.names, values[i].tolist()))
            bad.append(Bad(block.place, reading, *said))
        return frame.take(np.flatnonzero(good)), bad

    def _micros(self, blocks: list[Block], of_block: Int64) -> Int64:
        ticks = joined((block.times for block in blocks), "<i8")
        told = np.array([block.micros for block in blocks], np.bool_)
        if not told.any():
            return self._times.of_ticks(ticks)
        done = told[of_block]
        return np.where(done, ticks, self._times.of_ticks(np.where(done, 0, ticks)))

    def _tick(self, block: Block, reading: int) -> int:
        return int(np.frombuffer(block.times, "<i8")[reading])


def numbers(column: memoryview | list[Any], size: int, what: str) -> Buffer:
    """`size` float64, from bytes of float64 or float32 or from an array of numbers or of rows. Raises Wrong."""
    if isinstance(column, memoryview):
        if len(column) == 8 * size:
            return column
        if len(column) == 4 * size:
            return np.frombuffer(column, "<f4").astype("<f8")
        raise Wrong("invalid", f"{what}: {len(column)} bytes; {8 * size} or, as float32, {4 * size} are allowed")
    try:
        found = np.array(column, np.float64)
    except (ValueError, OverflowError) as error:
        raise Wrong("invalid", f"{what}: rows and numbers side by side") from error
    if found.size != size:
        raise Wrong("invalid", f"{what}: {found.size} numbers; {size} are allowed")
    return found


def joined(buffers: Iterator[Buffer], dtype: str) -> Any:
    """One array of the numbers in all buffers: a single copy."""
    return np.frombuffer(bytearray().join(buffers), dtype)


def named(blocks: Sequence[Block], of_block: Int64) -> tuple[list[str], tuple[list[str], Int64] | None]:
    """The device of each reading; where every message has one, also the names and each reading's place among them."""
    if not all(isinstance(block.device, str) for block in blocks):
        every = (repeat(b.device, b.n) if isinstance(b.device, str) else b.device for b in blocks)
        return list(chain.from_iterable(every)), None
    names: dict[str, int] = {}
    codes = np.array([names.setdefault(block.device, len(names)) for block in blocks], np.int64)  # type: ignore[arg-type]
    devices: list[str] = []
    for block in blocks:
        devices += [block.device] * block.n  # type: ignore[list-item]
    return devices, (list(names), codes[of_block])
