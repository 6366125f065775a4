"""Bad control messages reach a shard that scores: each is refused with the check and the value, and the champion stays (C7)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import decode_scores
from swapstream.operators.signing import Signer
from swapstream.operators.statement import MAX_DEFINITION, encode_definition
from swapstream.operators.token import Token
from swapstream.operators.trust import KeyMessage
from tests.support.sent import ledger
from tests.support.shards import NAMESPACE, Parameters, Worker, deployable, frame, reading, token

ANN, BOB, EVE = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
ONE, TWO = deployable("one", champion="a:1"), deployable("two", champion="b:1")
R = reading()


class Log(Parameters):
    """`parameters` on which Ann and Bob were trusted; Bob no longer is, from offset `revoked` on. Alice's namespace trusts Eve."""

    def __init__(self) -> None:
        super().__init__(ANN)
        self.tell("trust", BOB)
        eve = KeyMessage(EVE.id, EVE.public, "trust", "eve", 1).encode()
        self.write(encode_definition("key", "alice", EVE.id, eve, "eve", 1, "", EVE)[1])
        self.publish(ONE, TWO)
        self.revoked = self.tell("revoke", BOB)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def worker(log: Log) -> Worker:
    """Under plan "one"."""
    made = Worker(log, ONE.digest)
    made.read()
    return made


def plans(emissions: list[Emission]) -> list[tuple[str, int]]:
    """(plan, offset) of each scored record."""
    frames = [decode_scores(emission.value) for emission in emissions if emission.role == "scores"]
    return [(f.provenance.plan, offset) for f in frames for offset in f.column("offsets").tolist()]


def said(kind: Any, name: str, body: bytes, signer: Signer | None, namespace: str = NAMESPACE) -> bytes:
    return encode_definition(kind, namespace, name, body, "somebody", 1, "", signer)[1]


def damaged(value: bytes) -> bytes:
    """With the last bit of the signature turned."""
    return value[:-1] + bytes([value[-1] ^ 1])


# -- tokens


def test_a_token_that_a_trusted_key_has_signed_is_taken(log: Log, worker: Worker) -> None:
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, log.end, signer=ANN), R]))
    assert plans(out) == [("one", 0), ("two", 2)]


FORGED = {
    "unsigned": (token(1, TWO.digest, 10), "signature: none"),
    "unsigned, as of a time before the first key": (token(1, TWO.digest, 0), "signature: none"),
    "by a key that nobody knows": (token(1, TWO.digest, 10, signer=Signer.from_seed(bytes(32))), "is not trusted in namespace 'prod'"),
    "by a key of another namespace": (token(1, TWO.digest, 10, signer=EVE), "is not trusted in namespace 'prod'"),
    "by a key that is revoked": (token(1, TWO.digest, 10, signer=BOB), "is not trusted in namespace 'prod'"),
    "by a key that is revoked, as of a time when it was not": (token(1, TWO.digest, 5, signer=BOB), "is not trusted in namespace 'prod'"),
    "with another signature": (damaged(token(1, TWO.digest, 10, signer=ANN)), "signature: it is not that of key"),
    "too large": (token(1, TWO.digest, 10, signer=ANN, why="x" * 70_000), "size: 70"),
}


@pytest.mark.parametrize(("payload", "reason"), FORGED.values(), ids=list(FORGED))
def test_a_forged_token_is_rejected_and_the_champion_stays(worker: Worker, payload: bytes, reason: str) -> None:
    out = worker.shard.on_frame(frame([R, payload, R]))
    assert plans(out) == [("one", 0), ("one", 2)]
    (row,) = ledger(out)
    assert (row["event"], row["offset"]) == ("rejected", 1)
    assert reason in row["reason"]
    assert not [emission for emission in out if emission.role == "dead_letters"]


def test_a_tokens_bytes_are_those_that_were_signed(log: Log, worker: Worker) -> None:
    """A good token's signature on another token."""
    good, other = (msgspec.msgpack.decode(token(epoch, TWO.digest, log.end, signer=ANN)[1:]) for epoch in (1, 2))
    (row,) = ledger(worker.shard.on_frame(frame([b"\xc1" + msgspec.msgpack.encode({**good, "signed": other["signed"]})])))
    assert "signature: it is not that of key" in row["reason"]


def test_an_accepted_token_written_again_does_nothing(log: Log, worker: Worker) -> None:
    good = token(1, TWO.digest, log.end, signer=ANN)
    out = worker.shard.on_frame(frame([good, R, good, R]))
    assert plans(out) == [("two", 1), ("two", 3)]
    assert [row["event"] for row in ledger(out)] == ["activated", "rejected"]
    assert "epoch 1 is not above 1" in ledger(out)[1]["reason"]


