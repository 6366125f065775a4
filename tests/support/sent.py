"""What shards sent, read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from swapstream.operators.dead_letters import DeadLetter, decode_dead_letter
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import ScoresFrame, decode_scores


def frames(emissions: Iterable[Emission]) -> list[ScoresFrame]:
    """Messages of scores and features."""
    return [decode_scores(one.value) for one in emissions if one.role in ("scores", "features")]


def plans(emissions: Iterable[Emission]) -> list[tuple[str, int, int]]:
    """(plan, epoch, offset) of each scored record."""
    return [(f.provenance.plan, f.provenance.epoch, offset) for f in frames(emissions) for offset in f.column("offsets").tolist()]


def letters(emissions: Iterable[Emission]) -> list[DeadLetter]:
    return [decode_dead_letter(one.value) for one in emissions if one.role == "dead_letters"]


def ledger(emissions: Iterable[Emission]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.value) for one in emissions if one.role == "ledger"]


def events(emissions: Iterable[Emission]) -> list[str]:
    """What the rows of the ledger are about."""
    return [row["event"] for row in ledger(emissions)]
