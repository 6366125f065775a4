"""Decoding columnar messages: every way to write them is the same readings, and a bad reading harms only itself."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.schema import Field, Schema, encoder, frame_encoder
from swapstream.operators.decode import Decoder
from swapstream.operators.frame import Frame, RawFrame
from swapstream.operators.readers import Bad
from swapstream.operators.records import MAX_READINGS

PLAIN = Schema.from_columns("engine", ["temperature", "oil.level"])
BLOCK = msgspec.structs.replace(PLAIN, layout="columnar")
FLAT = msgspec.structs.replace(BLOCK, values="")
PLACED = msgspec.structs.replace(
    BLOCK, fields=(Field("temperature", path=("a", "t")), Field("oil.level", path="o")), values=("body", "v"), device=("id", "d")
)
SCHEMAS = [msgspec.structs.replace(schema, codec=codec) for schema in (BLOCK, FLAT, PLACED) for codec in ("msgpack", "json")]
VALUES = np.array([[1.0, 2.0], [3.5, -4.0], [5.0, 6.0]])
TIMES = np.array([10, 20, 30])


def raw(payloads: list[Any], logged: int = 2**53) -> RawFrame:
    n = len(payloads)
    return RawFrame(3, payloads, np.arange(n) * 2 + 100, np.full(n, logged), [None] * n)


def decode(payloads: list[Any], schema: Schema = BLOCK, logged: int = 2**53) -> tuple[Frame, list[Bad]]:
    return Decoder(schema).decode(raw(payloads, logged), 0, len(payloads))


def ticks(times: Any = TIMES) -> bytes:
    return np.asarray(times, "<i8").tobytes()


def floats(values: Any = VALUES, dtype: str = "<f8") -> bytes:
    return np.asarray(values, dtype).tobytes()


def message(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({"device": "e-1", "time": ticks(), "values": floats()} | changes)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda one: f"{one.codec} {one.values}")
def test_what_was_encoded_comes_back(schema: Schema) -> None:
    encode = frame_encoder(schema)
    payloads = [encode("é-1", TIMES, VALUES), encode(["a", "b", "a"], TIMES + 1, -VALUES), encode("é-1", TIMES[:1], VALUES[1:2])]
    frame, bad = decode(payloads, schema)
    assert bad == []
    assert frame.devices == ["é-1"] * 3 + ["a", "b", "a", "é-1"]
    assert frame.offsets.tolist() == [100, 100, 100, 102, 102, 102, 104]
    assert frame.index.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert frame.times.tolist() == [10_000, 20_000, 30_000, 11_000, 21_000, 31_000, 10_000]
    assert frame.values.tolist() == [*VALUES.tolist(), *(-VALUES).tolist(), VALUES[1].tolist()]
    assert (frame.values.dtype, frame.times.dtype, frame.values.flags.writeable) == (np.float64, np.int64, True)


@pytest.mark.parametrize("values", [
    floats(),
    floats(dtype="<f4"),
    VALUES.tolist(),
    VALUES.reshape(-1).tolist(),
    {"temperature": floats(VALUES[:, 0]), "oil.level": floats(VALUES[:, 1])},
    {"temperature": floats(VALUES[:, 0], "<f4"), "oil.level": VALUES[:, 1].tolist(), "more": 1},
])
@pytest.mark.parametrize("times", [ticks(), [10, 20, 30], [10.0, 20, 30.0]])
@pytest.mark.parametrize("device", ["e-1", ["e-1"] * 3])
def test_every_way_to_write_numbers_is_the_same_readings(values: Any, times: Any, device: Any) -> None:
    plain, _ = decode([message()])
    frame, bad = decode([message(values=values, time=times, device=device)])
    assert bad == []
    assert frame.values.tobytes() == plain.values.tobytes()
    assert (frame.times.tolist(), frame.devices, frame.index.tolist()) == (plain.times.tolist(), plain.devices, [0, 1, 2])
    assert frame.by_device()[0] == ["e-1"]
    assert frame.by_device()[1].tolist() == [0, 0, 0]


def test_one_reading_can_be_written_without_arrays() -> None:
    frame, bad = decode([encoder(BLOCK)("e-1", 7, (1.0, 2.0))])
    assert (frame.times.tolist(), frame.values.tolist(), bad) == ([7_000], [[1.0, 2.0]], [])


def test_kinds_of_times_may_stand_side_by_side() -> None:
    schema = msgspec.structs.replace(BLOCK, time_unit="s")
    frame, _ = decode([message(), message(time=[1.5, 2, 3.25]), message()], schema)
    assert frame.times.tolist() == [10**7, 2 * 10**7, 3 * 10**7, 1_500_000, 2_000_000, 3_250_000, 10**7, 2 * 10**7, 3 * 10**7]


@pytest.mark.parametrize(("payload", "reason"), [
    pytest.param(None, "empty", id="null"),
    pytest.param(message()[:-1], "malformed", id="truncated"),
    pytest.param(message() + b"\x00", "malformed", id="trailing bytes"),
    pytest.param(message(time=b"", values=b""), "empty", id="no readings"),
    pytest.param(message(time=[], values=[]), "empty", id="no readings in arrays"),
    pytest.param(message(time=ticks()[:-1]), "invalid", id="a cut time"),
    pytest.param(message(time=ticks([1, 2])), "invalid", id="fewer times"),
    pytest.param(message(values=floats()[:-8]), "invalid", id="fewer values"),
    pytest.param(message(values=floats() + b"\x00" * 8), "invalid", id="more values"),
    pytest.param(message(values=[[1.0, 2.0], [3.0, 4.0]]), "invalid", id="fewer rows"),
    pytest.param(message(values=[[1.0, 2.0], [3.0, 4.0], 5.0]), "invalid", id="rows and numbers"),
    pytest.param(message(values=[[1.0, 2.0], [3.0, 4.0], [5.0]]), "invalid", id="a short row"),
    pytest.param(message(values=[[1.0, 2.0], [3.0, 4.0], [5.0, True]]), "invalid", id="bool"),
    pytest.param(message(values=[[1.0, 2.0], [3.0, 4.0], [5.0, "6"]]), "invalid", id="text"),
    pytest.param(message(values={"temperature": floats(VALUES[:, 0])}), "invalid", id="a missing field"),
    pytest.param(message(values={"temperature": floats(VALUES[:, 0]), "oil.level": floats([1.0])}), "invalid", id="a short field"),
    pytest.param(message(values="123"), "invalid", id="text for values"),
    pytest.param(message(time=5), "invalid", id="one time"),
    pytest.param(message(time=[1, 2, True]), "invalid", id="bool as time"),
    pytest.param(message(device=["e-1", "e-2"]), "invalid", id="fewer devices"),
    pytest.param(message(device=["e-1", "e-2", 3]), "invalid", id="a number as device"),
    pytest.param(message(device=""), "device", id="empty device"),
    pytest.param(message(device="d" * 2**20), "device", id="1 MB of device"),
    pytest.param(message(time=ticks(np.zeros(MAX_READINGS + 1)), values=b""), "invalid", id="too many readings"),
    *(pytest.param(b"\x81" + msgspec.msgpack.encode(key) + b"\xdd\xff\xff\xff\xff", "invalid", id=f"2**32 of {key}")
      for key in ("device", "time", "values")),
    pytest.param(b"\x81\xa4time\xc6\xff\xff\xff\xff", "malformed", id="2**32 bytes"),
    pytest.param(message(values=[[[1.0]]]), "invalid", id="nested rows"),
    pytest.param(b"\x81\xa6values" + b"\x91" * 10_000, "invalid", id="10,000 deep"),
])
def test_a_bad_message_has_its_reason_and_harms_only_itself(payload: bytes | None, reason: str) -> None:
    frame, bad = decode([message(), payload, message()])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(1, None, reason)]
    assert 0 < len(bad[0].detail) <= 200
    assert frame.offsets.tolist() == [100] * 3 + [104] * 3


@pytest.mark.parametrize("changes", [{}, {"values": VALUES.tolist()}])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_not_finite_harms_only_itself(changes: dict[str, Any], number: float) -> None:
    values = VALUES.copy()
    values[1, 1] = number
    written = values.tolist() if changes else floats(values)
    frame, bad = decode([message(), message(values=written)])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(1, 1, "not_finite")]
    assert "oil.level" in bad[0].detail
    assert (frame.index.tolist(), frame.offsets.tolist()) == ([0, 1, 2, 0, 2], [100] * 3 + [102] * 2)
    assert np.isfinite(frame.values).all()


@pytest.mark.parametrize("times", [ticks([10, -5, 30]), [10, -5, 30], [10, 2**63, 30], [10.0, math.nan, 30.0],
                                   ticks([10, 2**60, 30]), ticks([10, 2**63 - 1, 30])])
def test_a_reading_of_a_bad_time_harms_only_itself(times: Any) -> None:
    frame, bad = decode([message(time=times)], logged=1_000)
    assert [(one.place, one.reading, one.reason) for one in bad] == [(0, 1, "time")]
    assert (frame.times.tolist(), frame.index.tolist()) == ([10_000, 30_000], [0, 2])


def test_a_reading_of_a_bad_device_harms_only_itself() -> None:
    frame, bad = decode([message(device=["e-1", "", "e-2"]), message(device=["x" * 300, "e-2", "e-3"])])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(0, 1, "device"), (1, 0, "device")]
    assert frame.devices == ["e-1", "e-2", "e-2", "e-3"]
    assert frame.by_device()[0] == ["e-1", "e-2", "e-3"]
    assert frame.by_device()[1].tolist() == [0, 1, 1, 2]


def test_of_several_faults_the_first_is_told() -> None:
    values = np.full((3, 2), np.nan)
    _, bad = decode([message(device=["", "b", "c"], time=[-1, -1, 1], values=floats(values))])
    assert [one.reason for one in bad] == ["device", "time", "not_finite"]


def test_as_many_readings_as_a_message_may_hold() -> None:
    times = np.arange(MAX_READINGS)
    frame, bad = decode([message(time=ticks(times), values=floats(np.ones((MAX_READINGS, 2))))])
    assert (len(frame), bad) == (MAX_READINGS, [])


parts = st.one_of(
    st.binary(max_size=50),
    st.lists(st.floats() | st.integers(-5, 2**64 - 1) | st.booleans(), max_size=5),
    st.lists(st.lists(st.floats(), max_size=3), max_size=4),
    st.text(max_size=3),
    st.lists(st.text(max_size=2), max_size=4),
    st.none(),
    st.just(ticks()),
    st.just(floats()),
    st.just(VALUES.tolist()),
    st.just(TIMES.tolist()),
    st.lists(st.sampled_from(["a", "b", ""]), min_size=3, max_size=3),
    st.just({"temperature": floats(VALUES[:, 0]), "oil.level": [1.0, math.nan, 2.0]}),
)
messages = st.builds(message, device=parts | st.just("e-1"), time=parts, values=parts) | st.none() | st.binary(max_size=40)


@given(st.lists(messages, max_size=6), st.data())
def test_readings_and_bad_ones_are_what_was_sent_however_it_is_cut(batch: list[bytes | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    decoder, records = Decoder(BLOCK), raw(batch)
    whole, bad = decoder.decode(records, 0, len(batch))
    halves = [decoder.decode(records, 0, cut), decoder.decode(records, cut, len(batch))]
    assert bad == halves[0][1] + halves[1][1]
    assert whole.values.tobytes() == halves[0][0].values.tobytes() + halves[1][0].values.tobytes()
    assert whole.devices == halves[0][0].devices + halves[1][0].devices
    told = sorted([((offset - 100) // 2, index) for offset, index in zip(whole.offsets.tolist(), whole.index.tolist(), strict=True)]
                  + [(one.place, one.reading if one.reading is not None else 0) for one in bad])
    assert len(set(told)) == len(told)
    assert {place for place, _ in told} == set(range(len(batch)))
    for place in range(len(batch)):
        indices = [index for at, index in told if at == place]
        assert indices == list(range(len(indices)))
