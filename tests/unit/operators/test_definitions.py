"""Definitions: what wins a name, and that nothing that somebody writes onto `parameters` can do harm."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.operators.abort import Abort
from swapstream.operators.definitions import Definitions
from swapstream.operators.envelope import Envelope
from swapstream.operators.signing import Signer
from swapstream.operators.statement import MAX_DEFINITION, Statement, decode_definition, digest_of, encode_definition
from tests.support.shards import NAMESPACE, Parameters

SIGNER = Signer.from_seed(bytes(32))


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


def test_a_cut_map_that_is_none_takes_no_name() -> None:
    parameters = Parameters()
    parameters.define("cut", "detect:9", b"\xc1")
    parameters.cut(9, "a" * 64, {0: 3})
    assert [cut.epoch for cut in parameters.read(Definitions()).cuts(NAMESPACE, "detect")] == [9]


def test_cuts_at_arrival_are_apart_and_have_a_place() -> None:
    parameters = Parameters()
    parameters.cut(1, "a" * 64, {0: 3})
    parameters.cut(2, "b" * 64, {}, arrival=True)
    parameters.write(parameters.records[1])
    definitions = parameters.read(Definitions())
    assert [cut.epoch for cut in definitions.cuts(NAMESPACE, "detect", before=1)] == [1]
    assert definitions.cuts(NAMESPACE, "detect", before=0) == []
    assert [cut.epoch for cut in definitions.arrivals(NAMESPACE, "detect")] == [2]
    assert [cut.epoch for cut in definitions.arrivals(NAMESPACE, "detect", before=2)] == [2]
    assert definitions.arrivals(NAMESPACE, "detect", before=1) == []


def test_the_newest_cut_of_each_deployment() -> None:
    parameters = Parameters()
    for epoch, deployment in ((1, "a"), (3, "a"), (2, "a"), (1, "b")):
        parameters.cut(epoch, "a" * 64, {0: epoch}, deployment=deployment)
    found = parameters.read(Definitions()).newest_cuts(NAMESPACE)
    assert sorted((cut.deployment, cut.epoch) for cut in found) == [("a", 3), ("b", 1)]
    assert parameters.read(Definitions()).newest_cuts("alice") == []


def test_an_abort_is_of_one_epoch() -> None:
    parameters = Parameters()
    parameters.define("abort", "detect:3", Abort(NAMESPACE, "detect", 3).encode())
    parameters.define("abort", "detect:4", Abort(NAMESPACE, "detect", 5).encode())
    parameters.define("abort", "detect:6", b"\x80")
    definitions = parameters.read(Definitions())
    assert [epoch for epoch in range(9) if definitions.aborted(NAMESPACE, "detect", epoch)] == [3]
    assert not definitions.aborted("alice", "detect", 3)


def test_the_same_message_again_is_a_no_op() -> None:
    definitions = Definitions()
    definitions.add(3, definition("m:1", b"body"))
    definitions.add(9, definition("m:1", b"body"))
    assert definitions.statement(NAMESPACE, "model", digest_of(b"body"), before=4) is not None
    assert len(list(definitions.names(NAMESPACE, "model"))) == 1


def reference(**changes: object) -> Statement:
    made = Statement("model", NAMESPACE, "m:1", "d" * 64, "a person", 7, "", b"", 9_000_000, f"objects/{'d' * 64}")
    return msgspec.structs.replace(made, **changes)


def test_a_large_model_is_said_by_reference() -> None:
    definitions = Definitions()
    definitions.add(0, reference().encode(SIGNER))
    found = definitions.statement(NAMESPACE, "model", "d" * 64)
    assert found == reference()
    assert definitions.body(NAMESPACE, "model", "d" * 64) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": "../objects/x"}, "where: '../objects/x' is no path below a store"),
        ({"where": "/etc/passwd"}, "where: '/etc/passwd'"),
        ({"where": "objects/../../x"}, "where: "),
        ({"where": "objects//x"}, "where: "),
        ({"where": "s3://elsewhere/x"}, "where: "),
        ({"where": "objects\\x"}, "where: "),
        ({"where": "objects/x\n"}, "where: "),
        ({"where": ""}, "size: 9000000 bytes at ''|where: ''"),
        ({"size": 0}, "size: 0 bytes"),
        ({"size": -1}, "size: -1 bytes"),
        ({"kind": "plan"}, "only models are said by reference"),
        ({"body": b"x"}, "only models are said by reference"),
        ({"digest": "../x"}, "digest: '../x'"),
    ],
    ids=str,
)
def test_a_reference_leads_below_the_store_and_nowhere_else(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        Definitions().add(0, reference(**changes).encode(SIGNER))


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", ".", "..", "", "a\\b", "a\n", "a:b", "a:1:2", "é", "x" * 101, "-x", "a b", "a\0"])
def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    for signed in (
        encode_definition("model", NAMESPACE, name, b"", "a person", 1, "", SIGNER),
        encode_definition("model", name, "m:1", b"", "a person", 1, "", SIGNER),
    ):
        with pytest.raises(InvalidDefinition, match=r"name: allowed are letters|namespace: .*; allowed are letters"):
            Definitions().add(0, signed[1])


@pytest.mark.parametrize("name", ["m:1", "detect:12", "a.b_c-d", "0" * 16, "A"])
def test_other_names_are_taken(name: str) -> None:
    Definitions().add(0, encode_definition("model", NAMESPACE, name, b"", "a person", 1, "", SIGNER)[1])


def test_a_signed_definition_is_at_most_a_megabyte() -> None:
    Definitions().add(0, encode_definition("model", NAMESPACE, "m:1", bytes(MAX_DEFINITION - 1000), "a", 1, "", SIGNER)[1])
    with pytest.raises(InvalidDefinition, match=rf"^model 'm:1': size: \d+ bytes, at most {MAX_DEFINITION}$"):
        Definitions().add(0, encode_definition("model", NAMESPACE, "m:1", bytes(MAX_DEFINITION), "a", 1, "", SIGNER)[1])


def test_what_earlier_releases_wrote_is_read_however_large_and_whatever_its_name() -> None:
    parameters = Parameters()
    parameters.define("model", "m:1", bytes(MAX_DEFINITION))
    parameters.define("schema", "pumps/süd", b"")
    definitions = parameters.read(Definitions())
    assert definitions.find(NAMESPACE, "model", "m:1") is not None
    assert definitions.find(NAMESPACE, "schema", "pumps/süd") is not None


def test_a_tombstone_takes_nothing_away() -> None:
    parameters = Parameters()
    parameters.define("model", "m:1", b"body")
    parameters.cut(1, "a" * 64, {0: 3})
    parameters.write(None)
    definitions = parameters.read(Definitions())
    assert definitions.body(NAMESPACE, "model", digest_of(b"body")) == b"body"
    assert [cut.epoch for cut in definitions.cuts(NAMESPACE, "detect")] == [1]


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
