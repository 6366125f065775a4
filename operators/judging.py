"""What a token means to a shard: decided by the token and by what `parameters` holds below its `parameters_end`.

What arrived since has no say, so that every shard, at every restart, judges a token the same.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from swapstream.models.errors import InvalidToken, SwapstreamError
from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.pipelines import Pipelines, missing
from swapstream.operators.token import SWAP, Token


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a record that starts like a token.

    dead: it is none. skip: it is another deployment's. reject: it has no effect. hold: that can't be told yet. take: its plan begins.
    """

    action: Literal["dead", "skip", "reject", "hold", "take"]
    token: Token | None = None
    reason: str | None = None


class Judge:
    """Judges the tokens of one shard."""

    def __init__(self, partition: int, assignment: Assignment, definitions: Definitions, pipelines: Pipelines) -> None:
        self._partition = partition
        self._assignment = assignment
        self._definitions = definitions
        self._pipelines = pipelines

    def judge(self, payload: bytes, epoch: int) -> Verdict:
        """For a shard in `epoch`."""
        try:
            token = Token.decode(payload)
        except InvalidToken as error:
            return Verdict("dead", None, str(error))
        if (token.namespace, token.deployment) != (self._assignment.namespace, self._assignment.deployment):
            return Verdict("skip", token)
        if reason := self._misplaced(token, epoch):
            return Verdict("reject", token, reason)
        if token.parameters_end > self._definitions.position:
            return Verdict("hold", token, f"parameters is read to {self._definitions.position}")
        if reason := self.unusable(token.plan, token.parameters_end):
            return Verdict("reject", token, reason)
        return Verdict("take", token)

    def unusable(self, plan: str, before: int | None = None) -> str | None:
        """Why a plan can't be run, None if it can. Only its bytes decide, so that every worker finds the same."""
        absent = missing(self._definitions, self._assignment.namespace, plan, before)
        if absent:
            return absent
        try:
            self._pipelines.get(plan)
        except SwapstreamError as error:
            return str(error)
        return None

    def _misplaced(self, token: Token, epoch: int) -> str | None:
        """Why a token of this deployment has no effect whatever `parameters` holds, None if that must be looked at."""
        if token.kind != SWAP:
            return f"kind {token.kind!r} is unknown to this release"
        if (token.topic, token.partition) != (self._assignment.topic, self._partition):
            return f"written for {token.topic}-{token.partition}, found in {self._assignment.topic}-{self._partition}"
        if token.epoch <= epoch:
            return f"epoch {token.epoch} is not above {epoch}, the shard's"
        return None
