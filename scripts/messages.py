"""Readings to messages: one each or, where a schema's layout is columnar, many readings of a device in one."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema, encoder, frame_encoder, ticks
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.records import MAX_READINGS

Rows = tuple[Int64, Float64]


class Message(msgspec.Struct, frozen=True):
    """`time` is the event time (µs) of its last reading."""

    key: bytes
    value: bytes
    time: int
    readings: int


readings_option = click.option(
    "--readings-per-message", "readings", type=click.IntRange(1, MAX_READINGS), default=1, show_default=True,
    help="So many consecutive readings of a device in one message, where the schema's layout is columnar.")


class Packer:
    """Makes messages of a schema, in the order in which they are complete. `size`: readings in a message."""

    def __init__(self, schema: Schema, size: int = 1) -> None:
        if size > 1 and schema.layout != "columnar":
            raise InvalidSettings(
                f"--readings-per-message {size}: schema {schema.name!r} has layout {schema.layout}, which holds 1; "
                "layout columnar holds several"
            )
        self.schema, self.size = schema, size
        self._encode = frame_encoder(schema) if schema.layout == "columnar" else None
        self._waiting: dict[str, Rows] = {}

    def pack(self, devices: Sequence[str], times: Int64, values: Float64) -> list[Message]:
        """Messages that these readings complete: event times int64[n] in microseconds, values float64[n, F]."""
        if self.size == 1:
            return self._singly(devices, times, values)
        found = []
        names = np.array(devices)
        for device in dict.fromkeys(devices):
            mine = np.flatnonzero(names == device)
            found += self._complete(device, times[mine], values[mine], mine)
        return [message for _, message in sorted(found, key=lambda one: one[0])]

    def flush(self) -> list[Message]:
        """What is left, in messages of fewer readings."""
        left = [self._message(device, rows) for device, rows in self._waiting.items() if len(rows[0])]
        self._waiting = {}
        return sorted(left, key=lambda message: message.time)

    def _singly(self, devices: Sequence[str], times: Int64, values: Float64) -> list[Message]:
        messages = map(encoder(self.schema), devices, ticks(self.schema, times).tolist(), values.tolist())
        return [
            Message(device.encode(), message, time, 1)
            for device, message, time in zip(devices, messages, times.tolist(), strict=True)
        ]

    def _complete(self, device: str, times: Int64, values: Float64, places: Int64) -> list[tuple[int, Message]]:
        """The device's messages that are complete now, each with the place of its last reading."""
        waited = self._waiting.get(device)
        before = len(waited[0]) if waited else 0
        if waited:
            times, values = np.concatenate([waited[0], times]), np.concatenate([waited[1], values])
        ends = range(self.size, len(times) + 1, self.size)
        found = [
            (int(places[end - before - 1]), self._message(device, (times[end - self.size : end], values[end - self.size : end])))
            for end in ends
        ]
        rest = len(ends) * self.size
        self._waiting[device] = (times[rest:], values[rest:])
        return found

    def _message(self, device: str, rows: Rows) -> Message:
        times, values = rows
        assert self._encode is not None
        value = self._encode(device, ticks(self.schema, times), values)
        return Message(device.encode(), value, int(times[-1]), len(times))
