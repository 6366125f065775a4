"""Definitions as one shard met them, for running its records again when all of `parameters` is known already."""

from __future__ import annotations

from collections.abc import Iterable

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.shard_state import Head, Snapshot
from swapstream.operators.snapshots import Published, SnapshotPart
from swapstream.operators.update import UpdateCut
from swapstream.operators.wire import read


def beginnings(snapshots: Iterable[SnapshotPart]) -> dict[int, int]:
    """The first offset of each epoch of which snapshots of one partition tell."""
    return {about.epoch: about.offset + 1 for about in snapshots if about.why in ("cut", "arrival")}


class Recorded(Definitions):
    """What takes effect at arrival does so from when its epoch is in `arrived`; an abort counts unless its epoch is in `begun`.

    Whoever runs the records fills both from what the shard has put out. Of updates at arrival `parameters` keeps the last one only:
    those that snapshots carry are added by `carry`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._carried: dict[tuple[str, str], dict[int, UpdateCut]] = {}
        self.begin()

    def begin(self) -> None:
        """Another shard: nothing has arrived, nothing has begun."""
        self.arrived: set[int] = set()
        self.begun: set[int] = set()

    def carry(self, snapshot: Published) -> None:
        """The update at arrival that a snapshot holds. Raises InvalidDefinition when it holds none."""
        about = snapshot.about
        state = read(snapshot.state, Snapshot, InvalidDefinition, "a shard's snapshot")
        head = read(state.head, Head, InvalidDefinition, "a shard's state")
        cut = Cut(about.namespace, about.deployment, about.epoch, about.plan, about.topic, {}, arrival=True)
        update = UpdateCut.decode(UpdateCut(cut.encode(), head.carried).encode())
        self._carried.setdefault((cut.namespace, cut.deployment), {})[cut.epoch] = update

    def at_arrival(self, namespace: str, deployment: str) -> set[int]:
        """Every epoch of a deployment that began, or is to begin, at arrival."""
        cuts = super().arrivals(namespace, deployment)
        return {cut.epoch for cut in cuts} | self._updates_at_arrival(namespace, deployment).keys()

    def arrivals(self, namespace: str, deployment: str, before: int | None = None) -> list[Cut]:
        return [cut for cut in super().arrivals(namespace, deployment, before) if cut.epoch in self.arrived]

    def update(self, namespace: str, deployment: str, before: int | None = None) -> UpdateCut | None:
        known = self._updates_at_arrival(namespace, deployment)
        newest = max(known.keys() & self.arrived, default=None)
        if newest is not None:
            return known[newest]
        found = super().update(namespace, deployment, before)
        return None if found is None or found.where.arrival else found

    def aborted(self, namespace: str, deployment: str, epoch: int) -> bool:
        return epoch not in self.begun and super().aborted(namespace, deployment, epoch)

    def _updates_at_arrival(self, namespace: str, deployment: str) -> dict[int, UpdateCut]:
        known = self._carried.get((namespace, deployment), {})
        last = super().update(namespace, deployment)
        return known | {last.where.epoch: last} if last and last.where.arrival else known
