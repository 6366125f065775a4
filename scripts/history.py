"""What a deployment has run: the plan of each epoch, from what `parameters` holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions

How = Literal["submitted", "token", "arrival", "update"]


class Step(msgspec.Struct, frozen=True):
    """An epoch and its plan's digest. `cut` is None for the plan given at submit, which is epoch 0."""

    epoch: int
    plan: str
    how: How
    cut: Cut | None = None


def history(definitions: Definitions, namespace: str, deployment: str, submitted: str | None) -> list[Step]:
    """Every epoch that is known, the first one first; `submitted` is the plan of epoch 0, where it is known.

    Of updates inside tokens only the newest is known: `parameters` keeps no other.
    """
    found = [Step(0, submitted, "submitted")] if submitted else []
    found += steps("token", definitions.cuts(namespace, deployment))
    found += steps("arrival", definitions.arrivals(namespace, deployment))
    update = definitions.update_cut(namespace, deployment)
    found += steps("update", [update] if update else [])
    return sorted(found, key=lambda step: step.epoch)


def steps(how: How, cuts: Iterable[Cut]) -> list[Step]:
    return [Step(cut.epoch, cut.plan, how, cut) for cut in cuts]


def in_force(history: Sequence[Step]) -> Step | None:
    """The step with the highest epoch: what records written from now on are scored by."""
    return history[-1] if history else None


def next_epoch(history: Sequence[Step]) -> int:
    """Above every epoch that is known, and above 0, the submitted plan's."""
    return max((step.epoch for step in history), default=0) + 1


def before(history: Sequence[Step]) -> Step | None:
    """The step that a rollback goes back to, None where nothing came before.

    Going back to a plan forgets what came after it: after a, b and back to a, a rollback goes to what was before a, not to b
    again. So a rollback that is repeated never brings back what was rolled back.
    """
    way: list[Step] = []
    for step in history:
        known = [place for place, earlier in enumerate(way) if earlier.plan == step.plan]
        way = [*way[: known[0]], step] if known else [*way, step]
    return way[-2] if len(way) > 1 else None
