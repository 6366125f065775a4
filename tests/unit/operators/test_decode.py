"""Decoding messages of one reading: what is good stays in order, what is bad has its reason, and nothing raises."""

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
from swapstream.operators.readers import Bad

PLAIN = Schema.from_columns("engine", ["temperature", "oil.level", "class"])
FIELDS = PLAIN.fields
NESTED = tuple(msgspec.structs.replace(field, path=("deep", f"{i}", "x")) for i, field in enumerate(FIELDS))
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"layout": "named"},
    {"layout": "named", "values": ""},
    {"layout": "named", "values": ("data", "readings"), "device": ("head", "id"), "time": ("head", "at")},
    {"layout": "named", "values": "", "fields": NESTED},
    {"values": ("body", "v"), "type_key": "kind", "type": "engine"},
]
SCHEMAS = [msgspec.structs.replace(PLAIN, codec=codec, **layout) for codec in ("json", "msgpack") for layout in LAYOUTS]
NAMES = [f"{schema.codec} {schema.layout} {schema.values} {place}" for place, schema in enumerate(SCHEMAS)]
REASONS = {"empty", "malformed", "invalid", "device", "time", "not_finite", "schema"}
GOOD = encoder(PLAIN)("e-1", 7, (1.0, 2.0, 3.0))
DAY_MS = 86_400_000
NOW_MS = 1_767_225_600_000
LATE_MS = 2**63 // 1_000
"""A log time that no event time is after."""

every_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=NAMES)


def raw(payloads: list[Any], logged: int = LATE_MS) -> RawFrame:
    n = len(payloads)
    return RawFrame(3, payloads, np.arange(n) * 2 + 100, np.full(n, logged), [None] * n)


def decode(payloads: list[Any], schema: Schema = PLAIN, logged: int = LATE_MS) -> tuple[Frame, list[Bad]]:
    return Decoder(schema).decode(raw(payloads, logged), 0, len(payloads))


