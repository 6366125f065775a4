"""Updates inside tokens, and what `parameters` keeps of them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.statement import Statement, digest_of, encode_definition
from swapstream.operators.update import MAX_UPDATE, Update, UpdateCut
from tests.support.shards import DEPLOYMENT, NAMESPACE, TOPIC


def update(epoch: int, plan: bytes = b"plan", **changes: Any) -> UpdateCut:
    cut = Cut(NAMESPACE, DEPLOYMENT, epoch, hashlib.sha256(plan).hexdigest(), TOPIC, {0: 10 * epoch})
    return UpdateCut(msgspec.structs.replace(cut, **changes).encode(), Update(plan, [b"a model"]).encode())


def said(made: UpdateCut, name: str = DEPLOYMENT) -> bytes:
    return encode_definition("update", NAMESPACE, name, made.encode(), "a person", 1, "")[1]


def test_it_is_read_back() -> None:
    made = update(3)
    assert UpdateCut.decode(made.encode()) == made
    assert made.where.covers(0, 31)
    assert Update.decode(made.update) == Update(b"plan", [b"a model"])


def test_its_key_is_the_deployments_so_that_compaction_keeps_one() -> None:
    body = update(3).encode()
    assert encode_definition("update", NAMESPACE, DEPLOYMENT, body, "a", 1, "")[0] == "prod/update/detect"
    assert Statement("update", "p", "d", digest_of(body), "a", 1, "", body).key == "p/update/d"


def test_the_newest_epoch_is_kept_and_nothing_else() -> None:
    definitions = Definitions()
    for offset, epoch in enumerate((1, 3)):
        definitions.add(offset, said(update(epoch)))
    with pytest.raises(InvalidDefinition, match="comes too late: the last one was detect:3"):
        definitions.add(2, said(update(2)))
    found = definitions.update_cut(NAMESPACE, DEPLOYMENT)
    assert found is not None
    assert (found.epoch, found.offsets) == (3, {0: 30})
    assert definitions.update(NAMESPACE, DEPLOYMENT, before=1) is None
    assert definitions.update(NAMESPACE, DEPLOYMENT, before=2) == update(3)
    assert definitions.update(NAMESPACE, "another") is None
    assert list(definitions.names(NAMESPACE, "update")) == []


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (UpdateCut(b"\x80", b""), "not a cut map"),
        (UpdateCut(update(3).cut, b"\xc1"), "not an update"),
        (UpdateCut(update(3).cut, b"x" * (MAX_UPDATE + 1)), f"size: {MAX_UPDATE + 1} bytes, at most {MAX_UPDATE}"),
        (UpdateCut(update(3).cut, Update(b"another", []).encode()), "the plan's sha256 is not"),
        (msgspec.structs.replace(update(3), v=2), "version 2"),
        (update(3, deployment="another"), "calls itself 'another'"),
        (update(3, namespace="alice"), "calls itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_update_is_refused(made: UpdateCut, line: str) -> None:
    with pytest.raises(InvalidDefinition, match=line):
        Definitions().add(0, said(made))


def test_one_that_just_fits_is_taken() -> None:
    Definitions().add(0, said(update(3, plan=b"x" * (MAX_UPDATE - 100))))


def test_one_too_large_for_a_token_is_not_made() -> None:
    with pytest.raises(InvalidDefinition, match=rf"size: \d+ bytes, at most {MAX_UPDATE}"):
        Update(b"x" * MAX_UPDATE, []).encode()
