"""What a controller writes: tokens, and the definitions and ledger rows that go with them in the same transaction. Pure."""

from __future__ import annotations

from typing import NamedTuple

from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.statement import Kind, encode_definition
from swapstream.operators.token import Token
from swapstream.operators.update import UpdateCut
from swapstream.scripts.publish import Author


class Definition(NamedTuple):
    """A record of `parameters`."""

    key: bytes
    value: bytes


class Speaker(NamedTuple):
    """Who writes, with the key that signs it, and when (ms)."""

    author: Author
    when: int

    def token(self, kind: str, cut: Cut, partition: int, parameters_end: int, body: bytes = b"") -> bytes:
        """A partition's token of a cut."""
        return Token(
            kind,
            cut.namespace,
            cut.deployment,
            cut.epoch,
            cut.plan,
            cut.topic,
            partition,
            parameters_end,
            self.author.who,
            self.when,
            self.author.why,
            body,
            cut.successor,
            cut.predecessor,
        ).encode(self.author.signer)

    def cut(self, cut: Cut) -> Definition:
        """The cut map."""
        return self._definition("cut", cut.namespace, cut.name, cut.encode())

    def update(self, cut: Cut, update: bytes) -> Definition:
        """The cut map of an update, with the update: it takes the place of the deployment's last one."""
        return self._definition("update", cut.namespace, cut.deployment, UpdateCut(cut.encode(), update).encode())

    def abort(self, abort: Abort) -> Definition:
        return self._definition("abort", abort.namespace, abort.name, abort.encode())

    def row(self, writer: LedgerWriter, event: str, cut: Cut, plan_name: str | None, reason: str | None = None) -> bytes:
        """What the controller says on the ledger of a cut."""
        said = LedgerRow(
            f"{cut.namespace}/{cut.deployment}/{event}/{cut.epoch}/{cut.plan[:12]}/{self.when}",
            cut.namespace,
            cut.deployment,
            event,
            "",
            self.when,
            topic=cut.topic,
            epoch=cut.epoch,
            plan=cut.plan,
            plan_name=plan_name,
            who=self.author.who,
            reason=reason or self.author.why or None,
            generation=cut.successor,
        )
        return writer.write(said)

    def _definition(self, kind: Kind, namespace: str, name: str, body: bytes) -> Definition:
        key, value = encode_definition(
            kind, namespace, name, body, self.author.who, self.when, self.author.why, self.author.signer
        )
        return Definition(key.encode(), value)
