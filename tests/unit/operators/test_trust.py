"""Trust: who may say what, decided by the log alone."""

from __future__ import annotations

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition, InvalidToken
from swapstream.operators.definitions import MAX_TOKEN, Definitions
from swapstream.operators.signing import Signer, key_id
from swapstream.operators.statement import digest_of, encode_definition
from swapstream.operators.token import Token
from swapstream.operators.trust import Action, KeyMessage
from tests.support.shards import NAMESPACE, token

ANN, BOB, EVE = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2, 3))


class Log:
    """`parameters`, and a reader that has read all of it."""

    def __init__(self) -> None:
        self.records: list[bytes | None] = []
        self.definitions = Definitions()

    def write(self, value: bytes | None) -> int:
        """Returns the offset. Raises what a reader raises."""
        self.records.append(value)
        self.definitions.add(len(self.records) - 1, value)
        return len(self.records) - 1

    def say(self, name: str, signer: Signer | None, namespace: str = NAMESPACE, body: bytes = b"body") -> int:
        return self.write(encode_definition("model", namespace, name, body, "a person", 1, "", signer)[1])

    def key(self, action: Action, key: Signer, signer: Signer | None, when: int, namespace: str = NAMESPACE) -> int:
        return self.write(key_record(action, key, signer, when, namespace))

    def known(self, name: str, namespace: str = NAMESPACE) -> bool:
        return self.definitions.find(namespace, "model", name) is not None


def key_record(action: Action, key: Signer, signer: Signer | None, when: int, namespace: str = NAMESPACE) -> bytes:
    message = KeyMessage(key.id, key.public, action, "a key", when)
    return encode_definition("key", namespace, key.id, message.encode(), "a person", when, "", signer)[1]


@pytest.fixture
def log() -> Log:
    """A log whose namespace trusts Ann, from offset 1 on."""
    made = Log()
    made.say("before:1", None)
    made.key("trust", ANN, ANN, 1)
    return made


def test_a_namespace_that_trusts_nobody_takes_what_is_not_signed(log: Log) -> None:
    assert log.known("before:1")
    log.say("m:1", None, "alice")
    assert log.known("m:1", "alice")


def test_what_a_trusted_key_has_signed_is_taken(log: Log) -> None:
    log.say("m:1", ANN)
    assert log.known("m:1")


@pytest.mark.parametrize(
    ("signer", "line"),
    [(None, "^signature: none"), (EVE, "^signature: key .* is not trusted in namespace 'prod'$")],
)
def test_nothing_else_is_taken_any_more(log: Log, signer: Signer | None, line: str) -> None:
    with pytest.raises(InvalidDefinition, match=line):
        log.say("m:1", signer)
    assert not log.known("m:1")
    assert log.definitions.position == 3


def test_a_signature_is_of_these_bytes(log: Log) -> None:
    signed = msgspec.msgpack.decode(encode_definition("model", NAMESPACE, "m:1", b"body", "a person", 1, "", ANN)[1])
    other = msgspec.msgpack.decode(encode_definition("model", NAMESPACE, "m:1", b"other", "a person", 1, "", ANN)[1])
    with pytest.raises(InvalidDefinition, match=r"^signature: it is not that of key"):
        log.write(msgspec.msgpack.encode({**signed, "signed": other["signed"]}))
    with pytest.raises(InvalidDefinition, match=r"^signature: it is not that of key"):
        log.write(msgspec.msgpack.encode({**signed, "signature": b"short"}))


def test_a_key_of_another_namespace_is_worth_nothing(log: Log) -> None:
    log.key("trust", EVE, EVE, 1, "alice")
    log.say("m:1", EVE, "alice")
    with pytest.raises(InvalidDefinition, match="is not trusted in namespace 'prod'"):
        log.say("m:1", EVE)


def test_the_first_key_trusts_itself(log: Log) -> None:
    for signer in (None, EVE):
        with pytest.raises(InvalidDefinition, match=r"^signature: a namespace's first key trusts itself"):
            log.key("trust", BOB, signer, 1, "alice")
    with pytest.raises(InvalidDefinition, match=r"^signature: a namespace's first key trusts itself"):
        log.key("revoke", BOB, BOB, 1, "alice")
    log.say("m:1", None, "alice")


def test_later_ones_are_trusted_by_those_that_are(log: Log) -> None:
    with pytest.raises(InvalidDefinition, match="is not trusted"):
        log.key("trust", BOB, BOB, 2)
    log.key("trust", BOB, ANN, 3)
    log.say("m:1", BOB)
    assert log.definitions.trusted(NAMESPACE, BOB.id) == BOB.public


def test_what_a_revoked_key_signed_before_stays_valid_and_nothing_after(log: Log) -> None:
    log.key("trust", BOB, ANN, 2)
    log.say("m:1", BOB)
    offset = log.key("revoke", BOB, ANN, 3)
    with pytest.raises(InvalidDefinition, match="is not trusted"):
        log.say("m:2", BOB)
    assert (log.known("m:1"), log.known("m:2")) == (True, False)
    assert log.definitions.trusted(NAMESPACE, BOB.id, offset) == BOB.public
    assert log.definitions.trusted(NAMESPACE, BOB.id, offset + 1) is None


def test_a_revoked_key_can_be_trusted_again(log: Log) -> None:
    for when, action in enumerate(("trust", "revoke", "trust"), 2):
        log.key(action, BOB, ANN, when)  # type: ignore[arg-type]
    log.say("m:1", BOB)


