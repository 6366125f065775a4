"""Decoding: what is good stays in order, what is bad has its reason, and nothing raises."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.schema import Schema, encoder
from swapstream.operators.decode import Decoder
from swapstream.operators.frame import Frame, RawFrame

PLAIN = Schema.from_columns("engine", ["temperature", "oil.level", "class"])
LAYOUTS = [{}, {"layout": "named"}, {"layout": "named", "values": ""}]
SCHEMAS = [msgspec.structs.replace(PLAIN, codec=codec, **layout) for codec in ("json", "msgpack") for layout in LAYOUTS]
NAMES = [f"{schema.codec} {schema.layout} {schema.values}" for schema in SCHEMAS]
REASONS = {"empty", "malformed", "invalid", "device", "time", "not_finite"}
GOOD = encoder(PLAIN)("e-1", 7, (1.0, 2.0, 3.0))

every_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=NAMES)


def raw(payloads: list[Any]) -> RawFrame:
    n = len(payloads)
    return RawFrame(3, payloads, np.arange(n) * 2 + 100, np.arange(n) + 9_000, [None] * n)


def decode(payloads: list[Any], schema: Schema = PLAIN) -> tuple[Frame, list[tuple[int, str, str]]]:
    return Decoder(schema).decode(raw(payloads), 0, len(payloads))


def message(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({"device": "e-1", "time": 7, "values": [1.0, 2.0, 3.0]} | changes)


@every_schema
def test_what_was_encoded_comes_back(schema: Schema) -> None:
    encode = encoder(schema)
    payloads = [encode(f"é-{i}", i * 10, (i, i + 0.1, -i)) for i in range(5)]
    frame, bad = Decoder(schema).decode(raw(payloads), 1, 4)
    assert bad == []
    assert frame.partition == 3
    assert frame.devices == ["é-1", "é-2", "é-3"]
    assert frame.offsets.tolist() == [102, 104, 106]
    assert frame.timestamps.tolist() == [9_001, 9_002, 9_003]
    assert frame.times.tolist() == [10_000, 20_000, 30_000]
    assert frame.values.tolist() == [[i, i + 0.1, -i] for i in (1, 2, 3)]
    assert (frame.values.dtype, frame.times.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_single_field_is_still_a_column(layout: dict[str, str]) -> None:
    schema = msgspec.structs.replace(Schema.from_columns("one", ["level"]), **layout)
    frame, bad = decode([encoder(schema)("e-1", 1, (5,))], schema)
    assert (frame.values.tolist(), bad) == ([[5.0]], [])


@pytest.mark.parametrize("payload", [GOOD, bytearray(GOOD), memoryview(GOOD)])
def test_any_kind_of_bytes_is_read(payload: Any) -> None:
    assert decode([payload])[0].values.tolist() == [[1.0, 2.0, 3.0]]


def test_unknown_keys_are_ignored_and_whole_numbers_are_values() -> None:
    frame, bad = decode([message(more={"a": [1]}, values=[1, 2**64 - 1, -5])])
    assert (frame.values.tolist(), bad) == ([[1.0, float(2**64 - 1), -5.0]], [])


@pytest.mark.parametrize(("payload", "reason"), [
    (None, "empty"),
    (b"", "empty"),
    (b"\xc1swap", "malformed"),
    (GOOD[:-1], "malformed"),
    (GOOD + b"\x00", "malformed"),
    (b"\x83\xa6device\xa1\xff", "malformed"),
    (b"\x81\xa1x" + b"\x91" * 100_000, "malformed"),
    (b"\x81\xa1x\xdd\xff\xff\xff\xff", "malformed"),
    (b"\x81\xa6values\xdd\xff\xff\xff\xff", "invalid"),
    (b"\x01", "invalid"),
    (msgspec.msgpack.encode({"device": "e-1", "time": 7}), "invalid"),
    (message(values=[1.0, 2.0]), "invalid"),
    (message(values=[1.0, 2.0, 3.0, 4.0]), "invalid"),
    (message(values=[1.0, 2.0, True]), "invalid"),
    (message(values=[1.0, 2.0, "3"]), "invalid"),
    (message(values=[1.0, 2.0, None]), "invalid"),
    (message(device=5), "invalid"),
    (message(time="7"), "invalid"),
    (message(time=True), "invalid"),
    (message(device=""), "device"),
    (message(device="d" * 257), "device"),
    (message(device="é" * 129), "device"),
    (message(time=-1), "time"),
    (message(time=-0.5), "time"),
    (message(time=2**63 // 1000 + 1), "time"),
    (message(time=2**64 - 1), "time"),
    (message(time=1e300), "time"),
    (message(time=math.nan), "time"),
    (message(time=math.inf), "time"),
    (message(values=[1.0, math.nan, 3.0]), "not_finite"),
    (message(values=[-math.inf, 2.0, 3.0]), "not_finite"),
])
def test_a_bad_message_has_its_reason_and_harms_only_itself(payload: bytes | None, reason: str) -> None:
    frame, bad = decode([GOOD, payload, GOOD, payload])
    assert [(index, why) for index, why, _ in bad] == [(1, reason), (3, reason)]
    assert all(0 < len(detail) <= 200 for _, _, detail in bad)
    assert frame.offsets.tolist() == [100, 104]
    assert frame.values.tolist() == [[1.0, 2.0, 3.0]] * 2


def test_json_has_no_nan_and_huge_numbers_are_refused() -> None:
    schema = msgspec.structs.replace(PLAIN, codec="json")
    head = b'{"device":"e-1","time":7,"values":[1,2,'
    ends = [b"NaN]}", b"1e999]}", b"9" * 400 + b"]}", b"123456789012345678901234567890]}"]
    frame, bad = decode([head + end for end in ends], schema)
    assert [(index, why) for index, why, _ in bad] == [(0, "malformed"), (1, "invalid"), (2, "invalid")]
    assert frame.values[0, 2] == 123456789012345678901234567890


def test_devices_of_256_bytes_are_taken() -> None:
    frame, bad = decode([message(device="é" * 128), message(device="d" * 256)])
    assert (len(frame), bad) == (2, [])


@pytest.mark.parametrize(("unit", "time", "micros"), [
    ("s", 1.5, 1_500_000), ("s", 3, 3_000_000), ("ms", 0.0016, 2), ("us", 2**63 - 1, 2**63 - 1),
    ("ns", 1_999, 1), ("ns", 1_999.0, 2), ("ms", 0, 0), ("s", 2**63 // 10**6, 2**63 // 10**6 * 10**6),
])
def test_times_of_every_unit_become_microseconds(unit: str, time: float, micros: int) -> None:
    schema = msgspec.structs.replace(PLAIN, time_unit=unit)
    frame, bad = decode([message(time=time)], schema)
    assert (frame.times.tolist(), bad) == ([micros], [])


times = st.one_of(st.integers(-10, 2**64 - 1), st.floats(), st.integers(0, 10**13))
numbers = st.one_of(st.floats(), st.integers(-(2**63), 2**64 - 1))
triples = st.lists(numbers, min_size=3, max_size=3)
readings = st.builds(message, device=st.text(max_size=300), time=times, values=triples)
payloads = st.one_of(st.none(), st.binary(max_size=60), readings, readings.map(lambda data: data[:-1]),
                     st.recursive(st.none() | st.booleans() | numbers | st.text(max_size=5),
                                  lambda inner: st.lists(inner, max_size=3)
                                  | st.dictionaries(st.sampled_from(["device", "time", "values", "x"]), inner))
                     .map(msgspec.msgpack.encode))


@given(st.lists(payloads, max_size=12), st.sampled_from(SCHEMAS))
def test_every_payload_is_either_good_or_bad_and_order_is_kept(batch: list[bytes | None], schema: Schema) -> None:
    frame, bad = decode(batch, schema)
    indices = [(int(offset) - 100) // 2 for offset in frame.offsets]
    assert indices == sorted(indices)
    assert [index for index, _, _ in bad] == sorted(index for index, _, _ in bad)
    assert sorted(indices + [index for index, _, _ in bad]) == list(range(len(batch)))
    assert {reason for _, reason, _ in bad} <= REASONS
    assert frame.values.shape == (len(frame), 3)
    assert np.isfinite(frame.values).all()
    assert (frame.times >= 0).all()


@given(st.lists(payloads, max_size=10), st.data())
def test_nothing_depends_on_where_frames_are_cut(batch: list[bytes | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    decoder, records = Decoder(PLAIN), raw(batch)
    whole, bad = decoder.decode(records, 0, len(batch))
    first, bad_first = decoder.decode(records, 0, cut)
    second, bad_second = decoder.decode(records, cut, len(batch))
    assert bad == bad_first + bad_second
    assert whole.times.tolist() == first.times.tolist() + second.times.tolist()
    assert whole.values.tobytes() == first.values.tobytes() + second.values.tobytes()
    assert whole.devices == first.devices + second.devices
