"""State that a deployment's shards have published, for the shards of a backfill to begin with: in the store, while the backfill runs.

    states/<namespace>.<deployment>/<partition>      of the backfill, and the bytes of a Snapshot
"""

from __future__ import annotations

from collections.abc import Iterable

from swapstream.models.artifact import MAX_BYTES
from swapstream.models.errors import Unavailable
from swapstream.models.folders import folder
from swapstream.operators.assignment import Inherited
from swapstream.operators.snapshots import Published
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment


def leave(environment: Environment, heir: str, state: Published) -> Inherited:
    """Put a shard's state where the heir's jobs look for it; `heir` is its full name. Raises Unavailable."""
    about = state.about
    if about.size > MAX_BYTES:
        raise Unavailable(f"its state has {about.size:,} bytes; allowed are {MAX_BYTES:,}")
    where = f"states/{heir}/{about.partition}"
    folder(environment.store).replace(where, state.state)
    return Inherited(about.digest, about.size, where)


def remove(environment: Environment, states: Iterable[Inherited]) -> None:
    """Nobody needs them any more."""
    for state in states:
        try:
            folder(environment.store).remove(state.where)
        except Unavailable as error:
            say(f"{state.where} stays in the store: {error}")
