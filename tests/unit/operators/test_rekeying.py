"""Which key a message belongs under: of any schema, bad ones as well; and messages of many devices, split."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.jobs.partitioner import partition_of
from swapstream.models.schema import Field, Schema
from swapstream.operators.dead_letters import DeadLetter, decode_dead_letter
from swapstream.operators.decode import Decoder
from swapstream.operators.frame import Frame, RawFrame
from swapstream.operators.rekeying import Homes, Messages, Rekeyed, Rekeying
from swapstream.operators.token import FIRST_BYTE

PARTITIONS = 4
NOW = 1_767_225_600_000
XY = (Field("x"), Field("y"))
PUMP = Schema("pump", XY, codec="json")


def home(key: bytes) -> int:
    return partition_of(key, PARTITIONS)


def rekeyed(schemas: Schema | list[Schema], *payloads: bytes | None) -> Rekeyed:
    n = np.arange(len(payloads))
    made = Rekeying(schemas if isinstance(schemas, list) else [schemas], "raw", home, "prod", "rekey-raw")
    return made.rekey(Messages(list(payloads), n % 3, 10 + n, NOW + n))


def letters(found: Rekeyed) -> list[DeadLetter | None]:
    return [decode_dead_letter(bodies[0]) if keys == [None] and bodies else None
            for keys, bodies in zip(found.keys, found.bodies, strict=True)]


def encode(codec: str, content: Any) -> bytes:
    return (msgspec.json if codec == "json" else msgspec.msgpack).encode(content)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("layout", ["positional", "named"])
def test_the_device_is_found_by_the_schemas_path(codec: Any, layout: Any) -> None:
    schema = Schema("s", XY, codec, device=("meta", "id"), layout=layout)
    payloads = [encode(codec, {"meta": {"id": f"d-{i}", "more": 1}, "time": NOW, "values": [1, 2]}) for i in range(3)]
    found = rekeyed(schema, *payloads)
    assert found == Rekeyed([[b"d-0"], [b"d-1"], [b"d-2"]], [None, None, None])


def test_what_else_is_wrong_with_a_message_is_not_looked_at() -> None:
    found = rekeyed(PUMP, b'{"device": "a"}', b'{"device": "b", "time": "never", "values": [NaN]}'.replace(b"NaN", b"null"))
    assert found.keys == [[b"a"], [b"b"]]


BAD: list[tuple[bytes | None, str]] = [
    (None, "empty"),
    (b"", "empty"),
    (b"{", "malformed"),
    (b"none", "malformed"),
    (b'{"time": 1}', "invalid"),
    (b'{"device": 7}', "invalid"),
    (b'{"device": ["a", "b"]}', "invalid"),
    (b'{"device": ""}', "device"),
    (b'{"device": "' + b"d" * 257 + b'"}', "device"),
    (b'{"device": "a", "x": "' + b"x" * 12_000_000 + b'"}', "size"),
]


def test_what_has_no_device_is_a_dead_letter_and_harms_no_other() -> None:
    good = b'{"device": "p-1"}'
    payloads = [payload for bad, _ in BAD for payload in (good, bad)] + [good]
    found = rekeyed(PUMP, *payloads)
    assert found.keys[::2] == [[b"p-1"]] * (len(BAD) + 1)
    assert found.bodies[::2] == [None] * (len(BAD) + 1)
    for place, (letter, (payload, reason)) in enumerate(zip(letters(found)[1::2], BAD, strict=True)):
        assert letter is not None
        assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == (
            "raw", (2 * place + 1) % 3, 11 + 2 * place, NOW + 2 * place + 1)
        assert (letter.namespace, letter.deployment) == ("prod", "rekey-raw")
        assert (letter.reason, letter.size, letter.index) == (reason, len(payload or b""), None), payload
        assert letter.payload == (payload or b"" if len(payload or b"") <= 512 * 1024 else None)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_tokens_are_left_behind(codec: Any) -> None:
    schema = msgspec.structs.replace(PUMP, codec=codec)
    found = rekeyed(schema, FIRST_BYTE + b"anything", encode(codec, {"device": "a"}), FIRST_BYTE)
    assert found == Rekeyed([[], [b"a"], []], [None, None, None])


def test_schemas_that_agree_where_the_device_is_take_messages_of_any_type() -> None:
    schemas = [Schema("a", XY, "json"), Schema("b", XY, "json", type_key="kind", type="b")]
    found = rekeyed(schemas, b'{"device": "x"}', b'{"device": "y", "kind": "b"}', b'{"device": "z", "kind": "new"}')
    assert found.keys == [[b"x"], [b"y"], [b"z"]]
    assert rekeyed(schemas[1], b'{"device": "z", "kind": "new"}').keys == [[b"z"]]


def test_a_type_tells_where_the_device_is_where_schemas_differ() -> None:
    schemas = [Schema("a", XY, "json"), Schema("b", XY, "json", device="name", type_key="kind", type="b")]
    found = rekeyed(schemas, b'{"device": "x", "name": "n"}', b'{"device": "y", "name": "n", "kind": "b"}', b'{"device": "z", "kind": "c"}')
    assert found.keys == [[b"x"], [b"n"], [None]]
    assert [letter and letter.reason for letter in letters(found)] == [None, None, "schema"]


def test_nothing_depends_on_what_comes_beside() -> None:
    payloads = [b'{"device": "a"}', b"", FIRST_BYTE, b'{"device": "b"}']
    together = rekeyed(PUMP, *payloads)
    for place, payload in enumerate(payloads):
        alone = rekeyed(PUMP, payload)
        assert alone.keys[0] == together.keys[place]


def test_many_devices_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Homes, "MOST", 10)
    homes = Homes(home)
    for number in range(100):
        assert homes[f"d-{number}"] == (f"d-{number}".encode(), home(f"d-{number}".encode()))
        assert len(homes) <= 10
    assert homes[""] is homes["x" * 257] is None


# -- columnar messages


COLUMNS: dict[str, dict[str, Any]] = {
    "rows": {"values": "rows"},
    "flat": {"values": "flat"},
    "bytes": {"values": "bytes", "time": "bytes"},
    "float32": {"values": "float32", "time": "bytes"},
    "map": {"values": "map"},
    "map of bytes": {"values": "map of bytes"},
    "message": {"values": "message", "schema": {"values": ""}},
    "paths": {"values": "paths", "schema": {"fields": (Field("x", path=("deep", "x")), Field("y")), "time": ("when", "at")}},
}


def columnar(codec: str, style: str, devices: list[str]) -> tuple[Schema, bytes]:
    how, n = COLUMNS[style], len(devices)
    schema = Schema(**{"name": "belt", "fields": XY, "codec": codec, "layout": "columnar", "device": ("from", "id"),
                       **how.get("schema", {})})
    values = np.arange(2.0 * n).reshape(n, 2)
    times: Any = NOW + np.arange(n)
    x, y = values.T.tolist()
    message: dict[str, Any] = {"from": {"id": devices, "gateway": "g"}, "more": [1, 2, 3]}
    message |= {"when": {"at": times.tolist()}} if style == "paths" else {
        "time": times.astype("<i8").tobytes() if how.get("time") else times.tolist()}
    message |= {
        "rows": {"values": values.tolist()},
        "flat": {"values": values.ravel().tolist()},
        "bytes": {"values": values.astype("<f8").tobytes()},
        "float32": {"values": values.astype("<f4").tobytes()},
        "map": {"values": {"x": x, "y": y, "unknown": 1}},
        "map of bytes": {"values": {"x": values[:, 0].astype("<f8").tobytes(), "y": values[:, 1].astype("<f8").tobytes()}},
        "message": {"x": x, "y": y},
        "paths": {"values": {"deep": {"x": x}, "y": y}},
    }[how["values"]]
    return schema, encode(codec, message)


def decoded(schema: Schema, payloads: list[bytes]) -> Frame:
    n = np.arange(len(payloads))
    frame, bad = Decoder(schema).decode(RawFrame(0, list(payloads), n, NOW + n, [None] * len(payloads)), 0, len(payloads))
    assert bad == []
    return frame


def by_device(frame: Frame) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for device, time, values in zip(frame.devices, frame.times.tolist(), frame.values.tolist(), strict=True):
        found.setdefault(device, []).append((time, values))
    return found


@pytest.mark.parametrize("style", COLUMNS)
@pytest.mark.parametrize("codec", ["json", "msgpack"])
@given(devices=st.lists(st.sampled_from([f"d-{i}" for i in range(12)]), min_size=1, max_size=40))
def test_a_split_message_has_each_reading_once_where_its_device_belongs(codec: str, style: str, devices: list[str]) -> None:
    schema, payload = columnar(codec, style, devices)
    found = rekeyed(schema, payload)
    (keys,), (bodies,) = found.keys, found.bodies
    partitions = [home(key) for key in keys if key]
    assert sorted(partitions) == sorted({home(device.encode()) for device in devices})
    if bodies is None:
        assert len(keys) == 1
        return
    parts = [decoded(schema, [body]) for body in bodies]
    for partition, part in zip(partitions, parts, strict=True):
        assert {home(device.encode()) for device in part.devices} == {partition}
    assert by_device(decoded(schema, bodies)) == by_device(decoded(schema, [payload]))
    codec_of: Any = msgspec.json if codec == "json" else msgspec.msgpack
    for body in bodies:
        rest = codec_of.decode(body)
        assert (rest["more"], rest["from"]["gateway"]) == ([1, 2, 3], "g")


def test_a_message_of_one_device_is_never_touched() -> None:
    schema = Schema("belt", XY, "json", layout="columnar")
    found = rekeyed(schema, b'{"device": "b-1"}', b'{"device": ["b-1", "b-1"]}', b'{"device": []}')
    assert found.keys == [[b"b-1"], [b"b-1"], [None]]
    assert found.bodies[:2] == [None, None]
    assert [letter and letter.reason for letter in letters(found)] == [None, None, "empty"]


def test_readings_without_a_good_name_go_along_with_the_others() -> None:
    one, other = (next(f"d-{i}" for i in range(99) if home(f"d-{i}".encode()) == partition) for partition in (2, 0))
    schema, payload = columnar("json", "rows", ["", one, "x" * 300, other, one])
    found = rekeyed(schema, payload)
    assert found.keys == [[one.encode(), other.encode()]]
    assert found.bodies[0] is not None
    assert [msgspec.json.decode(body)["from"]["id"] for body in found.bodies[0]] == [["", one, "x" * 300, one], [other]]
    only_bad = rekeyed(schema, columnar("json", "rows", ["", "x" * 300])[1])
    assert [letter and letter.reason for letter in letters(only_bad)] == ["device"]


@pytest.mark.parametrize("change", [
    {"time": [NOW]}, {"time": "?"}, {"time": None}, {"values": [[1.0, 2.0]]}, {"values": {"x": [1.0] * 20}}, {"values": 1}, {"values": []},
])
def test_what_can_not_be_divided_is_a_dead_letter(change: dict[str, Any]) -> None:
    schema = Schema("belt", XY, "json", layout="columnar")
    devices = [f"d-{i}" for i in range(20)]
    message = {"device": devices, "time": [NOW] * 20, "values": [[1.0, 2.0]] * 20} | change
    found = rekeyed(schema, msgspec.json.encode(message), msgspec.json.encode({"device": devices}))
    assert [letter and letter.reason for letter in letters(found)] == ["invalid", "invalid"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@given(payloads=st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_at_all_are_answered(codec: str, payloads: list[bytes]) -> None:
    for layout in ("positional", "columnar"):
        found = rekeyed(Schema("s", XY, codec, layout=layout), *payloads)  # type: ignore[arg-type]
        assert len(found.keys) == len(found.bodies) == len(payloads)
