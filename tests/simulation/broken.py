"""Shards that break one contract each: what the simulation must notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swapstream.models.errors import OutOfOrder
from swapstream.operators.frame import RawFrame
from swapstream.operators.judging import Verdict
from swapstream.operators.outputs import Emission
from swapstream.operators.shard import Shard
from swapstream.operators.starting import Beginning
from swapstream.operators.token import FIRST_BYTE


class Late(Shard):
    """Begins each plan one record late (C1)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.coming: Beginning | None = None
        self.in_time = self.scoring.score
        self.scoring.score = self.one_late  # type: ignore[method-assign]

    def one_late(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        if self.coming is None or start == stop:
            return self.in_time(raw, start, stop)
        emissions = self.in_time(raw, start, start + 1)
        super()._begin(self.coming)
        self.coming = None
        return emissions + self.in_time(raw, start + 1, stop)

    def _begin(self, one: Beginning) -> None:
        if self.tables is None:
            super()._begin(one)
        else:
            self.coming = one


class Framed(Shard):
    """Begins a plan with the frame after that in which its token lies (C1)."""

    def on_frame(self, raw: RawFrame) -> list[Emission]:
        tokens = [i for i, payload in enumerate(raw.payloads) if payload and payload[:1] == FIRST_BYTE]
        rest = [i for i in range(len(raw)) if i not in tokens]
        if not len(rest):
            return super().on_frame(raw)
        found = super().on_frame(picked(raw, rest))
        last, self.last = self.last, -1
        found += super().on_frame(picked(raw, tokens)) if tokens else []
        self.last = max(last, self.last)
        return found


class Amnesiac(Shard):
    """Takes up after a restart what an abort had given up (C1)."""

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        super().restore_parts(head, table, held)
        self.aborted = 0


class Misled(Shard):
    """Takes whatever names its deployment, whoever wrote it and for which partition (C1)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.judge._misplaced = lambda token, epoch: "old" if token.epoch <= epoch else None  # type: ignore[method-assign]
        self.judge._forged = lambda envelope, before: None  # type: ignore[method-assign]


class Knowing(Shard):
    """Judges tokens by all that it knows, not by what could be known of them (C1)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        unusable = self.judge.unusable
        self.judge.unusable = lambda plan, before=None, update=b"": unusable(plan, None, update)  # type: ignore[method-assign]


class Guessing(Shard):
    """Goes on under the plan it has instead of holding (C4)."""

    def _judged(self, raw: RawFrame, index: int) -> Verdict:
        verdict = super()._judged(raw, index)
        return msgspec.structs.replace(verdict, action="skip") if verdict.action == "hold" else verdict


class Hasty(Shard):
    """Begins a plan that it has loaded before `parameters` is read far enough (C4)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.judge._unread = lambda *asked: None  # type: ignore[method-assign]


class Stuck(Shard):
    """Never goes on once it holds (C4)."""

    def _go_on(self) -> list[Emission]:
        return []


class Greedy(Shard):
    """Holds without bounds (C4)."""

    def _hold(self, raw: RawFrame) -> list[Emission]:
        try:
            return super()._hold(raw)
        except OutOfOrder:
            return []


class Losing(Shard):
    """Loses a frame that it should hold (C5)."""

    def _hold(self, raw: RawFrame) -> list[Emission]:
        return [] if len(self.holding.frames) > 1 else super()._hold(raw)


class Forgetful(Shard):
    """Loses at a restart what it held (C5)."""

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        super().restore_parts(head, table, [])


class Twice(Shard):
    """Answers the last record before a token twice (C5)."""

    def _act(self, verdict: Verdict, raw: RawFrame, index: int, since: float) -> list[Emission]:
        again = self.scoring.score(raw, index - 1, index) if index and verdict.action == "take" else []
        return [*again, *super()._act(verdict, raw, index, since)]


class Deaf(Shard):
    """Follows nothing at arrival."""

    def _arrive(self, raw: RawFrame) -> list[Emission]:
        return []


class Silent(Shard):
    """Doesn't answer prepare tokens (C3)."""

    def _answer(self) -> list[Emission]:
        self.preparing.pending.clear()
        return []


class Clinging(Shard):
    """Answers on behind the token at which it hands over (C5)."""

    def _act(self, verdict: Verdict, raw: RawFrame, index: int, since: float) -> list[Emission]:
        found = super()._act(verdict, raw, index, since)
        if verdict.action == "retire":
            self.duty = "emit"
        return found


class Eager(Shard):
    """Answers before its token, beside the job that does (C5)."""

    def _entered(self, raw: RawFrame, said: list[Emission]) -> bool:
        entered = super()._entered(raw, said)
        if self.duty == "mute":
            self.duty = "emit"
        return entered


class Mute(Shard):
    """Does not take over at its token (C5)."""

    def _act(self, verdict: Verdict, raw: RawFrame, index: int, since: float) -> list[Emission]:
        duty = self.duty
        found = super()._act(verdict, raw, index, since)
        if duty == "mute":
            self.duty = duty
        return found


class Unlinked(Shard):
    """Knows nothing of what the job before it has answered since it began: there is a gap in the output's chain."""

    def _pass(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        chains = self.scoring.chains
        found = super()._pass(raw, start, stop)
        if self.duty == "mute":
            self.scoring.chains = chains
        return found


def picked(raw: RawFrame, places: list[int]) -> RawFrame:
    """Some of the records of a frame."""
    payloads, keys = ([column[i] for i in places] for column in (raw.payloads, raw.keys))
    return RawFrame(raw.partition, payloads, raw.offsets[places], raw.timestamps[places], keys)


BROKEN = (
    Late, Framed, Amnesiac, Misled, Knowing, Guessing, Hasty, Stuck, Greedy, Losing, Forgetful, Twice, Deaf, Silent, Clinging, Eager, Mute,
    Unlinked,
)  # fmt: skip
