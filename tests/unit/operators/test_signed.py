"""Signed control messages as they were first written: every later release reads and believes them (C8).

Made by `python -m tests.unit.operators.test_signed`, once for each; a file that is there is never written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.signing import Signer
from swapstream.operators.statement import Statement, encode_definition
from swapstream.operators.token import Token
from swapstream.operators.trust import KeyMessage
from swapstream.operators.update import Update, UpdateCut
from tests.support.first_written import write_missing

FOLDER = Path(__file__).parent / "signed"
SIGNER = Signer.from_seed(bytes(range(32)))
PLAN, DIGEST = b"a plan", hashlib.sha256(b"a plan").hexdigest()
UPDATE = UpdateCut(Cut("prod", "d", 5, DIGEST, "telemetry", {0: 50, 1: 51}).encode(), Update(PLAN, [b"a model"]).encode())


def said(kind: str, name: str, body: bytes) -> bytes:
    return encode_definition(kind, "prod", name, body, "a person", 7, "because", SIGNER)[1]  # type: ignore[arg-type]


EXAMPLES: dict[str, Callable[[], bytes]] = {
    "key": lambda: said("key", SIGNER.id, KeyMessage(SIGNER.id, SIGNER.public, "trust", "own", 7).encode()),
    "model": lambda: said("model", "m:1", b"an artifact"),
    "reference": lambda: Statement("model", "prod", "m:2", DIGEST, "a person", 7, "", b"", 9_000, f"objects/{DIGEST}").encode(SIGNER),
    "cut": lambda: said("cut", "d:3", Cut("prod", "d", 3, DIGEST, "telemetry", {1: 31, 0: 30}).encode()),
    "arrival": lambda: said("cut", "d:4", Cut("prod", "d", 4, DIGEST, "telemetry", {}, arrival=True).encode()),
    "abort": lambda: said("abort", "d:6", Abort("prod", "d", 6).encode()),
    "update": lambda: said("update", "d", UPDATE.encode()),
    "token": lambda: Token("update", "prod", "d", 5, DIGEST, "telemetry", 1, 6, "a person", 7, "because", UPDATE.update).encode(SIGNER),
}


def stored(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


@pytest.fixture
def definitions() -> Definitions:
    """Everything but the token, in order."""
    made = Definitions()
    for offset, name in enumerate(list(EXAMPLES)[:-1]):
        made.add(offset, stored(name))
    return made


def test_what_was_written_is_believed(definitions: Definitions) -> None:
    assert definitions.trusted("prod", SIGNER.id) == SIGNER.public
    assert definitions.trust.demands("prod", 1)
    assert definitions.body("prod", "model", hashlib.sha256(b"an artifact").hexdigest()) == b"an artifact"
    found = definitions.statement("prod", "model", DIGEST)
    assert found is not None
    assert (found.size, found.where) == (9_000, f"objects/{DIGEST}")


def test_what_happened_to_the_deployment(definitions: Definitions) -> None:
    assert definitions.cuts("prod", "d") == [Cut("prod", "d", 3, DIGEST, "telemetry", {0: 30, 1: 31})]
    assert definitions.arrivals("prod", "d") == [Cut("prod", "d", 4, DIGEST, "telemetry", {}, arrival=True)]
    assert definitions.update("prod", "d") == UPDATE
    assert [epoch for epoch in range(9) if definitions.aborted("prod", "d", epoch)] == [6]


def test_the_token(definitions: Definitions) -> None:
    token, envelope = Token.open(stored("token"))
    definitions.check_token(envelope, "prod", token.parameters_end)
    assert (token.kind, token.epoch, Update.decode(token.body)) == ("update", 5, Update(PLAN, [b"a model"]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_is_written_in_the_same_bytes_today(name: str) -> None:
    """A format that grew by an optional field may leave this test, not those above."""
    assert EXAMPLES[name]() == stored(name)


if __name__ == "__main__":
    write_missing(FOLDER, EXAMPLES)
