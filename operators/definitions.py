"""Definitions: the table that every worker builds from the compacted `parameters` topic, and what it takes for true.

A record counts when its namespace trusts who signed it (operators/trust.py) by what lies before it; everything else is refused, and
the table stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from swapstream.models.errors import InvalidDefinition, InvalidToken, UnknownName
from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.envelope import Envelope
from swapstream.operators.extractors.definition import ExtractorDefinition
from swapstream.operators.statement import Kind, Statement, open_definition
from swapstream.operators.trust import KeyMessage, Trust
from swapstream.operators.update import UpdateCut

MAX_TOKEN = 64 * 1024
"""Bytes of what a token says."""
MANY: tuple[Kind, ...] = ("plan", "key", "update")
"""Kinds of which several may share a name: digests, the order of the log or epochs tell them apart."""


class Said(NamedTuple):
    """A statement, and the offset at which it was made."""

    offset: int
    statement: Statement


class Definitions:
    """All definitions read so far. The lowest offset of a name wins; plans are told apart by their digest, updates by their epoch."""

    def __init__(self) -> None:
        self.position = 0
        self._by_digest: dict[tuple[str, Kind, str], Said] = {}
        self._first: dict[tuple[str, Kind, str], Said] = {}
        self._cuts: dict[tuple[str, str], dict[int, tuple[int, Cut]]] = {}  # by deployment: epoch to offset and cut
        self._updates: dict[tuple[str, str], tuple[int, UpdateCut]] = {}
        self.trust = Trust()

    # -- reading the log

    def add(self, offset: int, value: bytes | None) -> Statement | None:
        """Take the record at `offset`; returns what it says, None for a tombstone: what was defined stays so.

        Raises InvalidDefinition for a record that is none, that nobody trusted has signed, or that comes too late for its name;
        `position` moves on either way.
        """
        self.position = max(self.position, offset + 1)
        if value is None:
            return None
        statement, envelope = open_definition(value)
        if statement.kind == "key":
            message = KeyMessage.decode(statement.body)
            _same(statement, message.key)
            self.trust.add(offset, statement.namespace, message, envelope)
        else:
            self.trust.check(envelope, "definition", statement.namespace, offset)
        self._keep(Said(offset, statement))
        return statement

    def read(self, offset: int, value: bytes | None) -> None:
        """Take the record at `offset`, whatever it is: how a reader that reports nothing keeps up."""
        with suppress(InvalidDefinition):
            self.add(offset, value)

    def _keep(self, said: Said) -> None:
        kind = said.statement.kind
        if kind == "update":
            self._keep_update(said)
            return
        cut = _cut_of(said.statement) if kind == "cut" else None
        if kind == "abort":
            abort = Abort.decode(said.statement.body)
            _same(said.statement, abort.name, abort.namespace)
        if kind == "extractor":
            _same(said.statement, ExtractorDefinition.decode(said.statement.body).ref)
        first = self._keep_first(said)
        if cut is not None:
            self._cuts.setdefault((cut.namespace, cut.deployment), {})[cut.epoch] = first.offset, cut

    def _keep_first(self, said: Said) -> Said:
        statement = said.statement
        space, kind, digest = statement.namespace, statement.kind, statement.digest
        lowest(self._by_digest, (space, kind, digest), said)
        first = lowest(self._first, (space, kind, statement.name), said)
        if kind not in MANY and first.statement.digest != digest:
            raise InvalidDefinition(
                f"{kind} {statement.name!r} is defined already with digest {first.statement.digest[:12]}…, "
                f"{digest[:12]}… comes too late"
            )
        return first

    def _keep_update(self, said: Said) -> None:
        update = UpdateCut.decode(said.statement.body)
        cut = update.where
        _same(said.statement, cut.deployment, cut.namespace)
        known = self._updates.get((cut.namespace, cut.deployment))
        if known and known[1].where.epoch > cut.epoch:
            raise InvalidDefinition(f"update {cut.name} comes too late: the last one was {known[1].where.name}")
        self._updates[cut.namespace, cut.deployment] = said.offset, update

    def deployments(self) -> set[tuple[str, str]]:
        """Namespace and name of each that was ever swapped or updated."""
        return self._cuts.keys() | self._updates.keys()

    # -- parts of plans

    def find(self, namespace: str, kind: Kind, name: str) -> Statement | None:
        """The definition that won this name, if any."""
        first = self._first.get((namespace, kind, name))
        return first.statement if first else None

    def statement(self, namespace: str, kind: Kind, digest: str, before: int | None = None) -> Statement | None:
        """What was said with this digest, if it was (at an offset below `before`) and did not come too late for its name."""
        said = self._by_digest.get((namespace, kind, digest))
        if said is None or (before is not None and said.offset >= before):
            return None
        if kind not in MANY and self._first[namespace, kind, said.statement.name].statement.digest != digest:
            return None
        return said.statement

    def body(self, namespace: str, kind: Kind, digest: str, before: int | None = None) -> bytes | None:
        """The body with this digest, as `statement` finds it; None also for what is said by reference."""
        statement = self.statement(namespace, kind, digest, before)
        return None if statement is None or statement.where else statement.body

    def require(self, namespace: str, kind: Kind, digest: str) -> bytes:
        """The body with this digest. Raises UnknownName."""
        body = self.body(namespace, kind, digest)
        if body is None:
            raise UnknownName(f"no {kind} with digest {digest[:12]}… is defined in namespace {namespace!r}")
        return body

    def names(self, namespace: str, kind: Kind) -> Iterable[Statement]:
        """The definitions of a kind that won their names, in no order."""
        return (
            said.statement for (space, what, _), said in self._first.items() if space == namespace and what == kind
        )

    # -- what happened to a deployment

    def cuts(self, namespace: str, deployment: str, before: int | None = None) -> list[Cut]:
        """The cut maps of swaps by tokens that lie below an offset, by epoch. What is called one and is none, or is another's, was
        refused (C7)."""
        known = self._cuts.get((namespace, deployment), {})
        return [cut for _, (offset, cut) in sorted(known.items()) if not cut.arrival and (before is None or offset < before)]

    def arrivals(self, namespace: str, deployment: str, before: int | None = None) -> list[Cut]:
        """The cuts at arrival that lie below an offset, by epoch."""
        known = self._cuts.get((namespace, deployment), {})
        return [cut for _, (offset, cut) in sorted(known.items()) if cut.arrival and (before is None or offset < before)]

    def update(self, namespace: str, deployment: str, before: int | None = None) -> UpdateCut | None:
        """The newest update of a deployment, if it lies below `before`; of older ones nothing is kept."""
        offset, found = self._updates.get((namespace, deployment), (0, None))
        return found if before is None or offset < before else None

    def update_cut(self, namespace: str, deployment: str) -> Cut | None:
        """The cut map of the newest update of a deployment."""
        found = self.update(namespace, deployment)
        return found.where if found else None

    def newest_cuts(self, namespace: str) -> list[Cut]:
        """The cut map with the highest epoch of each deployment in a namespace, in no order."""
        swaps = [cuts[max(cuts)][1] for (space, _), cuts in self._cuts.items() if space == namespace]
        updates = [update.where for (space, _), (_, update) in self._updates.items() if space == namespace]
        found: dict[str, Cut] = {}
        for cut in swaps + updates:
            if cut.deployment not in found or cut.epoch > found[cut.deployment].epoch:
                found[cut.deployment] = cut
        return list(found.values())

    def aborted(self, namespace: str, deployment: str, epoch: int) -> bool:
        """Whether shards that hold at this epoch are to go on without it."""
        return self.find(namespace, "abort", Abort(namespace, deployment, epoch).name) is not None

    # -- trust

    def trusted(self, namespace: str, key: str, before: int | None = None) -> bytes | None:
        """The public bytes of a key that the namespace trusts by what lies below `before`."""
        return self.trust.trusted(namespace, key, before)

    def check_token(self, envelope: Envelope, namespace: str, before: int) -> None:
        """Raises InvalidToken ("signature: …", "size: …") unless a key signed the token that lies trusted below `before`.

        `before` is the token's parameters_end, or that of an accepted token before it in the partition where that is higher: a
        forger could name an offset at which nobody was trusted yet, or at which a key was that has been revoked since.
        """
        if len(envelope.signed) > MAX_TOKEN:
            raise InvalidToken(f"size: {len(envelope.signed)} bytes, at most {MAX_TOKEN}")
        try:
            self.trust.check(envelope, "token", namespace, before)
        except InvalidDefinition as error:
            raise InvalidToken(str(error)) from error


def lowest(table: dict[tuple[str, Kind, str], Said], key: tuple[str, Kind, str], said: Said) -> Said:
    """Keep what was said at the lowest offset under a key, and return it."""
    known = table.get(key)
    if known is None or said.offset < known.offset:
        table[key] = said
    return table[key]


def _cut_of(statement: Statement) -> Cut:
    cut = Cut.decode(statement.body)
    _same(statement, cut.name, cut.namespace)
    return cut


def _same(statement: Statement, name: str, namespace: str | None = None) -> None:
    """Raises InvalidDefinition when a statement calls its body something else than the body does itself."""
    if (statement.name, statement.namespace) != (name, namespace or statement.namespace):
        raise InvalidDefinition(
            f"{statement.kind} {statement.name!r:.110} in namespace {statement.namespace!r:.110} calls itself "
            f"{name!r:.110}, {namespace or statement.namespace!r:.110}"
        )
