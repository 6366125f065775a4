"""Two jobs of a deployment, one partition of both: what each takes, sends, and keeps as Flink would."""

from __future__ import annotations

from typing import Any

from swapstream.operators.assignment import Upgrade
from swapstream.operators.chaining import Chaining, Gap
from swapstream.operators.frame import RawFrame
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import decode_scores
from tests.support.shards import Parameters, Stored, Worker, token

BLUE, GREEN = 1, 2


class Job:
    """One partition of one job. `out` is all that it sent, `state` what is kept of it; `read`: it has read `parameters` to there."""

    def __init__(
        self, parameters: Parameters, plan: str, generation: int, state: Stored | None = None, read: int | None = None, **assigned: Any
    ) -> None:
        self._told: dict[str, Any] = {"plan": plan, "generation": generation, "partitions": 1, **assigned}
        self.parameters = parameters
        self.worker = Worker(parameters, **{"end": parameters.end, **self._told})
        self.out: list[Emission] = []
        self.state = state.copy() if state else Stored()
        parameters.read(self.worker.definitions, read)
        self.state.restore(self.worker.shard)

    @property
    def shard(self) -> Any:
        return self.worker.shard

    def take(self, raw: RawFrame) -> list[Emission]:
        return self._sent(self.shard.on_frame(raw))

    def read(self) -> list[Emission]:
        """The rest of `parameters`; the timer calls."""
        self.parameters.read(self.worker.definitions)
        return self._sent(self.shard.on_timer())

    def restarted(self, state: Stored | None = None, **changed: Any) -> Job:
        """The same job, from a checkpoint of its own, or from another state."""
        return Job(self.parameters, state=state or self.state, **{**self._told, **changed})

    def _sent(self, emissions: list[Emission]) -> list[Emission]:
        self.state.write(self.shard.changes())
        self.out += emissions
        return emissions


def green_of(blue: Job, plan: str, epoch: int = 1, state: Stored | None = None, **changed: Any) -> Job:
    """A job that is to take over, from a savepoint of another that goes on."""
    end = blue.parameters.end
    told = {"generation": GREEN, "end": end, "upgrade": Upgrade("handover", plan, epoch)}
    return blue.restarted(state or blue.state.copy(), **{**told, **changed})


def handover(plan: str, parameters_end: int, epoch: int = 1, **changes: Any) -> bytes:
    """The token with which GREEN follows BLUE."""
    return token(epoch, plan, parameters_end, **{"kind": "handover", "generation": GREEN, "predecessor": BLUE, **changes})


def answered(*jobs: list[Emission]) -> list[tuple[int, str, int]]:
    """(offset, plan, epoch) of each record in the log's order, from all that the jobs sent to `scores`. Fails where a record is there
    twice, or the chain of `prev` has a gap."""
    chain, found = Chaining(whole=True), []
    for emissions in jobs:
        for emission in emissions:
            if emission.role == "scores":
                found += chain.take(decode_scores(emission.value))
    found += chain.give_up()
    assert not [one for one in found if isinstance(one, Gap)], found
    assert chain.repeats == 0
    frames = [one for one in found if not isinstance(one, Gap)]
    return [(offset, f.provenance.plan, f.provenance.epoch) for f in frames for offset in f.column("offsets").tolist()]
