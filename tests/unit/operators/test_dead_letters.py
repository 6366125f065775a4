"""Dead letters."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from swapstream.operators.dead_letters import MAX_PAYLOAD, DeadLetter, dead_letter


@pytest.mark.parametrize("payload", [b"", b"{", b"\xc1", b"x" * MAX_PAYLOAD])
def test_the_original_bytes_are_kept(payload: bytes) -> None:
    letter = dead_letter("telemetry", 1, 2, 3, "malformed", "why", payload)
    assert letter.payload == payload
    assert letter.size == len(payload)
    assert letter.digest == hashlib.sha256(payload).hexdigest()
    assert msgspec.msgpack.decode(letter.encode(), type=DeadLetter) == letter


def test_a_payload_over_the_limit_is_named_not_kept() -> None:
    payload = b"x" * (MAX_PAYLOAD + 1)
    letter = dead_letter("telemetry", 1, 2, 3, "malformed", "why", payload)
    assert letter.payload is None
    assert (letter.size, letter.digest) == (len(payload), hashlib.sha256(payload).hexdigest())
    assert len(letter.encode()) < 1_000


def test_null_is_told_as_empty() -> None:
    assert dead_letter("telemetry", 1, 2, 3, "empty", "", None).size == 0