def message(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({"device": "e-1", "time": 7, "values": [1.0, 2.0, 3.0]} | changes)


@every_schema
def test_what_was_encoded_comes_back(schema: Schema) -> None:
    encode = encoder(schema)
    payloads = [encode(f"é-{i}", i * 10, (i, i + 0.1, -i)) for i in range(5)]
    frame, bad = Decoder(schema).decode(raw(payloads, 9_000), 1, 4)
    assert bad == []
    assert frame.partition == 3
    assert frame.devices == ["é-1", "é-2", "é-3"]
    assert frame.offsets.tolist() == [102, 104, 106]
    assert frame.index.tolist() == [0, 0, 0]
    assert frame.timestamps.tolist() == [9_000] * 3
    assert frame.times.tolist() == [10_000, 20_000, 30_000]
    assert frame.values.tolist() == [[i, i + 0.1, -i] for i in (1, 2, 3)]
    assert (frame.values.dtype, frame.times.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("layout", LAYOUTS[:3])
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


def deep(levels: int) -> bytes:
    return b"\x81\xa1x" + b"\x91" * levels


@pytest.mark.parametrize(("payload", "reason"), [
    pytest.param(None, "empty", id="null"),
    pytest.param(b"", "empty", id="no bytes"),
    pytest.param(b"\xc1swap", "malformed", id="a byte msgpack never uses"),
    pytest.param(GOOD[:-1], "malformed", id="truncated"),
    pytest.param(GOOD + b"\x00", "malformed", id="trailing bytes"),
    pytest.param(b"\x83\xa6device\xa1\xff", "malformed", id="invalid UTF-8"),
    pytest.param(deep(10_000), "malformed", id="10,000 deep"),
    pytest.param(deep(100_000), "malformed", id="100,000 deep"),
    pytest.param(b"\x81\xa1x\xdd\xff\xff\xff\xff", "malformed", id="2**32 elements, ignored"),
    pytest.param(b"\x81\xa6values\xdd\xff\xff\xff\xff", "invalid", id="2**32 elements"),
    pytest.param(b"\x81\xa6values\xc6\xff\xff\xff\xff", "malformed", id="2**32 bytes"),
    pytest.param(b"\xdf\xff\xff\xff\xff", "malformed", id="2**32 keys"),
    pytest.param(b"\x01", "invalid", id="a number"),
    pytest.param(msgspec.msgpack.encode({"device": "e-1", "time": 7}), "invalid", id="no values"),
    pytest.param(msgspec.msgpack.encode({"time": 7, "values": [1.0, 2.0, 3.0]}), "invalid", id="no device"),
    pytest.param(message(values=[1.0, 2.0]), "invalid", id="too few values"),
    pytest.param(message(values=[1.0, 2.0, 3.0, 4.0]), "invalid", id="too many values"),
    pytest.param(message(values=[1.0, 2.0, True]), "invalid", id="bool"),
    pytest.param(message(values=[1.0, 2.0, "3"]), "invalid", id="text"),
    pytest.param(message(values=[1.0, 2.0, None]), "invalid", id="nil"),
    pytest.param(message(device=5), "invalid", id="a number as device"),
    pytest.param(message(device=None), "invalid", id="nil as device"),
    pytest.param(message(time="7"), "invalid", id="text as time"),
    pytest.param(message(time=True), "invalid", id="bool as time"),
    pytest.param(message(device=""), "device", id="empty device"),
    pytest.param(message(device="d" * 257), "device", id="long device"),
    pytest.param(message(device="é" * 129), "device", id="long device in UTF-8"),
    pytest.param(message(device="d" * 2**20), "device", id="1 MB of device"),
    pytest.param(message(time=-1), "time", id="negative time"),
    pytest.param(message(time=-0.5), "time", id="negative fraction"),
    pytest.param(message(time=2**63 // 1000 + 1), "time", id="time beyond 64 bit"),
    pytest.param(message(time=2**64 - 1), "time", id="time of 64 bit without sign"),
    pytest.param(message(time=1e300), "time", id="huge time"),
    pytest.param(message(time=math.nan), "time", id="time nan"),
    pytest.param(message(time=math.inf), "time", id="time inf"),
    pytest.param(message(values=[1.0, math.nan, 3.0]), "not_finite", id="nan"),
    pytest.param(message(values=[-math.inf, 2.0, 3.0]), "not_finite", id="inf"),
    pytest.param(message(values=[math.inf, -math.inf, 3.0]), "not_finite", id="inf and -inf"),
    pytest.param(message(junk=b"x" * 10 * 2**20, values=[1.0]), "invalid", id="10 MB"),
])
def test_a_bad_message_has_its_reason_and_harms_only_itself(payload: bytes | None, reason: str) -> None:
    frame, bad = decode([GOOD, payload, GOOD, payload])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(1, None, reason), (3, None, reason)]
    assert all(0 < len(one.detail) <= 200 for one in bad)
    assert frame.offsets.tolist() == [100, 104]
    assert frame.values.tolist() == [[1.0, 2.0, 3.0]] * 2


def test_json_has_no_nan_and_huge_numbers_are_refused() -> None:
    schema = msgspec.structs.replace(PLAIN, codec="json")
    head = b'{"device":"e-1","time":7,"values":[1,2,'
    ends = [b"NaN]}", b"1e999]}", b"9" * 400 + b"]}", b"123456789012345678901234567890]}"]
    frame, bad = decode([head + end for end in ends], schema)
    assert [(one.place, one.reason) for one in bad] == [(0, "malformed"), (1, "invalid"), (2, "invalid")]
    assert frame.values[0, 2] == 123456789012345678901234567890


@pytest.mark.parametrize(("payload", "reason"), [
    (b'{"device":"e-1","time":123456789012345678901234567890,"values":[1,2,3]}', "time"),
    (b'{"device":"\xff","time":7,"values":[1,2,3]}', "malformed"),
    (b'{"device":"e-1","time":7,"values":[1,2,3]} x', "malformed"),
    (b'{"x":' + b"[" * 10_000, "malformed"),
    (b'{"device":"e-1","time":7,"values":[1,2,true]}', "invalid"),
    (b'{"device":"e-1","time":7,"values":[1,2,"3"]}', "invalid"),
])
def test_bad_json_has_its_reason(payload: bytes, reason: str) -> None:
    _, bad = decode([payload], msgspec.structs.replace(PLAIN, codec="json"))
    assert [one.reason for one in bad] == [reason]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_of_a_key_that_stands_twice_the_last_counts(codec: str) -> None:
    if codec == "json":
        payload = b'{"device":"e-1","device":"e-2","time":1,"time":7,"values":[1,2,3],"values":[4,5,6]}'
    else:
        pairs = [("device", "e-1"), ("device", "e-2"), ("time", 1), ("time", 7), ("values", [1, 2, 3]), ("values", [4, 5, 6])]
        payload = b"\x86" + b"".join(msgspec.msgpack.encode(part) for pair in pairs for part in pair)
    frame, bad = decode([payload], msgspec.structs.replace(PLAIN, codec=codec))
    assert (bad, frame.devices, frame.times.tolist(), frame.values.tolist()) == ([], ["e-2"], [7_000], [[4.0, 5.0, 6.0]])


def test_devices_of_256_bytes_are_taken() -> None:
    frame, bad = decode([message(device="é" * 128), message(device="d" * 256)])
    assert (len(frame), bad) == (2, [])


def test_values_whose_sum_overflows_are_finite() -> None:
    frame, bad = decode([message(values=[1.7e308, 1.7e308, 1.0])])
    assert (frame.values.tolist(), bad) == ([[1.7e308, 1.7e308, 1.0]], [])


# -- time


@pytest.mark.parametrize(("unit", "time", "micros"), [
    ("s", 1.5, 1_500_000), ("s", 3, 3_000_000), ("ms", 0.0016, 2), ("us", 2**62, 2**62),
    ("ns", 1_999, 1), ("ns", 1_999.0, 2), ("ms", 0, 0), ("s", 2**62 // 10**6, 2**62 // 10**6 * 10**6),
])
def test_times_of_every_unit_become_microseconds(unit: str, time: float, micros: int) -> None:
    schema = msgspec.structs.replace(PLAIN, time_unit=unit)
    frame, bad = decode([message(time=time)], schema)
    assert (frame.times.tolist(), bad) == ([micros], [])


@pytest.mark.parametrize(("schema", "time", "detail"), [
    pytest.param({}, NOW_MS + 3650 * DAY_MS, "3650.0 days ahead of its log time; max_ahead is 366d", id="ten years ahead"),
    pytest.param({}, NOW_MS * 1000, "ahead", id="µs for ms"),
    pytest.param({"max_ahead": "5min"}, NOW_MS + 300_001, "max_ahead is 5min", id="a little ahead"),
    pytest.param({"time_unit": "us", "max_behind": "30d"}, NOW_MS, "max_behind is 30d", id="ms for µs"),
    pytest.param({"max_behind": "1h"}, NOW_MS - 3_600_001, "max_behind is 1h", id="a little behind"),
])
def test_a_time_far_from_its_log_time_is_bad(schema: dict[str, str], time: int, detail: str) -> None:
    near = NOW_MS * 1000 if schema.get("time_unit") == "us" else NOW_MS
    frame, bad = decode([message(time=near), message(time=time)], msgspec.structs.replace(PLAIN, **schema), NOW_MS)
    assert [(one.place, one.reason) for one in bad] == [(1, "time")]
    assert detail in bad[0].detail
    assert frame.times.tolist() == [NOW_MS * 1000]


@pytest.mark.parametrize(("schema", "times"), [
    ({}, [0, NOW_MS - 20_000 * DAY_MS, NOW_MS + 366 * DAY_MS]),
    ({"max_ahead": "5min", "max_behind": "1h"}, [NOW_MS - 3_600_000, NOW_MS + 300_000]),
])
def test_a_time_at_the_limit_is_good(schema: dict[str, str], times: list[int]) -> None:
    frame, bad = decode([message(time=time) for time in times], msgspec.structs.replace(PLAIN, **schema), NOW_MS)
    assert (frame.times.tolist(), bad) == ([time * 1000 for time in times], [])


def test_without_a_log_time_nothing_is_far_from_it() -> None:
    schema = msgspec.structs.replace(PLAIN, max_ahead="1s", max_behind="1s")
    records = raw([message(time=NOW_MS), message(time=5), message(time=5)])
    records.timestamps[:] = [-1, -1, NOW_MS]
    frame, bad = Decoder(schema).decode(records, 0, 3)
    assert (frame.offsets.tolist(), [one.place for one in bad]) == ([100, 102], [2])


@pytest.mark.parametrize("logged", [2**63 - 1, -(2**63), 0])
def test_no_log_time_overflows(logged: int) -> None:
    schema = msgspec.structs.replace(PLAIN, max_ahead="999999999d", max_behind="999999999d")
    frame, _ = decode([message(time=7), message(time=2**62 // 1000)], schema, logged)
    assert len(frame) >= 1


def test_readings_out_of_order_and_twice_are_readings_in_the_logs_order() -> None:
    frame, bad = decode([message(time=time) for time in (9, 7, 8, 7)])
    assert (frame.times.tolist(), frame.offsets.tolist(), bad) == ([9_000, 7_000, 8_000, 7_000], [100, 102, 104, 106], [])


# -- whatever comes


times = st.one_of(st.integers(-10, 2**64 - 1), st.floats(), st.integers(0, 10**13))
numbers = st.one_of(st.floats(), st.integers(-(2**63), 2**64 - 1))
triples = st.lists(numbers, min_size=3, max_size=3)
readings = st.builds(message, device=st.text(max_size=300), time=times, values=triples)
payloads = st.one_of(st.none(), st.binary(max_size=60), readings, readings.map(lambda data: data[:-1]),
                     st.recursive(st.none() | st.booleans() | numbers | st.text(max_size=5),
                                  lambda inner: st.lists(inner, max_size=3)
                                  | st.dictionaries(st.sampled_from(["device", "time", "values", "x"]), inner))
                     .map(msgspec.msgpack.encode))


@given(st.lists(payloads, max_size=12), st.sampled_from(SCHEMAS), st.sampled_from([-1, 0, NOW_MS, LATE_MS]))
def test_every_payload_is_either_good_or_bad_and_order_is_kept(batch: list[bytes | None], schema: Schema, logged: int) -> None:
    frame, bad = decode(batch, schema, logged)
    places = [(int(offset) - 100) // 2 for offset in frame.offsets]
    assert places == sorted(places)
    assert [one.place for one in bad] == sorted(one.place for one in bad)
    assert sorted(places + [one.place for one in bad]) == list(range(len(batch)))
    assert {one.reason for one in bad} <= REASONS
    assert frame.values.shape == (len(frame), 3)
    assert np.isfinite(frame.values).all()
    assert (frame.times >= 0).all()


@given(st.lists(payloads, max_size=10), st.data(), st.sampled_from([0, NOW_MS]))
def test_nothing_depends_on_where_frames_are_cut(batch: list[bytes | None], data: st.DataObject, logged: int) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    decoder, records = Decoder(PLAIN), raw(batch, logged)
    whole, bad = decoder.decode(records, 0, len(batch))
    first, bad_first = decoder.decode(records, 0, cut)
    second, bad_second = decoder.decode(records, cut, len(batch))
    assert bad == bad_first + bad_second
    assert whole.times.tolist() == first.times.tolist() + second.times.tolist()
    assert whole.values.tobytes() == first.values.tobytes() + second.values.tobytes()
    assert whole.devices == first.devices + second.devices
