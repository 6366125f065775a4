"""The execution that a shard lives in: what its ledger rows tell of it. Nothing that becomes of a record depends on it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Run(msgspec.Struct, frozen=True):
    """Of one worker.

    - job, attempt: which job, and how often its task was started before. clock: seconds, from anywhere on; without it nothing is timed.
    - blocking: at a token whose plan nobody has loaded yet it is loaded while the worker's records wait; without, the shard holds
      meanwhile, and the others go on.
    """

    job: str | None = None
    attempt: int | None = None
    clock: Callable[[], float] | None = None
    blocking: bool = True

    def now(self) -> float:
        return self.clock() if self.clock else 0.0

    def took_ms(self, since: float) -> float | None:
        """Milliseconds since `now` was `since`, None where nothing is timed."""
        return round(1000 * (self.clock() - since), 3) if self.clock else None
