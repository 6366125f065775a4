"""What a token means to a shard: decided by the token, by what lies before it in its partition, and by what `parameters` holds below
its `parameters_end`.

What arrived since has no say, so that every shard, at every restart, judges a token the same; while that can't be told yet, the
shard holds. Only an abort does: it releases shards that hold.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from swapstream.models.errors import InvalidToken, SwapstreamError, Unavailable
from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.duty import Duty, meaning_of
from swapstream.operators.envelope import Envelope
from swapstream.operators.lookup import missing
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.token import HANDOVER, KINDS, PREPARE, UPDATE, Token

Action = Literal["dead", "skip", "reject", "hold", "abort", "prepare", "take", "refuse", "retire"]

PATIENCE = 500
"""Calls of the timer, ten seconds: so long a token waits for a key that nobody here knows. A forged one could stop a shard for ever."""


ANY = -1
"""An epoch that every token's is above. Where a shard is handed over both jobs must find the same, and each has an epoch of its own."""


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a record that starts like a token.

    dead: it is none. skip: it is another deployment's or another job's. reject: it has no effect. hold: that can't be told yet. abort:
    it had none while the shard held, and was given up. prepare: it asks for an answer. take: its plan begins, or could. refuse: it could
    not. retire: another job goes on from here.
    """

    action: Action
    token: Token | None = None
    reason: str | None = None


class Standing(msgspec.Struct, frozen=True):
    """Where a shard stands when it meets a token.

    - epoch: tokens up to it have no effect. floor: how far `parameters` was read for the last accepted token, or at the start.
    - plan, duty: in force, and what this job does of the shard.
    - held: the shard has been holding at this very token. patient: a token that nobody known has signed may still wait for its key.
    """

    epoch: int
    floor: int
    held: bool = False
    patient: bool = True
    plan: str = ""
    duty: Duty = "emit"


class Judge:
    """Judges the tokens of one shard. `blocking`: a plan that nobody has loaded yet is loaded while records wait."""

    def __init__(
        self, partition: int, assignment: Assignment, definitions: Definitions, pipelines: Pipelines, blocking: bool = True
    ) -> None:
        self._partition = partition
        self._assignment = assignment
        self._definitions = definitions
        self._pipelines = pipelines
        self._blocking = blocking
        self._ours = (assignment.namespace, assignment.deployment)

    def judge(self, payload: bytes, offset: int, standing: Standing) -> Verdict:
        """The record at `offset`."""
        try:
            token, envelope = Token.open(payload)
        except InvalidToken as error:
            return Verdict("dead", None, str(error))
        if (token.namespace, token.deployment) != self._ours:
            return Verdict("skip", token)
        meaning = meaning_of(token, standing.duty, self._assignment.generation)
        if meaning == "nothing" or (token.kind == PREPARE and (token.epoch, token.plan) == (standing.epoch, standing.plan)):
            return Verdict("skip", token)
        if reason := self._misplaced(token, standing.epoch if meaning == "plain" else ANY):
            return Verdict("reject", token, reason)
        if token.kind == PREPARE:
            return Verdict("prepare", token)
        if meaning == "retire":
            return self._unread(token, envelope, offset, standing) or Verdict("retire", token)
        found = self._effect(token, envelope, offset, standing)
        if meaning == "take over":
            return found
        open_still = found.action == "hold" or (standing.held and found.action == "take")
        if open_still and self._definitions.aborted(*self._ours, token.epoch):
            return Verdict("abort", token, "an abort came while the shard held")
        return found

    def answer(self, payload: bytes, offset: int, standing: Standing) -> Verdict | None:
        """To a prepare token: take, refuse or, when nobody trusted has signed it, reject. None: not known yet."""
        token, envelope = Token.open(payload)
        if reason := self._misplaced(token, standing.epoch):
            return Verdict("refuse", token, reason)
        if self._definitions.aborted(*self._ours, token.epoch):
            return Verdict("refuse", token, f"epoch {token.epoch} was aborted")
        if unread := self._unread(token, envelope, offset, standing):
            return unread if unread.action == "reject" else None
        reason = self._unprepared(token.plan, token.parameters_end)
        if reason is None:
            return None
        return Verdict("refuse", token, reason) if reason else Verdict("take", token)

    def _unprepared(self, plan: str, before: int) -> str | None:
        """Why a plan is not ready to be swapped to, "" if it is, None while that isn't known. Gate verdicts count here, not at a cut."""
        absent = missing(self._definitions, self._assignment.namespace, plan, before)
        if absent:
            return absent
        if self._blocking:
            self.unusable(plan)
        self._pipelines.prepare(plan)
        return self._pipelines.verdict(plan)

    def unusable(self, plan: str, before: int | None = None, update: bytes = b"") -> str | None:
        """Why a plan can't be run, "" if it can, None while that isn't known: a store is away, or the plan is being loaded.

        Only bytes decide, the plan's, its parts' and those of the update that carries it, so that every worker finds the same.
        """
        absent = missing(self._definitions, self._assignment.namespace, plan, before, update)
        if absent:
            return absent
        if update:
            self._pipelines.carry(update)
        elif not (self._blocking or self._pipelines.ready(plan)):
            return None
        try:
            self._pipelines.get(plan)
        except Unavailable:
            return None
        except SwapstreamError as error:
            return str(error)
        return ""

    def in_vain(self, plan: str) -> bool:
        """Whether loading a plan has come to an end, and its models are not here."""
        return bool(self._pipelines.verdict(plan))

    def _effect(self, token: Token, envelope: Envelope, offset: int, standing: Standing) -> Verdict:
        """Of a token that begins a plan."""
        if unread := self._unread(token, envelope, offset, standing):
            return unread
        if token.kind == UPDATE and not token.body:
            return Verdict("reject", token, "the update carries nothing")
        if token.kind == HANDOVER and token.plan == standing.plan:
            return Verdict("take", token)
        reason = self.unusable(token.plan, token.parameters_end, token.body if token.kind == UPDATE else b"")
        if reason is None:
            return Verdict("hold", token, f"plan {token.plan[:12]}… is defined, and its models are not here yet")
        return Verdict("reject", token, reason) if reason else Verdict("take", token)

    def _unread(self, token: Token, envelope: Envelope, offset: int, standing: Standing) -> Verdict | None:
        """Hold while `parameters` is not read far enough to tell who signed it; reject what nobody trusted has signed."""
        before, position = self._before(token, offset, standing.floor), self._definitions.position
        if before > position:
            # Anybody may write this: what a key known by now has signed is waited for, anything else only for a while, and not where
            # an abort of its epoch has come, which must not be taken for an abort of this.
            patient = standing.patient and not self._definitions.aborted(*self._ours, token.epoch)
            forged = None if patient else self._forged(envelope, position)
            return Verdict("reject", token, forged) if forged else Verdict("hold", token, f"parameters is read to {position}")
        forged = self._forged(envelope, before)
        return Verdict("reject", token, forged) if forged else None

    def _before(self, token: Token, offset: int, floor: int) -> int:
        """Below which offset of `parameters` a key must be trusted. A token names that itself; so that a forger can't choose a
        time before the first key, it is not below the shard's floor, but for tokens that a cut map below that vouches for."""
        for cut in self._definitions.cuts(*self._ours, floor):
            if (cut.epoch, cut.plan, cut.offsets.get(self._partition)) == (token.epoch, token.plan, offset):
                return token.parameters_end
        return max(token.parameters_end, floor)

    def _forged(self, envelope: Envelope, before: int) -> str | None:
        try:
            self._definitions.check_token(envelope, self._assignment.namespace, before)
        except InvalidToken as error:
            return str(error)
        return None

    def _misplaced(self, token: Token, epoch: int) -> str | None:
        """Why a token of this deployment has no effect whatever `parameters` holds, None if that must be looked at."""
        if token.kind not in KINDS:
            return f"kind {token.kind!r} is unknown to this release"
        if (token.topic, token.partition) != (self._assignment.topic, self._partition):
            return f"written for {token.topic}-{token.partition}, found in {self._assignment.topic}-{self._partition}"
        if token.epoch <= epoch:
            return f"epoch {token.epoch} is not above {epoch}, the shard's"
        return None
