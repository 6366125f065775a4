"""Several schemas in one topic: each message is told by its type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.schema import Schema, encoder, frame_encoder
from swapstream.operators.decode import Decoder, Decoders
from swapstream.operators.frame import Frame, RawFrame
from swapstream.operators.readers import Bad

UNTYPED = Schema.from_columns("pumps", ["temperature", "pressure"])
FANS = msgspec.structs.replace(Schema.from_columns("fans", ["speed"]), type_key="kind", type="fan", device=("head", "id"))
BELTS = msgspec.structs.replace(Schema.from_columns("belts", ["load"]), type_key="kind", type="belt", layout="columnar")
TYPED, MIXED = (FANS, BELTS), (UNTYPED, FANS, BELTS)

PUMP = encoder(UNTYPED)("p", 1, (1.0, 2.0))
FAN = encoder(FANS)("f", 2, (3.0,))
BELT = frame_encoder(BELTS)("b", np.array([4, 5]), np.array([[6.0], [7.0]]))


def raw(payloads: Sequence[bytes | None]) -> RawFrame:
    n = len(payloads)
    return RawFrame(0, list(payloads), np.arange(n), np.full(n, 1_000), [None] * n)


def decode(schemas: Sequence[Schema], payloads: Sequence[bytes | None]) -> tuple[list[Frame], list[Bad]]:
    return Decoders(schemas).decode(raw(payloads), 0, len(payloads))


def of_type(kind: Any, **changes: Any) -> bytes:
    return msgspec.msgpack.encode({"time": 2, "values": [3.0], "head": {"id": "f"}, "kind": kind} | changes)


@pytest.mark.parametrize("schemas", [MIXED, MIXED[::-1]])
def test_each_schema_has_its_frame_in_the_plans_order(schemas: Sequence[Schema]) -> None:
    frames, bad = decode(schemas, [BELT, PUMP, FAN, BELT, PUMP])
    found = {schema.name: frame for schema, frame in zip(schemas, frames, strict=True)}
    assert bad == []
    assert {name: frame.offsets.tolist() for name, frame in found.items()} == {
        "pumps": [1, 4], "fans": [2], "belts": [0, 0, 3, 3]}
    assert found["belts"].values.tolist() == [[6.0], [7.0]] * 2
    assert found["fans"].devices == ["f"]


@pytest.mark.parametrize("schemas", [TYPED, MIXED, (FANS,)], ids=["typed", "mixed", "one"])
@pytest.mark.parametrize(("payload", "detail"), [
    (of_type("valve"), "kind is 'valve'; the plan's schemas have "),
    (of_type(5), "kind is 5"),
    (of_type([1]), "kind is [1]"),
    (of_type("v" * 5_000), "kind is 'vvv"),
])
def test_a_type_that_no_schema_has_is_a_bad_message(schemas: Sequence[Schema], payload: bytes, detail: str) -> None:
    frames, bad = decode(schemas, [FAN, payload, FAN])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(1, None, "schema")]
    assert bad[0].detail.startswith(detail)
    assert len(bad[0].detail) <= 200
    assert sum(map(len, frames)) == 2


@pytest.mark.parametrize("schemas", [TYPED, (FANS,)], ids=["typed", "one"])
@pytest.mark.parametrize("payload", [PUMP, of_type(None)])
def test_a_message_without_a_type_is_the_untyped_schemas_or_bad(schemas: Sequence[Schema], payload: bytes) -> None:
    _, bad = decode(schemas, [payload])
    assert [(one.reason, one.detail[:7]) for one in bad] == [("schema", "no kind")]


def test_where_there_is_an_untyped_schema_it_takes_messages_without_a_type() -> None:
    frames, bad = decode(MIXED, [PUMP, PUMP[:1].replace(b"\x83", b"\x84") + PUMP[1:] + b"\xa4kind\xc0"])
    assert (bad, frames[0].offsets.tolist()) == ([], [0, 1])


@pytest.mark.parametrize("schemas", [TYPED, MIXED, (FANS,)], ids=["typed", "mixed", "one"])
@pytest.mark.parametrize(("payload", "reason"), [
    (of_type("fan")[:-1], "malformed"),
    (of_type("valve")[:-1], "malformed"),
    (of_type("fan") + b"\x00", "malformed"),
    (of_type("fan", values=[1.0, 2.0]), "invalid"),
    (of_type("fan", head={}), "invalid"),
    (of_type("fan", head={"id": ""}), "device"),
    (of_type("fan", time=-1), "time"),
    (of_type("fan", values=[float("nan")]), "not_finite"),
    (b"\x81\xa4kind" + b"\x91" * 10_000, "malformed"),
    (b"\x81\xa4kind\xdd\xff\xff\xff\xff", "malformed"),
    (b"\x01", "invalid"),
    (b"", "empty"),
    (None, "empty"),
])
def test_other_faults_have_their_reasons(schemas: Sequence[Schema], payload: bytes | None, reason: str) -> None:
    frames, bad = decode(schemas, [FAN, payload])
    assert [(one.place, one.reading, one.reason) for one in bad] == [(1, None, reason)]
    assert sum(map(len, frames)) == 1


@pytest.mark.parametrize("schemas", [TYPED, MIXED, (FANS,)], ids=["typed", "mixed", "one"])
def test_a_message_that_says_two_types_is_bad(schemas: Sequence[Schema]) -> None:
    two = b"\x85" + of_type("fan")[1:] + msgspec.msgpack.encode("kind") + msgspec.msgpack.encode("belt")
    assert len(decode(schemas, [two])[1]) == 1


def test_json_is_told_apart_alike() -> None:
    schemas = [msgspec.structs.replace(schema, codec="json") for schema in MIXED]
    belt = frame_encoder(schemas[2])("b", np.array([4, 5]), np.array([[6.0], [7.0]]))
    payloads = [encoder(schemas[0])("p", 1, (1.0, 2.0)), encoder(schemas[1])("f", 1, (1.0,)), belt]
    frames, bad = decode(schemas, payloads)
    assert (bad, [frame.offsets.tolist() for frame in frames]) == ([], [[0], [1], [2, 2]])


def test_one_schema_with_a_type_reads_what_it_wrote() -> None:
    frame, bad = Decoder(FANS).decode(raw([FAN, FAN]), 1, 2)
    assert (frame.offsets.tolist(), bad) == ([1], [])


anything = st.sampled_from([PUMP, FAN, BELT, of_type("valve"), of_type("fan", values=[]), FAN[:-1], None, b"", b"\x01",
                            frame_encoder(BELTS)("b", np.array([1, 2]), np.array([[np.nan], [1.0]]))])


@given(st.lists(anything, max_size=12), st.sampled_from([TYPED, MIXED, (FANS,)]), st.data())
def test_nothing_is_lost_and_nothing_depends_on_cuts(batch: list[bytes | None], schemas: Any, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(batch)))
    decoders, records = Decoders(schemas), raw(batch)
    whole, bad = decoders.decode(records, 0, len(batch))
    (first, bad_first), (second, bad_second) = decoders.decode(records, 0, cut), decoders.decode(records, cut, len(batch))
    assert bad == bad_first + bad_second
    for frame, one, other in zip(whole, first, second, strict=True):
        assert frame.offsets.tolist() == one.offsets.tolist() + other.offsets.tolist()
        assert frame.values.tobytes() == one.values.tobytes() + other.values.tobytes()
    ended = {offset for frame in whole for offset in frame.offsets.tolist()} | {one.place for one in bad}
    assert ended == set(range(len(batch)))
