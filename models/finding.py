"""A check by name, and what it found: one row of `swapstream check`, one line of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from swapstream.models.errors import Rejected, SwapstreamError


class Finding(msgspec.Struct, frozen=True):
    """What one check found: `value`, and the `limit` it is held against."""

    check: str
    value: str
    limit: str
    ok: bool = True

    def __str__(self) -> str:
        return f"{self.check}: {self.value}; {self.limit}" if self.limit else f"{self.check}: {self.value}"


class Check(NamedTuple):
    """`find` says what it found; it raises an error whose line is `<value>; <limit>` where that is not allowed."""

    name: str
    limit: str
    find: Callable[[], str]


def found(what: str, one: Check) -> Finding:
    """Run a check of `what`, a model. Whatever its library raises is a refusal."""
    try:
        return Finding(one.name, one.find(), one.limit)
    except Exception as error:
        return refusal(what, one, error)


def refusal(what: str, one: Check, error: Exception) -> Finding:
    """An error as a finding. One that names its check (InvalidArtifact.check) knows better than the one that met it."""
    line = " ".join(str(error).split()).removeprefix(f"{what}: ")
    if not isinstance(error, SwapstreamError):
        line = f"{type(error).__name__}: {line}"
    value, _, limit = line.partition("; ")
    return Finding(getattr(error, "check", "") or one.name, value, limit or one.limit, False)


def refuse(what: str, findings: Iterable[Finding]) -> None:
    """Raises Rejected for the first finding that is not ok: `<what>: <check>: <value>; <limit>`."""
    for finding in findings:
        if not finding.ok:
            raise Rejected(f"{what}: {finding}")
