"""The steps of an upgrade as they are done: each is told on stderr with its seconds, and all of them at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from swapstream.scripts.console import err, say, show


class Step(msgspec.Struct):
    """What was done, how long it took, and what came of it."""

    step: str
    seconds: float = 0.0
    result: str = ""


class Steps:
    """Those of one command."""

    def __init__(self, whose: str) -> None:
        self.whose, self.done = whose, list[Step]()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Do a step inside; its `result` can be set there. One that fails is told as well."""
        step, began = Step(name), time.monotonic()
        self.done.append(step)
        try:
            with err.status(f"{self.whose}: {name}"):
                yield step
        except BaseException:
            step.result = "failed"
            raise
        finally:
            step.seconds = round(time.monotonic() - began, 3)
            say(f"{self.whose}: {name}{f': {step.result}' if step.result else ''} ({step.seconds:.1f} s)")

    def show(self, as_json: bool, **told: Any) -> None:
        """All on stdout: a table of the steps, and of the rows that are `told`; or one object with all that is told and them."""
        if as_json:
            click.echo(json.dumps({"deployment": self.whose, **told, "seconds": round(self.seconds, 3),
                                   "steps": [msgspec.structs.asdict(step) for step in self.done]}, default=str))  # fmt: skip
            return
        show([msgspec.structs.asdict(step) for step in self.done], ["step", "seconds", "result"], False, self.whose)
        for name, rows in told.items():
            if isinstance(rows, list) and rows:
                show(rows, list(rows[0]), False, name)