def test_a_token_copied_into_another_partition_does_nothing(log: Log) -> None:
    other = Worker(log, ONE.digest, partition=1)
    other.read()
    out = other.shard.on_frame(frame([token(1, TWO.digest, log.end, signer=ANN), R], partition=1))
    assert plans(out) == [("one", 1)]
    assert "written for telemetry-0, found in telemetry-1" in ledger(out)[0]["reason"]


def test_behind_a_younger_token_a_key_revoked_since_submit_has_no_effect(log: Log, worker: Worker) -> None:
    """What `keys revoke` writes: the plan in force once more."""
    log.tell("trust", BOB)
    trusted = log.end
    worker.read()
    log.tell("revoke", BOB)
    worker.read()
    forged = token(9, TWO.digest, trusted, signer=BOB)
    out = worker.shard.on_frame(frame([token(1, ONE.digest, log.end, signer=ANN), forged, R]))
    assert [row["event"] for row in ledger(out)] == ["activated", "rejected"]
    assert plans(out) == [("one", 2)]


def test_what_a_key_signed_before_it_was_revoked_is_taken_by_who_reads_it_later(log: Log) -> None:
    log.tell("trust", BOB)
    swapped = token(1, TWO.digest, log.end, signer=BOB)
    cut = Cut(NAMESPACE, "detect", 1, TWO.digest, "telemetry", {0: 1})
    log.write(said("cut", cut.name, cut.encode(), BOB))
    log.tell("revoke", BOB)
    later = Worker(log, ONE.digest)
    later.read()
    assert plans(later.shard.on_frame(frame([R, swapped, R]))) == [("one", 0), ("two", 2)]


# -- definitions

REFUSED = {
    "unsigned": (said("plan", "two", b"x", None), "signature: none"),
    "by a key that nobody knows": (said("plan", "two", b"x", Signer.from_seed(bytes(32))), "is not trusted"),
    "by a key of another namespace": (said("plan", "two", b"x", EVE), "is not trusted in namespace 'prod'"),
    "by a revoked key": (said("plan", "two", b"x", BOB), "is not trusted"),
    "with another signature": (damaged(said("plan", "two", b"x", ANN)), "signature: it is not that of key"),
    "the same version, other bytes": (said("model", "a:1", b"other", ANN), "model 'a:1' is defined already with digest"),
    "a name that is a path": (said("model", "../a:1", b"x", ANN), "model '../a:1': name: allowed are"),
    "a namespace that is a path": (said("model", "a:1", b"x", ANN, "../prod"), "namespace: '../prod'; allowed are"),
    "too large": (said("model", "c:1", bytes(MAX_DEFINITION), ANN), f"bytes, at most {MAX_DEFINITION}"),
    "a cut by nobody": (said("cut", "detect:1", b"", None), "signature: none"),
    "an abort by nobody": (said("abort", "detect:1", b"", None), "signature: none"),
    "an update by nobody": (said("update", "detect", b"", None), "signature: none"),
    "bytes": (b"\xdd\xff\xff\xff\xff", "not a definition"),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_a_bad_definition_is_refused_and_the_champion_stays(log: Log, worker: Worker, value: bytes, reason: str) -> None:
    offset = log.write(value)
    with pytest.raises(InvalidDefinition) as refused:
        worker.definitions.add(offset, value)
    assert reason in str(refused.value)
    assert plans(worker.shard.on_frame(frame([R, token(1, TWO.digest, log.end, signer=ANN), R]))) == [("one", 0), ("two", 2)]


def test_the_same_definition_again_is_a_no_op(log: Log, worker: Worker) -> None:
    for value in log.records:
        if value is not None and b"trust" not in value and b"revoke" not in value:
            worker.definitions.add(log.end, value)
    assert plans(worker.shard.on_frame(frame([token(1, TWO.digest, log.end, signer=ANN), R]))) == [("two", 1)]


def test_a_tombstone_on_the_active_plan_takes_nothing_away(log: Log, worker: Worker) -> None:
    worker.shard.on_frame(frame([token(1, TWO.digest, log.end, signer=ANN)]))
    log.write(None)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R, token(2, ONE.digest, log.end, signer=ANN), R], first=1))) == [("two", 1), ("one", 3)]


def test_a_cut_map_by_nobody_does_not_choose_where_a_shard_begins(log: Log) -> None:
    cut = Cut(NAMESPACE, "detect", 5, TWO.digest, "telemetry", {0: 0})
    log.write(said("cut", cut.name, cut.encode(), None))
    fresh = Worker(log, ONE.digest)
    fresh.read()
    assert plans(fresh.shard.on_frame(frame([R], first=10))) == [("one", 10)]


def test_tokens_made_here_are_what_they_say() -> None:
    """The table above is of tokens that would otherwise be taken."""
    assert {Token.decode(payload).plan for payload, _ in FORGED.values()} == {TWO.digest}
