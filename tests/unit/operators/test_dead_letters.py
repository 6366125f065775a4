"""Dead letters."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.dead_letters import MAX_PAYLOAD, dead_letter, decode_dead_letter, of_reading
from tests.support.shards import DEPLOYMENT, NAMESPACE, deployable, frame, running


@pytest.mark.parametrize("payload", [b"", b"{", b"\xc1", b"x" * MAX_PAYLOAD])
def test_the_original_bytes_are_kept(payload: bytes) -> None:
    letter = dead_letter("telemetry", 1, 2, 3, "malformed", "why", payload)
    assert letter.payload == payload
    assert letter.size == len(payload)
    assert letter.digest == hashlib.sha256(payload).hexdigest()
    assert decode_dead_letter(letter.encode()) == letter


def test_a_payload_over_the_limit_is_named_not_kept() -> None:
    payload = b"x" * (MAX_PAYLOAD + 1)
    letter = dead_letter("telemetry", 1, 2, 3, "malformed", "why", payload)
    assert letter.payload is None
    assert (letter.size, letter.digest) == (len(payload), hashlib.sha256(payload).hexdigest())
    assert len(letter.encode()) < 1_000


def test_more_bad_readings_of_a_message_name_its_bytes_and_do_not_repeat_them() -> None:
    first = dead_letter("telemetry", 1, 2, 3, "time", "why", b"xyz")
    second = of_reading(first, 7, "not_finite", "because")
    assert (second.index, second.reason, second.detail, second.payload) == (7, "not_finite", "because", None)
    assert (second.size, second.digest, second.offset) == (3, first.digest, 2)


@pytest.mark.parametrize("value", [b"", b"\xa1\xff", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff"])
def test_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(InvalidDefinition, match="not a dead letter"):
        decode_dead_letter(value)


def test_another_version_is_refused() -> None:
    letter = dead_letter("telemetry", 1, 2, 3, "time", "why", b"")
    with pytest.raises(InvalidDefinition, match="version 4"):
        decode_dead_letter(msgspec.structs.replace(letter, v=4).encode())


def test_it_names_the_deployment_that_could_not_read() -> None:
    worker = running(deployable("p", champion="a:1"))
    (letter,) = (decode_dead_letter(one.value) for one in worker.shard.on_frame(frame([b"?"])) if one.role == "dead_letters")
    assert (letter.namespace, letter.deployment, letter.v) == (NAMESPACE, DEPLOYMENT, 3)
    assert letter.is_of(NAMESPACE, DEPLOYMENT)
    assert not letter.is_of(NAMESPACE, "other")


def test_version_3_is_read_for_ever() -> None:
    letter = decode_dead_letter((Path(__file__).with_name("dead_letter.v3.msgpack")).read_bytes())
    assert (letter.topic, letter.partition, letter.offset, letter.index, letter.payload) == ("telemetry", 1, 2, 4, b"{")
    assert (letter.namespace, letter.deployment) == ("prod", "pumps")


def test_one_of_an_older_version_may_be_anybodys() -> None:
    old = {"topic": "t", "partition": 1, "offset": 2, "timestamp": 3, "reason": "time", "detail": "", "size": 0, "digest": "", "v": 2}
    letter = decode_dead_letter(msgspec.msgpack.encode({**old, "payload": b"", "index": None}))
    assert letter.is_of("prod", "any")


def test_null_is_told_as_empty() -> None:
    assert dead_letter("telemetry", 1, 2, 3, "empty", "", None).size == 0
