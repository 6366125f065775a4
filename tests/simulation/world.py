"""A made-up past: the logs of some partitions, `parameters`, and what contracts C1 and C5 say must become of each record."""

from __future__ import annotations

from functools import cache
from random import Random

import msgspec

from swapstream.operators.frame import RawFrame
from tests.support.shards import EWM, Deployable, Parameters, belt, deployable, fan, frame, reading, route, token

DEVICES = ("pump-1", "pump-2", "fan-1", "fan-2")
BAD = (None, b"", b"{", b"\xc0", msgspec.msgpack.encode({"device": "", "time": 1, "values": [1.0, 2.0]}))


OF = {"s:1": "fans"}
FANS = route(type="fans", champion="s:1")
BELTS = route("pump-*", type="belts", champion="b:1", canary="d:1")


@cache
def plans() -> tuple[Deployable, ...]:
    """Plans that differ in models, extractor, state, routes and schema."""
    return (
        deployable("plain", champion="a:1"),
        deployable("smooth", extractor=EWM, champion="b:1", challengers=("c:1", "d:1")),
        deployable("smooth again", extractor=EWM, champion="c:1", threshold=0.5),
        deployable("both", extractor=("identity", *EWM), champion="e:1", canary="f:1"),
        deployable("routed", routes=(route("pump-*", champion="a:2"), route("fan-1", champion="a:1", canary="a:2"))),
        deployable("archive", extractor=EWM),
        deployable("wide", schema="wide", champion="w:1"),
        deployable("typed", schema=("pumps", "fans"), extractor=EWM, of=OF, routes=(FANS,), champion="b:1"),
        deployable("machines", schema=("belts", "fans", "pumps"), extractor=EWM, of=OF, routes=(FANS, BELTS), champion="c:1"),
        deployable("columns", schema="belts", extractor=EWM, champion="b:1", challengers=("c:1",)),
    )


class Entry(msgspec.Struct, frozen=True):
    """A record of a partition. `schema`: which one it fits, and which of its `readings` are good; `swap`: the epoch and plan
    that begin after it."""

    offset: int
    payload: bytes | None
    schema: str = ""
    readings: tuple[bool, ...] = (False,)
    junk: bool = True
    swap: tuple[int, Deployable] | None = None


class World:
    """Everything that was ever written, made from a seed."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.parameters = Parameters()
        self.logs: list[list[Entry]] = [[] for _ in range(rng.randint(1, 3))]
        self.ends = [rng.randint(0, 5) for _ in self.logs]
        self.epoch = 0
        self.first, *rest = rng.sample(plans(), rng.randint(2, len(plans())))
        self.submit_end = self.parameters.publish(self.first)
        self.published, self.unpublished = [self.first], rest
        for _ in range(rng.randint(5, 30)):
            rng.choice((self.telemetry, self.telemetry, self.publish, self.swap, self.nuisance))()

    def telemetry(self) -> None:
        for _ in range(self.rng.randint(1, 12)):
            partition, chance = self.rng.randrange(len(self.logs)), self.rng.random()
            if chance < 0.1:
                self._append(partition, self.rng.choice(BAD))
            elif chance < 0.2:
                self._append(partition, fan(self.rng.choice(DEVICES), self.rng.gauss(0, 2)), "fans", (True,))
            elif chance < 0.35:
                self._append(partition, *self._columns())
            else:
                self._append(partition, reading(self.rng.choice(DEVICES), self._values()), "pumps", (True,))

    def _values(self) -> list[float]:
        return [self.rng.gauss(0, 2), self.rng.gauss(0, 2)]

    def _columns(self) -> tuple[bytes, str, tuple[bool, ...]]:
        """A message of several readings, of one device or of many, now and then with a bad one."""
        good = tuple(self.rng.random() < 0.9 for _ in range(self.rng.randint(1, 6)))
        values = [self._values() if fine else [float("nan"), 1.0] for fine in good]
        devices = self.rng.choices(DEVICES, k=len(good))
        return belt(devices if self.rng.random() < 0.5 else devices[0], values), "belts", good

    def publish(self) -> None:
        if self.unpublished:
            self.published.append(self.unpublished.pop())
            self.parameters.publish(self.published[-1])

    def swap(self) -> None:
        """All tokens and the cut map, as the controller writes them."""
        self.epoch += self.rng.randint(1, 2)
        plan, end = self.rng.choice(self.published), self.parameters.end
        offsets = {
            partition: self._append(
                partition, token(self.epoch, plan.digest, end, partition), junk=False, swap=(self.epoch, plan)
            )
            for partition in range(len(self.logs))
        }
        self.parameters.cut(self.epoch, plan.digest, offsets)

    def nuisance(self) -> None:
        """Tokens that must have no effect, and bytes that are none; bad records of `parameters`."""
        partition, plan = self.rng.randrange(len(self.logs)), self.rng.choice(self.published).digest
        late = self.unpublished[-1].digest if self.unpublished else "0" * 64
        end, far = self.parameters.end, 1_000_000
        junk, payload = self.rng.choice(
            [
                (False, token(self.epoch, plan, end, partition)),
                (False, token(0, plan, far, partition)),
                (False, token(self.epoch + 1, late, end, partition)),
                (False, token(self.epoch + 1, plan, far, partition, deployment="another")),
                (False, token(self.epoch + 1, plan, far, partition, namespace="alice")),
                (False, token(self.epoch + 1, plan, far, partition + 1)),
                (False, token(self.epoch + 1, plan, far, partition, topic="another")),
                (True, token(self.epoch + 1, plan, end, partition)[:-9]),
                (True, b"\xc1"),
            ]
        )
        self._append(partition, payload, junk=junk)
        self.parameters.write(self.rng.choice((None, b"nonsense", b"\xc1\x91")))
        self.parameters.define("cut", "detect:99", b"no cut map")

    def _append(
        self,
        partition: int,
        payload: bytes | None,
        schema: str = "",
        readings: tuple[bool, ...] = (False,),
        junk: bool = True,
        swap: tuple[int, Deployable] | None = None,
    ) -> int:
        """Offsets have holes: transactions leave markers."""
        offset = self.ends[partition]
        self.logs[partition].append(Entry(offset, payload, schema, readings, junk, swap))
        self.ends[partition] = offset + self.rng.choice((1, 1, 1, 2, 5))
        return offset

    def frame(self, partition: int, start: int, size: int) -> RawFrame | None:
        """Up to `size` records from offset `start` on."""
        found = [entry for entry in self.logs[partition] if entry.offset >= start][:size]
        offsets = [entry.offset for entry in found]
        return frame([entry.payload for entry in found], partition=partition, offsets=offsets) if found else None

    def oracle(self) -> dict[tuple[int, int, int | None], tuple[str, int, str]]:
        """(partition, offset, index) → where the reading must end, under which epoch and plan: C1 and C5. What can't be read
        at all has no index."""
        expected: dict[tuple[int, int, int | None], tuple[str, int, str]] = {}
        for partition, log in enumerate(self.logs):
            epoch, plan = 0, self.first
            for entry in log:
                if entry.swap:
                    epoch, plan = entry.swap
                elif entry.schema in [schema.name for schema in plan.schemas]:
                    for index, good in enumerate(entry.readings):
                        end = ("answered", epoch, plan.digest) if good else ("dead", 0, "")
                        expected[partition, entry.offset, index] = end
                elif entry.schema or entry.junk:
                    expected[partition, entry.offset, None] = ("dead", 0, "")
        return expected
