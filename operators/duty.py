"""Duties: of the jobs that carry a shard, who answers for its records.

    emit ──(handover token that names this job as predecessor)──> retired
    mute ──(handover token that names this job as its generation)──> emit
"""

from __future__ import annotations

from typing import Literal

from swapstream.operators.token import HANDOVER, PREPARE, Token

Duty = Literal["emit", "mute", "retired"]
"""emit: answers. mute: builds its state on the same records, and sends nothing but what the ledger is to know. retired: does nothing."""

Meaning = Literal["nothing", "plain", "retire", "take over"]


def meaning_of(token: Token, duty: Duty, generation: int) -> Meaning:
    """What a token of its deployment asks of a shard of this job, if it is found good; plain: what it asks of every job.

    To a job that answers already, or again, over an old log, others' handovers are swaps.
    """
    if duty == "retired":
        return "nothing"
    if token.kind == PREPARE:
        asked = (generation,) if duty == "mute" else (0, generation)
        return "plain" if token.generation in asked else "nothing"
    if duty == "mute":
        return "take over" if token.kind == HANDOVER and token.generation == generation else "nothing"
    return "retire" if token.kind == HANDOVER and token.predecessor == generation else "plain"
