"""A process of Python's own beside the benchmark, so that neither makes the other late."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any, Self

SPAWNED = multiprocessing.get_context("spawn")
"""Kafka's clients have threads, which a fork would not take along."""


class Beside:
    """Runs `work(*arguments)`. A context manager; leaving it ends the process."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.process = SPAWNED.Process(target=work, args=arguments)

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()
