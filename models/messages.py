"""Messages as producers write them, against a schema: the encoders of `feed`, `simulate`, the tests and the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.paths import path, setter

if TYPE_CHECKING:
    from swapstream.models.schema import Schema

# Microseconds = ticks * numerator // denominator.
UNITS: dict[str, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}

Encode = Callable[[str, int, Sequence[float]], bytes]
EncodeFrame = Callable[[str | Sequence[str], NDArray[np.int64], NDArray[np.float64]], bytes]
Put = Callable[[dict[str, Any], Any], None]


def encoder(schema: Schema) -> Encode:
    """A function (device, time in the schema's unit, values in the fields' order) -> message of one reading."""
    if schema.layout == "columnar":
        several = frame_encoder(schema)
        return lambda device, time, values: several(device, np.array([time], np.int64), np.array([values], np.float64))
    return _encoder(schema, _put_by_name(schema) if schema.named else setter(path(schema.values)))


def frame_encoder(schema: Schema) -> EncodeFrame:
    """For layout columnar: a function (device of all, or of each; times int64[n] in the schema's unit; values float64[n, F])
    -> message of n readings, numbers as bytes."""
    put = _put_by_name(schema) if schema.named else setter(path(schema.values))
    encode = _encoder(schema, put)

    def several(
        device: str | Sequence[str], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> bytes:
        columns = [_bytes(column, "<f8") for column in values.T] if schema.named else _bytes(values, "<f8")
        return encode(device, _bytes(times, "<i8"), columns)

    return several


def ticks(schema: Schema, micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """Event times in microseconds as the schema's unit, rounded down."""
    numerator, denominator = UNITS[schema.time_unit]
    return micros * denominator // numerator


def tick(schema: Schema) -> int:
    """Microseconds of the schema's unit, at least one: what messages round event times down to."""
    numerator, denominator = UNITS[schema.time_unit]
    return max(1, numerator // denominator)


def _encoder(schema: Schema, put_values: Put) -> Callable[[Any, Any, Any], bytes]:
    dump = msgspec.json.encode if schema.codec == "json" else msgspec.msgpack.encode
    put_device, put_time = setter(path(schema.device)), setter(path(schema.time))
    constant = {schema.type_key: schema.type} if schema.type else {}

    def encode(device: Any, time: Any, values: Any) -> bytes:
        message: dict[str, Any] = dict(constant)
        put_device(message, device)
        put_time(message, time)
        put_values(message, values)
        return dump(message)

    return encode


def _put_by_name(schema: Schema) -> Put:
    puts = [setter(path(schema.values) + inner) for inner in schema.field_paths]

    def put(message: dict[str, Any], values: Sequence[Any]) -> None:
        for put_one, value in zip(puts, values, strict=True):
            put_one(message, value)

    return put


def _bytes(array: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()
