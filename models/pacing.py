"""Work beside a hot path, with which it shares processors and the interpreter: it rests, the longer the busier the machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

MOST = 50.0
"""Times as long as it has worked: a fiftieth of a processor at full load."""
LONGEST = 5.0
"""Seconds of one rest: a model that takes long must not keep those behind it for minutes."""
LONG_ENOUGH = 20
"""Ticks of all processors (10 ms each) from which on they tell how busy the machine is."""
STAT = Path("/proc/stat")


class Pace:
    """Rests that leave others their share; none while `hurry` is set, since then somebody waits for the work."""

    def __init__(self, hurry: threading.Event) -> None:
        self._hurry = hurry
        self._ticks, self._busy = processor_ticks(), 0.5
        self._worked = time.thread_time()

    def rest(self) -> None:
        """To be called by the working thread: rests in proportion to the processor time since the call before."""
        worked = time.thread_time() - self._worked
        self._hurry.wait(min(LONGEST, worked * self._times()))
        self._worked = time.thread_time()

    def _times(self) -> float:
        """How many times as long as it worked: as in a queue, b / (1 - b) of a machine that is busy for the share b."""
        ticks = processor_ticks()
        total, idle = ticks[0] - self._ticks[0], ticks[1] - self._ticks[1]
        if total >= LONG_ENOUGH:
            self._ticks, self._busy = ticks, 1 - idle / total
        return min(MOST, self._busy / max(1 - self._busy, 1e-9))


_pace: ContextVar[Pace | None] = ContextVar("pace", default=None)


@contextmanager
def paced(pace: Pace) -> Iterator[None]:
    """Within it `rest` rests, on this thread."""
    before = _pace.set(pace)
    try:
        yield
    finally:
        _pace.reset(before)


def rest() -> None:
    """Between two steps of work that may be done beside a hot path; nothing where it is not."""
    pace = _pace.get()
    if pace is not None:
        pace.rest()


def processor_ticks() -> tuple[int, int]:
    """Ticks of all processors since the machine started, and how many of them were idle. Zeros where that can't be known."""
    try:
        ticks = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return sum(ticks), ticks[3] + ticks[4]
