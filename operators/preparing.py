"""Prepare tokens that a shard has yet to answer: whether the plan they name could begin here. No record waits for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from swapstream.operators.judging import Judge, Standing, Verdict
from swapstream.operators.run import Run
from swapstream.operators.shard_state import Pending
from swapstream.operators.token import Token

MAX_PENDING = 4
MAX_BYTES = 4096
"""Of a prepare token: until it is answered it is written down with every frame."""
PATIENCE, GIVE_UP = 100, 3_000
"""Calls of the timer: ten seconds and five minutes, or a fifth of that while the shard holds."""


class Answer(NamedTuple):
    """What a shard says to a prepare token, and the milliseconds that it took."""

    pending: Pending
    verdict: Verdict
    took_ms: float | None


class Preparing:
    """`pending` is what is to be written down."""

    def __init__(self, judge: Judge, run: Run) -> None:
        self._judge, self._run = judge, run
        self.pending: list[Pending] = []
        self._ticks = 0
        self._since: dict[int, tuple[int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self.pending)

    def add(self, one: Pending) -> None:
        self.pending.append(one)
        self._began(one)

    def restore(self, pending: Sequence[Pending]) -> None:
        self.pending = list(pending)

    def tick(self) -> None:
        """A timer has called."""
        self._ticks += 1

    def answers(self, standing: Standing) -> Iterator[Answer]:
        """Those that are known by now, each once."""
        for place, one in enumerate(list(self.pending)):
            ticks, began = self._began(one)
            late = len(self.pending) - place > MAX_PENDING
            verdict = self._verdict(one, self._ticks - ticks, late, standing)
            if verdict is not None:
                self.pending.remove(one)
                del self._since[one.offset]
                yield Answer(one, verdict, self._run.took_ms(began))

    def _verdict(self, one: Pending, age: int, late: bool, standing: Standing) -> Verdict | None:
        if len(one.payload) > MAX_BYTES:
            return refused(one, f"size: {len(one.payload)} bytes, at most {MAX_BYTES}")
        if late:
            return refused(one, f"{MAX_PENDING} later ones wait for an answer as well")
        patient = msgspec.structs.replace(standing, patient=age < PATIENCE)
        verdict = self._judge.answer(one.payload, one.offset, patient)
        return refused(one, "it was not known in time") if verdict is None and age >= GIVE_UP else verdict

    def _began(self, one: Pending) -> tuple[int, float]:
        """At which tick and time this process met it."""
        return self._since.setdefault(one.offset, (self._ticks, self._run.now()))


def refused(one: Pending, reason: str) -> Verdict:
    return Verdict("refuse", Token.decode(one.payload), reason)
