"""What `swapstream doctor` says of one thing."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """`state`: ok; advice, when it works and could be better; wrong; unknown, when it could not be asked. `fix`: what to do."""

    check: str
    state: Literal["ok", "advice", "wrong", "unknown"]
    says: str
    fix: str = ""


def ok(check: str, says: str) -> Finding:
    return Finding(check, "ok", says)


def advice(check: str, says: str, fix: str) -> Finding:
    return Finding(check, "advice", says, fix)


def wrong(check: str, says: str, fix: str) -> Finding:
    return Finding(check, "wrong", says, fix)


def unknown(check: str, says: str, fix: str = "") -> Finding:
    return Finding(check, "unknown", says, fix)
