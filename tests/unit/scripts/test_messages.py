"""Readings to messages: nothing is lost, columnar ones hold as many as asked for, and types are told apart."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoder, Decoders
from swapstream.operators.frame import Frame, RawFrame
from swapstream.scripts.messages import Message, Packer
from swapstream.scripts.simulate import Sent, Source, batches, shares
from swapstream.scripts.simulation import Simulation

PLAIN = Schema.from_columns("engine", ["level", "flow"])
COLUMNAR = msgspec.structs.replace(PLAIN, layout="columnar", type_key="kind", type="engine")
FANS = msgspec.structs.replace(Schema.from_columns("fans", ["speed"]), type_key="kind", type="fan")


def raw(messages: list[Message]) -> RawFrame:
    n = len(messages)
    return RawFrame(0, [message.value for message in messages], np.arange(n), np.full(n, -1), [None] * n)


def read(messages: list[Message], schema: Schema) -> Frame:
    frame, bad = Decoder(schema).decode(raw(messages), 0, len(messages))
    assert bad == []
    return frame


def test_single_readings_are_a_message_each() -> None:
    messages = Packer(PLAIN).pack(["a", "b"], np.array([5_000, 6_000]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    frame = read(messages, PLAIN)
    assert [(message.key, message.time, message.readings) for message in messages] == [(b"a", 5_000, 1), (b"b", 6_000, 1)]
    assert (frame.devices, frame.values.tolist()) == (["a", "b"], [[1.0, 2.0], [3.0, 4.0]])


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 7), st.lists(st.integers(0, 60), max_size=3))
def test_columnar_messages_hold_each_reading_once_and_in_order(devices: list[str], size: int, cuts: list[int]) -> None:
    n = len(devices)
    times, values = np.arange(n) * 1_000, np.arange(2.0 * n).reshape(n, 2)
    packer, messages = Packer(COLUMNAR, size), []
    for first, last in pairwise(sorted({0, *(min(cut, n) for cut in cuts), n})):
        messages += packer.pack(devices[first:last], times[first:last], values[first:last])
    full = len(messages)
    messages += packer.flush()
    assert packer.flush() == []
    assert {message.readings for message in messages[:full]} <= {size}
    assert all(left.time < right.time for left, right in pairwise(messages[:full]))
    frame = read(messages, COLUMNAR)
    for device in set(devices):
        mine = [i for i, name in enumerate(frame.devices) if name == device]
        sent = [i for i, name in enumerate(devices) if name == device]
        assert frame.values[mine].tolist() == values[sent].tolist()
        assert frame.times[mine].tolist() == times[sent].tolist()
    assert {len({frame.devices[i] for i in np.flatnonzero(frame.offsets == offset)}) for offset in frame.offsets.tolist()} <= {1}
    assert len(frame) == n


def test_only_columnar_messages_hold_several() -> None:
    with pytest.raises(InvalidSettings, match="layout positional, which holds 1; layout columnar holds several"):
        Packer(PLAIN, 2)


@pytest.mark.parametrize("size", [1, 10, 1_000])
def test_several_types_are_sent_side_by_side_in_the_order_of_time(size: int) -> None:
    total = Sent()
    sources = [Source(Simulation(schema.names, count, 3, 1, 0, 3_000, fault_rate=0.2, prefix=schema.name), Packer(schema, readings))
               for schema, count, readings in ((COLUMNAR, 2_000, size), (FANS, 900, 1))]
    runs = [messages for messages, _ in batches(sources, total)]
    for messages in runs:
        assert all(left.time <= right.time for left, right in pairwise(messages))
    every = [message for messages in runs for message in messages]
    assert sum(message.readings for message in every) == 2_900
    (engines, fans), bad = Decoders([COLUMNAR, FANS]).decode(raw(every), 0, len(every))
    assert (len(engines), len(fans), bad) == (2_000, 900, [])
    assert set(engines.devices) == {f"engine-00{i}" for i in range(3)}
    assert total.faults > 0


def test_shares_are_whole_and_add_up() -> None:
    assert [shares(10, 3), shares(2, 3), shares(5, 1)] == [[4, 3, 3], [1, 1, 0], [5]]
