"""Tokens."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidToken
from swapstream.operators.envelope import Envelope
from swapstream.operators.signing import Signer
from swapstream.operators.token import FIRST_BYTE, Token
from tests.support.shards import reading, token

TOKEN = token(3, "d" * 64, 17)


def test_a_token_is_read_back() -> None:
    read = Token.decode(TOKEN)
    assert (read.epoch, read.plan, read.parameters_end) == (3, "d" * 64, 17)
    assert read.encode() == TOKEN


def test_what_an_update_carries_is_signed_with_the_rest() -> None:
    made = msgspec.structs.replace(Token.decode(TOKEN), kind="update", body=b"parameters")
    signer = Signer.from_seed(bytes(32))
    read, envelope = Token.open(made.encode(signer))
    assert read == made
    assert envelope.key == signer.id
    assert envelope.signed_by(signer.public, "token")
    assert not envelope.signed_by(signer.public, "definition")
    assert not envelope.signed_by(Signer.new().public, "token")


def test_tokens_that_name_no_job_are_written_as_ever() -> None:
    said = msgspec.msgpack.decode(Token.open(TOKEN)[1].signed)
    assert not {"generation", "predecessor"} & said.keys()
    assert Token.decode(token(3, "d" * 64, 17, kind="handover", generation=2)).predecessor == 0


def test_no_reading_starts_like_a_token() -> None:
    assert TOKEN[:1] == FIRST_BYTE
    assert FIRST_BYTE not in {payload[:1] for payload in (b"", reading(), json.dumps({"device": "Á"}).encode())}


def test_readers_of_the_topic_fail_on_it_at_the_first_byte() -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(TOKEN)
    with pytest.raises(UnicodeDecodeError):
        json.loads(TOKEN)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        TOKEN[:-1],
        TOKEN + b"\x00",
        b"\xc1" + b"\x91" * 100_000,
        b"\xc1\xdd\xff\xff\xff\xff",
        b"\xc1" + msgspec.msgpack.encode(Envelope(2, b"")),
        b"\xc1" + msgspec.msgpack.encode(Envelope(1, b"\xa1\xff")),
        token(3, "d", 17, kind=None),
    ],
    ids=lambda payload: payload[:8].hex(),
)
def test_what_starts_like_a_token_and_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidToken):
        Token.decode(payload)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(rest: bytes) -> None:
    with pytest.raises(InvalidToken):
        Token.decode(b"\xc1" + rest)