def test_an_old_message_about_a_key_written_again_says_nothing(log: Log) -> None:
    trusting = key_record("trust", BOB, ANN, 2)
    log.write(trusting)
    log.key("revoke", BOB, ANN, 3)
    with pytest.raises(InvalidDefinition, match="when: 2 is not after"):
        log.write(trusting)
    assert log.definitions.trusted(NAMESPACE, BOB.id) is None


def test_nor_does_it_where_compaction_took_away_the_first_writing() -> None:
    log = Log()
    log.key("trust", ANN, ANN, 1)
    log.key("revoke", BOB, ANN, 3)
    with pytest.raises(InvalidDefinition, match="when: 2 is not after"):
        log.write(key_record("trust", BOB, ANN, 2))


def test_the_last_key_can_not_be_revoked(log: Log) -> None:
    with pytest.raises(InvalidDefinition, match="nobody could sign in namespace 'prod' without it"):
        log.key("revoke", ANN, ANN, 2)
    log.key("trust", BOB, ANN, 3)
    log.key("revoke", ANN, ANN, 4)
    with pytest.raises(InvalidDefinition, match="is not trusted"):
        log.key("revoke", BOB, ANN, 5)
    log.say("m:1", BOB)


def test_reading_again_changes_nothing(log: Log) -> None:
    log.key("trust", BOB, ANN, 2)
    before = log.definitions.trust.keys(NAMESPACE)
    for offset, value in enumerate(log.records):
        log.definitions.add(offset, value)
    assert log.definitions.trust.keys(NAMESPACE) == before


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"key": EVE.id}, "it is not the id of the public key"),
        ({"public": bytes(32)}, "it is not the id of the public key"),
        ({"public": b""}, "it is not the id of the public key"),
        ({"v": 2}, "version 2"),
        ({"action": "love"}, "not a key message"),
        ({"when": "now"}, "not a key message"),
    ],
    ids=str,
)
def test_what_is_no_key_message_is_refused(log: Log, changes: dict[str, object], line: str) -> None:
    fields = msgspec.structs.asdict(KeyMessage(BOB.id, BOB.public, "trust", "b", 9))
    body = msgspec.msgpack.encode({**fields, **changes})
    with pytest.raises(InvalidDefinition, match=line):
        log.write(encode_definition("key", NAMESPACE, BOB.id, body, "a person", 1, "", ANN)[1])
    log.write(encode_definition("key", NAMESPACE, BOB.id, msgspec.msgpack.encode(fields), "a person", 1, "", ANN)[1])


def test_a_key_under_the_name_of_another_is_refused(log: Log) -> None:
    message = KeyMessage(BOB.id, BOB.public, "trust", "b", 9)
    with pytest.raises(InvalidDefinition, match="calls itself"):
        log.write(encode_definition("key", NAMESPACE, ANN.id, message.encode(), "a person", 1, "", ANN)[1])


def test_an_id_follows_from_the_public_bytes() -> None:
    assert ANN.id == key_id(ANN.public) == digest_of(ANN.public)[:16]
    assert Signer.from_pem(ANN.to_pem()).id == ANN.id
    assert ANN.sign(b"a", b"b") == ANN.sign(b"a", b"b")
    assert repr(ANN) == f"Signer({ANN.id})"


# -- tokens


def check(log: Log, payload: bytes, before: int) -> None:
    log.definitions.check_token(Token.open(payload)[1], NAMESPACE, before)


def signed(signer: Signer | None, **changes: object) -> bytes:
    made = Token.decode(token(1, "d" * 64, 2))
    return msgspec.structs.replace(made, **changes).encode(signer)


def test_a_token_is_judged_by_what_lies_below_its_place(log: Log) -> None:
    check(log, signed(None), 1)
    check(log, signed(ANN), 2)
    with pytest.raises(InvalidToken, match=r"^signature: none"):
        check(log, signed(None), 2)
    with pytest.raises(InvalidToken, match=r"^signature: key .* is not trusted"):
        check(log, signed(EVE), 2)


def test_of_a_revoked_key_only_what_was_before_counts(log: Log) -> None:
    log.key("trust", BOB, ANN, 2)
    offset = log.key("revoke", BOB, ANN, 3)
    check(log, signed(BOB), offset)
    with pytest.raises(InvalidToken, match=r"^signature: key .* is not trusted"):
        check(log, signed(BOB), offset + 1)


def test_a_forged_token_is_refused(log: Log) -> None:
    good = msgspec.msgpack.decode(signed(ANN)[1:])
    changed = msgspec.msgpack.decode(signed(None, epoch=9)[1:])["signed"]
    with pytest.raises(InvalidToken, match=r"^signature: it is not that of key"):
        check(log, b"\xc1" + msgspec.msgpack.encode({**good, "signed": changed}), 2)


def test_a_signed_definition_is_no_token(log: Log) -> None:
    envelope = msgspec.msgpack.decode(encode_definition("model", NAMESPACE, "m:1", b"", "a person", 1, "", ANN)[1])
    as_token = msgspec.msgpack.decode(signed(ANN)[1:])["signed"]
    envelope["signed"], envelope["signature"] = as_token, ANN.sign(b"swapstream definition\0", as_token)
    with pytest.raises(InvalidToken, match=r"^signature: it is not that of key"):
        check(log, b"\xc1" + msgspec.msgpack.encode(envelope), 2)


def test_a_token_that_is_too_large_is_refused(log: Log) -> None:
    check(log, signed(ANN, body=b"x" * (MAX_TOKEN - 1000)), 2)
    with pytest.raises(InvalidToken, match=rf"^size: \d+ bytes, at most {MAX_TOKEN}$"):
        check(log, signed(ANN, body=b"x" * MAX_TOKEN), 2)
