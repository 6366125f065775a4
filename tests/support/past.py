"""A partition that was lived through: telemetry with swaps and bad input, and what a deployment put out of it, however it ran."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import numpy as np

from swapstream.operators.comparison import EXACT, Tolerances
from swapstream.operators.outputs import Emission
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.recorded import Recorded
from swapstream.operators.scores import RoleColumns, ScoresFrame, decode_scores
from swapstream.operators.snapshots import Assembly, Published, decode_part
from swapstream.operators.verification import COMPARED, Span, Verification, Verified
from tests.support.shards import (
    NAMESPACE,
    Deployable,
    Parameters,
    Stored,
    Worker,
    belt,
    fan,
    frame,
    reading,
    token,
)

DEVICES = ("pump-1", "pump-2", "pump-3", "fan-1")


class Past:
    """One partition: its records by offset (with holes), `parameters`, and what came out, in the order in which it did."""

    def __init__(self, *plans: Deployable, seed: int = 0, snapshot_every_ms: int = 40) -> None:
        self.rng = Random(seed)
        self.plans = plans
        self.parameters = Parameters()
        self.parameters.publish(*plans)
        self.submitted = self.parameters.end
        self.log: list[tuple[int, bytes | None]] = []
        self.end = 0
        self.epoch = 0
        self.emissions: list[Emission] = []
        self._settings = {"snapshot_every_ms": snapshot_every_ms}

    # -- what went in

    def append(self, payload: bytes | None) -> int:
        self.log.append((self.end, payload))
        self.end += self.rng.choice((1, 1, 1, 3))
        return self.log[-1][0]

    def readings(self, count: int) -> None:
        for _ in range(count):
            chance, device = self.rng.random(), self.rng.choice(DEVICES)
            values = [self.rng.gauss(0, 2), self.rng.gauss(0, 2)]
            if chance < 0.05:
                self.append(self.rng.choice((None, b"{", b"\xc1")))
            elif chance < 0.1:
                self.append(fan(speed=values[0]))
            elif chance < 0.2:
                self.append(belt([device, device], [values, [float("nan") if chance < 0.12 else 1.0, 2.0]]))
            else:
                self.append(reading(device, values))

    def swap(self, plan: Deployable) -> int:
        """A token and its cut; returns the token's offset."""
        self.epoch += 1
        offset = self.append(token(self.epoch, plan.digest, self.parameters.end))
        self.parameters.cut(self.epoch, plan.digest, {0: offset})
        return offset

    # -- what came out

    def worker(self) -> Worker:
        worker = Worker(self.parameters, self.plans[0].digest, end=self.submitted, **self._settings)
        worker.read()
        return worker

    def live(self, sizes: tuple[int, ...] = (1, 2, 5, 20), crash: float = 0.0, repeats: bool = False, start: int = 0) -> None:
        """Run the records from offset `start` on in frames of any size, now and then crash and go on from a checkpoint.

        What a crash takes back is read again; with `repeats` what it had put out stays (at least once).
        """
        worker, stored = self.worker(), Stored()
        checkpoint = (stored.copy(), self._place(start), len(self.emissions))
        place = checkpoint[1]
        while place < len(self.log):
            size = self.rng.choice(sizes)
            part = self.log[place : place + size]
            self.emissions += worker.shard.on_frame(frame([p for _, p in part], offsets=[o for o, _ in part]))
            stored.write(worker.shard.changes())
            place += len(part)
            if self.rng.random() < 0.3:
                checkpoint = (stored.copy(), place, len(self.emissions))
            if self.rng.random() < crash:
                saved, place, kept = checkpoint
                del self.emissions[kept if not repeats else len(self.emissions) :]
                worker, stored = self.worker(), saved.copy()
                stored.restore(worker.shard)

    def _place(self, offset: int) -> int:
        return next((place for place, (at, _) in enumerate(self.log) if at >= offset), len(self.log))

    @property
    def output(self) -> list[tuple[Any, bytes]]:
        return [(emission.role, emission.value) for emission in self.emissions if emission.role in COMPARED]

    @property
    def snapshots(self) -> list[Published]:
        """Whole ones, by offset, the last of each."""
        assembly = Assembly()
        found = [assembly.add(decode_part(emission.value)) for emission in self.emissions if emission.role == "snapshots"]
        last = {one.about.offset: one for one in found if one}
        return [last[offset] for offset in sorted(last)]

    # -- verifying it

    def verify(
        self,
        output: list[tuple[Any, bytes]] | None = None,
        first: int = 0,
        last: int | None = None,
        *,
        size: int = 7,
        tolerances: Tolerances = lambda model, digest: EXACT,
        **how: Any,
    ) -> Verified:
        """Compare offsets first to last; telemetry comes in frames of `size`."""
        definitions = Recorded()
        self.parameters.read(definitions)
        for one in self.snapshots:
            if one.about.why == "arrival":
                definitions.carry(one)
        pipelines = Pipelines(definitions, NAMESPACE)
        span = Span(first, self.end if last is None else last, how.pop("open", False))
        assignment = msgspec.structs.replace(self.worker().shard.assignment, snapshot_every_ms=0)
        run = Verification(0, assignment, definitions, pipelines, span, tolerances=tolerances, **how)
        waiting = {role: [value for found, value in output or self.output if found == role] for role in COMPARED}
        start = run.first_wanted
        wanted = [(offset, payload) for offset, payload in self.log if start <= offset <= span.last]
        for place in range(0, len(wanted), size):
            part = wanted[place : place + size]
            self._take(run, waiting, part[-1][0])
            run.records(frame([p for _, p in part], offsets=[o for o, _ in part]))
        self._take(run, waiting, 10**15)
        run.settle()
        self._take(run, waiting, 10**15)
        return run.finish()

    @staticmethod
    def _take(run: Verification, waiting: dict[Any, list[bytes]], offset: int) -> None:
        while role := run.behind(offset):
            if waiting[role]:
                run.take(role, waiting[role].pop(0))
            else:
                run.end(role)


def frames(output: list[tuple[Any, bytes]], role: str = "scores") -> list[tuple[int, ScoresFrame]]:
    """The frames of a topic and where they stand in the output."""
    return [(place, decode_scores(value)) for place, (found, value) in enumerate(output) if found == role]


def replaced(output: list[tuple[Any, bytes]], place: int, **changes: Any) -> list[tuple[Any, bytes]]:
    """The output with one frame changed."""
    role, value = output[place]
    made = msgspec.structs.replace(decode_scores(value), **changes).encode()
    return [*output[:place], (role, made), *output[place + 1 :]]


def falsified(role: RoleColumns, rank: int = 2) -> bytes:
    """A role's scores with one bit changed."""
    scores = np.frombuffer(role.scores, "<u8").copy()
    scores[min(rank, len(scores) - 1)] ^= 1
    return scores.tobytes()
