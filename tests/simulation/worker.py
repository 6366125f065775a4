"""What the shards of one Python process share: what it has read of `parameters`, and what it has loaded."""

from __future__ import annotations

from swapstream.models.errors import Unavailable
from swapstream.operators.definitions import Definitions
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.tables import Outline
from tests.simulation.catalogue import pipelines
from tests.simulation.world import Moment, World


class Loading:
    """Stands for Pipelines, whose thread would make a seed run otherwise each time: what is asked for is there when `load` says so, and
    not while its store is `away`."""

    def __init__(self, away: set[str]) -> None:
        self.away = away
        self.asked: set[str] = set()
        self.loaded: set[str] = set()
        self.failed: set[str] = set()

    @property
    def idle(self) -> bool:
        return self.asked <= self.loaded

    def load(self) -> None:
        self.loaded |= self.asked - self.away
        self.failed = self.asked - self.loaded

    def prepare(self, digest: str) -> None:
        self.asked.add(digest)

    def ready(self, digest: str) -> bool:
        self.prepare(digest)
        return digest in self.loaded

    def verdict(self, digest: str) -> str | None:
        if digest in self.loaded:
            return pipelines()[digest].refusal
        return "the store is away" if digest in self.failed else None

    def get(self, digest: str) -> Pipeline:
        if digest not in self.loaded and digest in self.away:
            raise Unavailable(f"the store with plan {digest[:12]}… is away")
        self.loaded.add(digest)
        return pipelines()[digest]

    def outline(self, digest: str) -> Outline:
        return Outline.of(pipelines()[digest])

    def carry(self, update: bytes) -> str:
        """Its models come with it, whatever store is away."""
        found = next(one.digest for one in pipelines().values() if one.plan.encode() in update)
        self.loaded.add(found)
        return found


class Horizon:
    """How far the past has come for jobs that live through it: nobody reads any further."""

    def __init__(self, now: Moment) -> None:
        self.now = now


class Worker:
    """Has read `parameters` up to `definitions.position`, but for the `gone` records, which compaction has removed."""

    def __init__(self, world: World, horizon: Horizon, position: int, away: set[str], gone: frozenset[int]) -> None:
        self.world, self.horizon, self.gone = world, horizon, gone
        self.definitions = Definitions()
        self.pipelines = Loading(away)
        self.read(position)

    def read(self, count: int) -> None:
        first, records = self.definitions.position, self.world.parameters.records
        for offset in range(first, min(self.end, first + count)):
            if offset not in self.gone:
                self.definitions.read(offset, records[offset])

    def read_all(self) -> None:
        self.read(self.end)

    @property
    def end(self) -> int:
        """Of what there is of `parameters`."""
        return min(self.world.parameters.end, self.horizon.now.parameters)
