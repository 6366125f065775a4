"""What the demo shows while it runs, on stderr: counts and the newest anomalies; plain lines where that is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from swapstream.scripts.console import err, say
from swapstream.scripts.tally import Tally

SHOWN = 8
RECENT = 500
EVERY = 5.0


class Sending(Protocol):
    """What is being sent, so far and in all."""

    @property
    def sent(self) -> int: ...

    @property
    def total(self) -> int: ...


class Screen:
    """A context manager: the picture is renewed four times a second until it is left."""

    def __init__(self, tally: Tally, sending: Sending) -> None:
        self._tally, self._sending = tally, sending
        self._live = Live(console=err, get_renderable=self._picture, refresh_per_second=4, transient=True)
        self._printed = time.monotonic()

    def __enter__(self) -> Screen:
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if err.is_terminal:
            self._live.stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        say(text)

    def refresh(self) -> None:
        """Where nothing moves on the screen, a line every few seconds."""
        if not err.is_terminal and time.monotonic() - self._printed > EVERY:
            self._printed = time.monotonic()
            newest = "".join(map(_sentence, self._tally.anomalies[-1:]))
            say(", ".join(f"{name} {count:,}" for name, count in self._counts().items()) + newest)

    def _counts(self) -> dict[str, int]:
        tally = self._tally
        return {
            "sent": self._sending.sent,
            "scored": tally.scored,
            "dead-lettered": tally.dead,
            "anomalies": len(tally.anomalies),
        }

    def _picture(self) -> RenderableType:
        counts = Text("   ").join(Text.assemble((f"{count:,}", "bold"), f" {name}") for name, count in self._counts().items())
        share = self._sending.sent / max(1, self._sending.total)
        return Group(Text.assemble(f"{share:4.0%}  ", counts), newest(self._tally.anomalies))


def newest(anomalies: list[dict[str, Any]]) -> Table:
    """A table of the newest anomaly of each of the devices heard of last; the model's colour changes with the epoch."""
    table = Table("device", "event time", "score", "contributed most", "model", "offset")
    by_device: dict[str, dict[str, Any]] = {}
    for found in reversed(anomalies[-RECENT:]):
        by_device.setdefault(found["device"], found)
    for found in list(by_device.values())[:SHOWN]:
        colour = ("cyan", "magenta")[found["epoch"] % 2]
        table.add_row(
            found["device"],
            found["at"][11:23],
            f"{found['score']:.3g}",
            next(iter(found["contributions"]), ""),
            Text(found["model"], colour),
            f"{found['partition']}:{found['offset']}",
        )
    return table


def _sentence(found: dict[str, Any]) -> str:
    return f"; newest: {found['device']} with {found['score']:.3g} by {found['model']}"
