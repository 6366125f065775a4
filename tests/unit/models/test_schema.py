"""Schemas: shorthand, validation, bytes and digests that don't change."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from swapstream.models.errors import InvalidSchema, UnknownName
from swapstream.models.schema import Field, Schema, encoder, frame_encoder, load_schema, ticks

SCHEMA = Schema("engine", (Field("temperature"), Field("owner.weight", private=True)))
DEMO = Path(__file__).parents[3] / "conf" / "schemas" / "demo.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "engine.yaml"
    path.write_text(text)
    return path


def test_yaml_takes_bare_names_and_the_name_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "fields: [temperature, {name: owner.weight, private: true}]")
    assert load_schema(path) == SCHEMA


def test_the_demo_schema_loads() -> None:
    assert len(load_schema(DEMO).names) == 8


@pytest.mark.parametrize(("text", "words"), [
    ("fields: []", "0 fields"),
    ("fields: [a, b, a]", "'a' occurs more than once"),
    ("fields: ['']", "field ''"),
    ("fields: ['a,b']", "field 'a,b'"),
    ("name: a b\nfields: [a]", "schema name 'a b'"),
    ("fields: [a]\ncodec: pickle", "pickle"),
    ("fields: [a]\ntime_unit: h", "time_unit"),
    ("fields: [a]\nfeilds: 1", "feilds"),
    ("fields: [1]", "fields"),
    ("name: a", "fields"),
    ("fields: [a]\nvalues: ''", "positional"),
    ("fields: [time]\nvalues: ''\nlayout: named", "must be different"),
    ("fields: [a]\nvalues: device", "must be different"),
    ("fields: [a]\ntime: ''", "time is at ''; keys must not be empty"),
    ("fields: [a]\ntime: []", "time is at ''; keys must not be empty"),
    ("fields: [a]\ntime: [a, '']", "time is at [a, '']; keys must not be empty"),
    ("fields: [a]\ntime: [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]", "at most 16 on a path"),
    ("fields: [a]\ndevice: [time, id]", "time is at 'time' and device at [time, id]; these must be different places"),
    ("fields: [a]\ndevice: [m, id]\ntime: [m, id]", "must be different"),
    ("fields: [a, {name: b, path: a}]\nlayout: named", "field 'a' is at [values, a] and field 'b' at [values, a]"),
    ("fields: [{name: b, path: [a, c]}]", "field 'b' has a path; positional fields are found by their place"),
    ("fields: [a]\nlayout: columnar\nvalues: device", "must be different"),
    ("fields: [a]\ntype: pump", "type_key='' and type='pump' go together"),
    ("fields: [a]\ntype_key: kind", "type_key='kind' and type='' go together"),
    ("fields: [a]\ntype_key: time\ntype: x", "time is at 'time' and type_key at 'time'"),
    ("fields: [a]\nmax_ahead: soon", "max_ahead 'soon' is no duration; allowed is a whole number with a unit"),
    ("fields: [a]\nmax_ahead: ''", "max_ahead '' is no duration"),
    ("fields: [a]\nmax_behind: 5m", "max_behind '5m' is no duration"),
    ("- a", "holds a list"),
    ("{", "engine.yaml"),
])
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidSchema) as error:
        load_schema(write(tmp_path, text))
    assert words in str(error.value)
    assert "engine.yaml" in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"nothing\.yaml"):
        load_schema(tmp_path / "nothing.yaml")


def test_bytes_and_digest_are_those_of_every_release() -> None:
    assert Schema.decode(SCHEMA.encode()) == SCHEMA
    assert SCHEMA.digest == "d72913d819457e1e72273cff8aac77c119f75a66d5e00cf3ada7846270de918f"


SECOND = load_schema(Path(__file__).parent / "schema.v2.yaml")


def test_what_version_1_has_no_words_for_is_of_version_2() -> None:
    written = (Path(__file__).parent / "schema.v2.msgpack").read_bytes()
    assert (msgspec.msgpack.decode(SCHEMA.encode())["v"], msgspec.msgpack.decode(written)["v"]) == (1, 2)
    assert Schema.decode(written) == SECOND
    assert SECOND.encode() == written


@pytest.mark.parametrize("change", [
    {"type_key": "kind", "type": "pump"}, {"layout": "columnar"}, {"max_ahead": "1d"}, {"max_behind": "1d"}, {"device": ("a", "b")},
    {"time": ("a", "b")}, {"values": ("a", "b")}, {"layout": "named", "fields": (Field("a", path="b"),)},
])
def test_every_later_setting_makes_it_version_2_and_is_refused_in_version_1(change: dict[str, object]) -> None:
    schema = msgspec.structs.replace(SCHEMA, **change)
    content = msgspec.msgpack.decode(schema.encode())
    assert content["v"] == 2
    assert Schema.decode(schema.encode()) == schema
    assert schema.digest != SCHEMA.digest
    with pytest.raises(InvalidSchema, match="is not of version 1"):
        Schema.decode(msgspec.msgpack.encode(content | {"v": 1}))


@pytest.mark.parametrize("data", [
    b"", b"\xc1", b"\x93", b"[1", b"\x81\xa1v\x03", b"\x81\xa1v\x02", b"\x81\xa1v\x01", b"\x81\xa1\xff\x01", b"\x91" * 100_000,
    msgspec.msgpack.encode({"v": 1, **msgspec.to_builtins(SCHEMA), "more": 1}),
    msgspec.msgpack.encode({**msgspec.to_builtins(SCHEMA)}),
])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidSchema):
        Schema.decode(data)


@pytest.mark.parametrize(("change", "message"), [
    ({}, {"device": "e-1", "time": 5, "values": [1.5, 2.0]}),
    ({"layout": "named"}, {"device": "e-1", "time": 5, "values": {"temperature": 1.5, "owner.weight": 2.0}}),
    ({"layout": "named", "values": ""}, {"device": "e-1", "time": 5, "temperature": 1.5, "owner.weight": 2.0}),
    ({"device": "d", "time": "t", "values": "v"}, {"d": "e-1", "t": 5, "v": [1.5, 2.0]}),
    ({"device": ("h", "d"), "time": ("h", "t"), "values": ("v", "w")}, {"h": {"d": "e-1", "t": 5}, "v": {"w": [1.5, 2.0]}}),
    ({"type_key": "kind", "type": "engine"}, {"kind": "engine", "device": "e-1", "time": 5, "values": [1.5, 2.0]}),
    ({"layout": "named", "values": "", "fields": (Field("a", path=("x", "y.z")), Field("b", path=("x", "w")))},
     {"device": "e-1", "time": 5, "x": {"y.z": 1.5, "w": 2.0}}),
    ({"layout": "named", "values": "device", "device": ("device", "id")},
     {"device": {"id": "e-1", "temperature": 1.5, "owner.weight": 2.0}, "time": 5}),
])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_messages_have_the_schemas_layout(change: dict[str, str], message: object, codec: str) -> None:
    schema = msgspec.structs.replace(SCHEMA, codec=codec, **change)
    load = msgspec.json.decode if codec == "json" else msgspec.msgpack.decode
    assert load(encoder(schema)("e-1", 5, (1.5, 2.0))) == message


def test_a_columnar_message_holds_bytes() -> None:
    schema = msgspec.structs.replace(SCHEMA, layout="columnar")
    values = np.array([[1.5, 2.0], [3.0, 4.0]])
    message = msgspec.msgpack.decode(frame_encoder(schema)("e-1", np.array([5, 6]), values))
    assert message == {"device": "e-1", "time": np.array([5, 6], "<i8").tobytes(), "values": values.astype("<f8").tobytes()}
    flat = msgspec.structs.replace(schema, values="")
    message = msgspec.msgpack.decode(frame_encoder(flat)(["e-1", "e-2"], np.array([5, 6]), values))
    assert message["device"] == ["e-1", "e-2"]
    assert message["owner.weight"] == np.array([2.0, 4.0], "<f8").tobytes()


@pytest.mark.parametrize(("unit", "expected"), [
    ("s", [1, -1]), ("ms", [1999, -1]), ("us", [1_999_999, -1]), ("ns", [1_999_999_000, -1000]),
])
def test_microseconds_become_ticks_rounded_down(unit: str, expected: list[int]) -> None:
    schema = msgspec.structs.replace(SCHEMA, time_unit=unit)
    assert ticks(schema, np.array([1_999_999, -1])).tolist() == expected
