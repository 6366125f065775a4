"""A made-up past: telemetry of some partitions, `parameters`, and what controllers and others wrote to both, in order."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.frame import RawFrame
from swapstream.operators.signing import Signer
from swapstream.operators.update import UpdateCut
from tests.simulation.catalogue import DEVICES, alike, plans, update_of
from tests.support.shards import NAMESPACE, TOPIC, Deployable, Parameters, belt, fan, frame, reading, token

BAD = (None, b"", b"{", b"\xc0", msgspec.msgpack.encode({"device": "", "time": 1, "values": [1.0, 2.0]}))
NAMES = ("detect", "second")
ANN, BOB, EVE = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
FAR = 1_000_000
CALM, HANDING, CHANCES = 0.3, 0.25, (30, 12, 13, 5, 5, 4, 4, 6, 14, 2, 10)


class Begin(msgspec.Struct, frozen=True):
    """A plan that a controller began. `at`: where its cut lies on `parameters`; `end`: how far that must be read to judge it; `offsets` of
    its tokens by partition, None at arrival; `carried`: it is an update."""

    epoch: int
    plan: Deployable
    at: int
    end: int
    offsets: dict[int, int] | None
    carried: bool = False


class Moment(msgspec.Struct, frozen=True):
    """How far everything was written at some time: the end of each partition, and of `parameters`."""

    ends: tuple[int, ...]
    parameters: int


class Handover(msgspec.Struct, frozen=True):
    """A job (`generation`) that was started beside the one that answers, to go on under a plan from `epoch` on. `asked`: when that was;
    `ready`: before its tokens were written, or it was `given_up`."""

    generation: int
    epoch: int
    plan: Deployable
    asked: Moment
    ready: Moment
    given_up: bool


class Entry(msgspec.Struct, frozen=True):
    """A record of a partition, written when `parameters` ended at `written`.

    `schema`: which one it fits, with `readings`, the device of each and whether it is good. `junk`: it is nothing at all. Otherwise
    it is a token, of no effect unless `begins` (by deployment the epoch that it begins) or `asks` (a deployment, or nobody) says so.
    """

    offset: int
    payload: bytes | None
    written: int
    schema: str = ""
    readings: tuple[tuple[str, bool], ...] = ()
    junk: bool = False
    begins: dict[str, int] = {}
    asks: str = ""


class Deployment:
    """What its controllers did, by epoch; `aborts`: where on `parameters`; `forged`: there are tokens that are waited for in vain;
    `generation`: of the job that answers in the end."""

    def __init__(self, name: str, first: Deployable) -> None:
        self.name, self.first = name, first
        self.epoch = 0
        self.begun: dict[int, Begin] = {}
        self.aborts: dict[int, int] = {}
        self.forged = False
        self.handovers: list[Handover] = []
        self.generation = 1

    @property
    def settled_by_logs(self) -> bool:
        """Whether nothing depends on when a shard sees what."""
        return not self.aborts and all(one.offsets is not None and not one.carried for one in self.begun.values())


class World:
    """Everything that was ever written, made from a seed. `referred`: plans whose models lie in a store; `revoked`: where on
    `parameters` the first key was, if it was."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.signed, self.calm, self.handing = rng.random() < 0.5, rng.random() < CALM, rng.random() < HANDING
        self.plans = alike() if self.handing else plans()
        self.parameters = Parameters(ANN if self.signed else None)
        self.logs: list[list[Entry]] = [[] for _ in range(rng.choice((1, 2, 2, 3)))]
        self.ends = [rng.randint(0, 5) for _ in self.logs]
        self.unpublished = rng.sample(self.plans, rng.randint(2, 5))
        self.published: list[Deployable] = []
        self.referred: set[str] = set()
        self.revoked = FAR
        self.publish()
        names = NAMES[: rng.choice((1, 1, 2))]
        self.deployments = [Deployment(name, rng.choice(self.published)) for name in names]
        self.submit_end = self.parameters.end
        acts = (self.telemetry, self.publish, self.swap, self.prepare, self.update, self.arrive, self.arrive_update, self.abort,
                self.nuisance, self.rotate, self.hand_over)  # fmt: skip
        quiet = (self.update, self.arrive, self.arrive_update, self.abort) if self.calm else ()
        never = quiet if self.handing else (*quiet, self.hand_over)
        chances = [0 if act in never else chance for act, chance in zip(acts, CHANCES, strict=True)]
        for act in rng.choices(acts, chances, k=rng.randint(6, 22)):
            act()

    # -- telemetry

    def telemetry(self) -> None:
        for _ in range(self.rng.randint(1, 8)):
            partition, chance, device = self.rng.randrange(len(self.logs)), self.rng.random(), self.rng.choice(DEVICES)
            if chance < 0.1:
                self._append(partition, self.rng.choice(BAD), junk=True)
            elif chance < 0.2:
                self._append(partition, fan(device, self.rng.gauss(0, 2)), schema="fans", readings=((device, True),))
            elif chance < 0.3:
                self._columns(partition)
            else:
                self._append(partition, reading(device, self._values()), schema="pumps", readings=((device, True),))

    def _values(self) -> list[float]:
        return [self.rng.gauss(0, 2), self.rng.gauss(0, 2)]

    def _columns(self, partition: int) -> None:
        """A message of several readings, now and then with a bad one."""
        good = [self.rng.random() < 0.9 for _ in range(self.rng.randint(1, 4))]
        devices = self.rng.choices(DEVICES, k=len(good))
        payload = belt(devices, [self._values() if fine else [float("nan"), 1.0] for fine in good])
        self._append(partition, payload, schema="belts", readings=tuple(zip(devices, good, strict=True)))

    # -- controllers

    def publish(self) -> None:
        if self.unpublished:
            one = self.unpublished.pop()
            self.published.append(one)
            if self.published[1:] and self.rng.random() < 0.3:
                self.referred.add(one.digest)
                self.parameters.refer(one)
            else:
                self.parameters.publish(one)

    def swap(self) -> None:
        """All tokens and the cut map; sometimes the controller does it twice."""
        whose, plan, end = self._next()
        offsets = self._tokens(whose, plan, end)
        cut = self._cut(whose, plan, offsets)
        at = self.parameters.define("cut", cut.name, cut.encode())
        whose.begun[whose.epoch] = Begin(whose.epoch, plan, at, end, offsets)
        chance = self.rng.random()
        if chance < 0.15:
            self._tokens(whose, plan, end, effect=False)
        elif chance < 0.45 and not self.calm:
            self._abort(whose)

    def update(self) -> None:
        """The same of a plan that need not be defined: the tokens carry it. Its schema has to be."""
        whose, plan, end = self._next(update=True)
        body = update_of(plan.digest)
        offsets = self._tokens(whose, plan, end, kind="update", body=body)
        at = self._update_cut(self._cut(whose, plan, offsets), body)
        whose.begun[whose.epoch] = Begin(whose.epoch, plan, at, end, offsets, carried=True)

    def arrive(self) -> None:
        whose, plan, end = self._next()
        cut = self._cut(whose, plan)
        at = self.parameters.define("cut", cut.name, cut.encode())
        whose.begun[whose.epoch] = Begin(whose.epoch, plan, at, end, None)

    def arrive_update(self) -> None:
        whose, plan, end = self._next(update=True)
        at = self._update_cut(self._cut(whose, plan), update_of(plan.digest))
        whose.begun[whose.epoch] = Begin(whose.epoch, plan, at, end, None, carried=True)

    def hand_over(self) -> None:
        """A job is started beside the one that answers, which nobody gives another plan meanwhile; it takes over, or is given up."""
        whose, plan, asked = self.rng.choice(self.deployments), self.rng.choice(self.published), self.now
        epoch = whose.epoch + self.rng.randint(1, 2)
        for act in self.rng.choices((self.telemetry, self.publish, self.nuisance), k=self.rng.randint(0, 3)):
            act()
        said = self._handing(whose)
        for partition in range(len(self.logs)):
            asking = self._token(whose, epoch, plan.digest, partition, kind="prepare", generation=said["generation"])
            self._append(partition, asking, asks="nobody")
        given_up = self.rng.random() < 0.3
        whose.handovers.append(Handover(said["generation"], epoch, plan, asked, self.now, given_up))
        if not given_up:
            self._hand_over(whose, whose.handovers[-1], said)

    def _hand_over(self, whose: Deployment, one: Handover, said: dict[str, Any]) -> None:
        """Tokens and cut map; sometimes the controller writes the tokens twice."""
        whose.epoch, end = one.epoch, self.parameters.end
        offsets = self._tokens(whose, one.plan, end, **said)
        cut = self._cut(whose, one.plan, offsets, predecessor=whose.generation, successor=one.generation)
        at = self.parameters.define("cut", cut.name, cut.encode())
        whose.begun[one.epoch] = Begin(one.epoch, one.plan, at, end, offsets)
        whose.generation = one.generation
        if self.rng.random() < 0.3:
            self._tokens(whose, one.plan, end, effect=False, **said)

    def prepare(self) -> None:
        """Asks what would be answered to the next swap."""
        whose, plan = self.rng.choice(self.deployments), self.rng.choice(self.published)
        for partition in range(len(self.logs)):
            self._append(partition, self._token(whose, whose.epoch + 1, plan.digest, partition, kind="prepare"), asks=whose.name)

    def abort(self) -> None:
        self._abort(self.rng.choice(self.deployments))

    def _abort(self, whose: Deployment) -> None:
        """Of its last swap; sometimes the tokens are written again all the same."""
        last = whose.begun.get(whose.epoch)
        if last and last.offsets is not None and whose.epoch not in whose.aborts:
            one = Abort(NAMESPACE, whose.name, whose.epoch)
            whose.aborts[whose.epoch] = self.parameters.define("abort", one.name, one.encode())
            if self.rng.random() < 0.5 and not last.carried:
                self.telemetry()
                self._tokens(whose, self.rng.choice(self.published), self.parameters.end, effect=False)

    def rotate(self) -> None:
        """Another key signs from now on; the one before is worth nothing any more."""
        if self.parameters.signer is ANN:
            self.parameters.tell("trust", BOB)
            self.parameters.signer = BOB
            self.revoked = self.parameters.tell("revoke", ANN)

    def _next(self, update: bool = False) -> tuple[Deployment, Deployable, int]:
        """Whose next epoch begins which plan, judged by what lies below the end of `parameters`."""
        whose = self.rng.choice(self.deployments)
        whose.epoch += self.rng.randint(1, 2)
        known = {schema.name for one in self.published for schema in one.schemas}
        able = [one for one in self.plans if {schema.name for schema in one.schemas} <= known] if update else self.published
        return whose, self.rng.choice(able), self.parameters.end

    def _tokens(self, whose: Deployment, plan: Deployable, end: int, effect: bool = True, **changes: object) -> dict[int, int]:
        begins = {whose.name: whose.epoch} if effect else {}
        return {
            partition: self._append(
                partition, self._token(whose, whose.epoch, plan.digest, partition, parameters_end=end, **changes), begins=begins
            )
            for partition in range(len(self.logs))
        }

    def _token(self, whose: Deployment, epoch: int, plan: str, partition: int, **changes: object) -> bytes:
        """As the deployment's controller writes it now, but for changes."""
        signer = changes.pop("signer", self.parameters.signer)
        made = {"parameters_end": self.parameters.end, "deployment": whose.name, **changes}
        return token(epoch, plan, partition=partition, signer=signer, **made)  # type: ignore[arg-type]

    def _cut(self, whose: Deployment, plan: Deployable, offsets: dict[int, int] | None = None, **jobs: int) -> Cut:
        return Cut(NAMESPACE, whose.name, whose.epoch, plan.digest, TOPIC, offsets or {}, arrival=offsets is None, **jobs)

    def _update_cut(self, cut: Cut, body: bytes) -> int:
        return self.parameters.define("update", cut.deployment, UpdateCut(cut.encode(), body).encode())

    # -- others

    def nuisance(self) -> None:
        """What must have no effect."""
        self.rng.choice((self._stale, self._foreign, self._conflicting, self._undefined, self._broken, self._forged))()
        if self.rng.random() < 0.3:
            self.parameters.write(self.rng.choice((None, b"nonsense", b"\xc1\x91")))

    def _stale(self) -> None:
        """An epoch that began long ago, or none. An update's may have been forgotten."""
        whose = self.rng.choice(self.deployments)
        epoch = self.rng.choice((0, *(one.epoch for one in whose.begun.values() if one.offsets and not one.carried)))
        end = self.parameters.end if epoch else FAR
        self._stray(whose, epoch, self.rng.choice(self.published).digest, parameters_end=end)

    def _foreign(self) -> None:
        """For another deployment, namespace, topic or partition, from which nothing is known here."""
        plan, partition = self.rng.choice(self.published).digest, self.rng.randrange(len(self.logs))
        elsewhere = self.rng.choice(({"deployment": "nobody"}, {"namespace": "alice"}, {"topic": "another"}, {"partition": partition + 1}))
        made = {"partition": partition, "parameters_end": FAR, "deployment": self.deployments[0].name, **elsewhere}
        if self.handing:
            made |= self._handing(self.deployments[0])
        self._append(partition, token(99, plan, signer=self.parameters.signer, **made))  # type: ignore[arg-type]

    def _conflicting(self) -> None:
        """The newest epoch again, perhaps with another plan; its cut map comes too late."""
        whose, plan = self.rng.choice(self.deployments), self.rng.choice(self.published)
        last = whose.begun.get(whose.epoch)
        if last and last.offsets and not last.carried:
            cut = self._cut(whose, plan, self._tokens(whose, plan, self.parameters.end, effect=False))
            self.parameters.define("cut", cut.name, cut.encode())

    def _undefined(self) -> None:
        """A plan that is not defined, or will be."""
        late = self.unpublished[-1].digest if self.unpublished else "0" * 64
        whose = self.rng.choice(self.deployments)
        self._stray(whose, whose.epoch + 1, late)

    def _broken(self) -> None:
        """Bytes that begin like a token and are none."""
        whole = self._token(self.deployments[0], 99, self.published[0].digest, 0)
        self._append(self.rng.randrange(len(self.logs)), self.rng.choice((whole[:-9], b"\xc1")), junk=True)

    def _forged(self) -> None:
        """Nobody signed it, or a stranger, or, since the keys were changed, one who once could; some name a time that never comes."""
        if not self.signed:
            return
        whose, plan = self.rng.choice(self.deployments), self.rng.choice(self.published).digest
        signer = self.rng.choice((None, EVE, ANN if self.parameters.signer is BOB else EVE))
        end = self.rng.choice((0, self.parameters.end, self.parameters.end, FAR)) if signer is not ANN else self.parameters.end
        whose.forged |= end == FAR
        kind = {"kind": self.rng.choice(("swap", "swap", "prepare"))}
        said = self._handing(whose) if self.handing and self.rng.random() < 0.5 else kind
        self._stray(whose, whose.epoch + 1, plan, parameters_end=end, signer=signer, **said)

    def _handing(self, whose: Deployment) -> dict[str, Any]:
        """What a token says that hands over the next time."""
        return {"kind": "handover", "generation": len(whose.handovers) + 2, "predecessor": whose.generation}

    def _stray(self, whose: Deployment, epoch: int, plan: str, **changes: object) -> None:
        partition, asks = self.rng.randrange(len(self.logs)), "nobody" if changes.get("kind") == "prepare" else ""
        self._append(partition, self._token(whose, epoch, plan, partition, **changes), asks=asks)

    # -- the log

    @property
    def now(self) -> Moment:
        return Moment(tuple(self.ends), self.parameters.end)

    @property
    def end(self) -> Moment:
        """When everything is written."""
        return Moment((FAR,) * len(self.logs), FAR)

    def _append(self, partition: int, payload: bytes | None, **about: object) -> int:
        """Offsets have holes: transactions leave markers."""
        offset = self.ends[partition]
        self.logs[partition].append(Entry(offset, payload, self.parameters.end, **about))  # type: ignore[arg-type]
        self.ends[partition] = offset + self.rng.choice((1, 1, 1, 2, 5))
        return offset

    def compacted(self, end: int) -> frozenset[int]:
        """The records of `parameters` that are gone when it ends there: of updates the newest of each deployment is kept."""
        updates = [[one.at for one in whose.begun.values() if one.carried and one.at < end] for whose in self.deployments]
        return frozenset(at for ats in updates for at in ats if at < max(ats))

    def frame(self, partition: int, start: int, size: int, end: int) -> RawFrame | None:
        """Up to `size` records from offset `start` on, below `end`."""
        found = [entry for entry in self.logs[partition] if start <= entry.offset < end][:size]
        offsets = [entry.offset for entry in found]
        return frame([entry.payload for entry in found], partition=partition, offsets=offsets) if found else None
