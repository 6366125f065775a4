"""Definitions: what wins a name, and that nothing that somebody writes onto `parameters` can do harm."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.operators.definitions import (
    Definitions,
    Envelope,
    Statement,
    decode_definition,
    digest_of,
    encode_definition,
)
from tests.support.shards import NAMESPACE, Parameters


def definition(name: str, body: bytes, kind: str = "model") -> bytes:
    return encode_definition(kind, NAMESPACE, name, body, "a person", 7, "because")[1]  # type: ignore[arg-type]


def test_key_and_statement_say_what_was_said() -> None:
    key, value = encode_definition("model", NAMESPACE, "m:1", b"body", "a person", 7, "because")
    assert key == f"prod/model/m:1/{digest_of(b'body')}"
    assert decode_definition(value) == Statement(
        "model", "prod", "m:1", digest_of(b"body"), "a person", 7, "because", b"body"
    )


def test_the_first_of_a_name_wins_and_the_later_one_can_not_be_used() -> None:
    definitions = Definitions()
    definitions.add(3, definition("m:1", b"first"))
    with pytest.raises(InvalidDefinition, match="comes too late"):
        definitions.add(5, definition("m:1", b"second"))
    found = definitions.find(NAMESPACE, "model", "m:1")
    assert found is not None
    assert found.body == b"first"
    assert definitions.body(NAMESPACE, "model", digest_of(b"first")) == b"first"
    assert definitions.body(NAMESPACE, "model", digest_of(b"second")) is None
    assert definitions.position == 6


def test_the_lowest_offset_wins_in_whatever_order_they_are_read() -> None:
    definitions = Definitions()
    definitions.read(5, definition("m:1", b"second"))
    definitions.read(3, definition("m:1", b"first"))
    assert definitions.require(NAMESPACE, "model", digest_of(b"first")) == b"first"
    assert definitions.body(NAMESPACE, "model", digest_of(b"second")) is None


def test_the_first_writing_of_the_same_counts() -> None:
    definitions = Definitions()
    definitions.add(3, definition("m:1", b"body"))
    definitions.add(9, definition("m:1", b"body"))
    assert definitions.body(NAMESPACE, "model", digest_of(b"body"), before=4) == b"body"
    assert definitions.body(NAMESPACE, "model", digest_of(b"body"), before=3) is None


def test_plans_may_share_a_name() -> None:
    definitions = Definitions()
    for offset, body in enumerate((b"one", b"two")):
        definitions.add(offset, definition("p", body, "plan"))
        assert definitions.body(NAMESPACE, "plan", digest_of(body)) == body


def test_namespaces_and_kinds_are_apart() -> None:
    definitions = Definitions()
    definitions.add(0, definition("x", b"body"))
    assert definitions.body("alice", "model", digest_of(b"body")) is None
    assert definitions.body(NAMESPACE, "schema", digest_of(b"body")) is None
    with pytest.raises(UnknownName, match="no model with digest"):
        definitions.require("alice", "model", digest_of(b"body"))


def test_a_tombstone_says_nothing_and_is_read_past() -> None:
    definitions = Definitions()
    assert definitions.add(4, None) is None
    assert definitions.position == 5


def test_cut_maps_are_given_by_epoch_and_what_is_none_is_passed_over() -> None:
    parameters = Parameters()
    parameters.cut(10, "b" * 64, {0: 9})
    parameters.cut(9, "a" * 64, {0: 3})
    parameters.cut(11, "c" * 64, {0: 12}, deployment="another")
    parameters.define("cut", "detect:12", b"\xc1")
    parameters.define("cut", "detect:13", b"\xa1\xff")
    stolen = decode_definition(parameters.records[0] or b"").body
    parameters.define("cut", "detect:14", stolen)
    parameters.define("cut", "detect:10", stolen, namespace="alice")
    definitions = parameters.read(Definitions())
    assert [cut.epoch for cut in definitions.cuts(NAMESPACE, "detect")] == [9, 10]
    assert definitions.cuts("alice", "detect") == []


def damaged(**changes: object) -> bytes:
    envelope = msgspec.msgpack.decode(definition("m:1", b"body"), type=Envelope)
    statement = msgspec.structs.asdict(msgspec.msgpack.decode(envelope.signed, type=Statement))
    return msgspec.msgpack.encode(Envelope(1, msgspec.msgpack.encode({**statement, **changes})))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "not a definition"),
        (b"\xdd\xff\xff\xff\xff", "not a definition"),
        (b"\x91" * 100_000, "not a definition"),
        (msgspec.msgpack.encode(Envelope(2, b"")), "version 2"),
        (msgspec.msgpack.encode(Envelope(1, b"\xa1\xff")), "not a definition"),
        (damaged(body=b"other"), "sha256 is not"),
        (damaged(kind="joke"), "not a definition"),
        (damaged(name=b"\xff"), "not a definition"),
    ],
)
def test_what_is_no_definition_is_refused_and_read_past(value: bytes, message: str) -> None:
    definitions = Definitions()
    with pytest.raises(InvalidDefinition, match=message):
        definitions.add(0, value)
    assert definitions.position == 1


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    Definitions().read(0, value)
