"""What a shard holds back: frames that wait for what `parameters` has yet to bring, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from swapstream.operators.frame import RawFrame
from swapstream.operators.shard_state import decode_raw, encode_raw


class Holding:
    """Held frames, their `size` in bytes of payload, and which of them are not written down yet.

    `token`: the offset of the first held record, if that is a token which could not be judged; the shard has been holding there
    `since` a time of its run's, through `ticks` calls of its timer. None of that is written down.
    """

    def __init__(self) -> None:
        self.frames: deque[RawFrame] = deque()
        self.size = 0
        self.token: int | None = None
        self.since = 0.0
        self.ticks = 0
        self._new: list[bytes] = []
        self._rewritten = False

    def __bool__(self) -> bool:
        return bool(self.frames)

    def add(self, raw: RawFrame) -> None:
        """Behind all others."""
        self.frames.append(raw)
        self.size += bytes_of(raw)
        self._new.append(encode_raw(raw))

    def stop_at(self, raw: RawFrame, now: float) -> None:
        """Before all others: the rest of a frame that went on up to a token, at which the shard holds from now on."""
        self.frames.appendleft(raw)
        self.size += bytes_of(raw)
        self._rewritten = True
        self._at_token(now)

    def take(self) -> RawFrame:
        """The oldest, which is held no longer."""
        raw = self.frames.popleft()
        self.size -= bytes_of(raw)
        self._rewritten = True
        self.token = None
        return raw

    def encoded(self) -> list[bytes]:
        """All of them as versioned bytes."""
        return [encode_raw(raw) for raw in self.frames]

    def changes(self, everything: bool = False) -> tuple[list[bytes], bool]:
        """What is to be written since the call before: frames to be added, or with True to replace all that are there."""
        whole = self._rewritten or everything
        found = self.encoded() if whole else self._new
        self._new, self._rewritten = [], False
        return found, whole

    def restore(self, held: Sequence[bytes], running: bool, now: float) -> None:
        """Take over what was written; a shard that is running holds at nothing but a token. Raises InvalidDefinition."""
        self.frames = deque(map(decode_raw, held))
        self.size = sum(map(bytes_of, self.frames))
        if self.frames and running:
            self._at_token(now)

    def _at_token(self, now: float) -> None:
        self.token, self.since, self.ticks = int(self.frames[0].offsets[0]), now, 0


def bytes_of(raw: RawFrame) -> int:
    return sum(len(payload or b"") for payload in raw.payloads)
