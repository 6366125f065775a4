"""Where and when versions of a model were in force, and how they scored there: out of definitions, ledger and scores. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from swapstream.models.errors import InvalidPlan
from swapstream.operators.definitions import Definitions
from swapstream.operators.frame import Bool, Float64
from swapstream.operators.labels import Labels
from swapstream.operators.plan import Plan
from swapstream.operators.scores import RoleColumns, ScoresFrame

QUANTILES = (0.5, 0.95, 0.99)
KEPT = 1_000_000
"""Scores kept for the quantiles of one row; of more every second is let go, as often as it takes."""


class Place(NamedTuple):
    """A version in a role of a deployment."""

    namespace: str
    deployment: str
    model: str
    digest: str
    role: str


class Epoch(msgspec.Struct):
    """What the ledger tells of an epoch of a deployment: when its first shard began, who asked for it, and why."""

    plan: str = ""
    begun: int | None = None
    who: str = ""
    why: str = ""


class Ledger:
    """Every epoch of every deployment, as far as it is told."""

    def __init__(self) -> None:
        self.epochs: dict[tuple[str, str], dict[int, Epoch]] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """A row of the ledger, in any order."""
        if row["event"] not in ("activated", "accepted", "rolled_back") or row.get("epoch") is None:
            return
        epochs = self.epochs.setdefault((row["namespace"], row["deployment"]), {})
        epoch = epochs.setdefault(row["epoch"], Epoch())
        epoch.plan = epoch.plan or row.get("plan") or ""
        if row["event"] == "activated":
            epoch.begun = row["time"] if epoch.begun is None else min(epoch.begun, row["time"])
        else:
            epoch.who, epoch.why = row.get("who") or "", row.get("reason") or ""

    def add(self, namespace: str, deployment: str, epoch: int, plan: str) -> None:
        """An epoch that is known from elsewhere."""
        self.epochs.setdefault((namespace, deployment), {}).setdefault(epoch, Epoch(plan))

    def end(self, whose: tuple[str, str], epoch: int) -> int | None:
        """When the epoch after it began; None: it is in force, or nobody knows."""
        later = [one.begun for number, one in self.epochs[whose].items() if number > epoch and one.begun is not None]
        return min(later, default=None)


class Deployed(msgspec.Struct):
    """A version's time in one place: the epochs, when the first began and the last ended (ms), by whom and why."""

    epochs: list[int] = []
    begun: int | None = None
    ended: int | None = None
    who: str = ""
    why: str = ""


def deployed(name: str, ledger: Ledger, definitions: Definitions) -> dict[Place, Deployed]:
    """Where versions of a model are, or were, by the plans of each epoch; of a plan that is not defined nothing is known."""
    found: dict[Place, Deployed] = {}
    for whose, epochs in sorted(ledger.epochs.items()):
        for number, epoch in sorted(epochs.items()):
            for role, pin in roles(name, definitions.body(whose[0], "plan", epoch.plan)):
                one = found.setdefault(Place(*whose, *pin, role), Deployed([]))
                if not one.epochs:
                    one.begun, one.who, one.why = epoch.begun, epoch.who, epoch.why
                one.epochs.append(number)
                one.ended = ledger.end(whose, number)
    return found


def roles(name: str, body: bytes | None) -> list[tuple[str, tuple[str, str]]]:
    """The roles of a plan that versions of a model have, each once: (role, (name:version, digest))."""
    if not body:
        return []
    try:
        plan = Plan.decode(body)
    except InvalidPlan:
        return []
    found = {(role, (pin.name, pin.digest)): None for route in plan.routes for role, pin in route.roles() if is_of(pin.name, name)}
    return list(found)


def is_of(model: str, name: str) -> bool:
    """Whether a name:version is a version of `name`, or that very one."""
    return model == name or model.partition(":")[0] == name


class Scored:
    """How a version scored in one place. `first`, `last`: when its first and last message was written (ms)."""

    def __init__(self) -> None:
        self.records = self.errors = self.alarms = self.labelled = self.anomalies = self.hits = 0
        self.first: int | None = None
        self.last: int | None = None
        self.epochs: set[int] = set()
        self._scores: list[Float64] = []
        self._kept = 0
        self._every = 1

    def take(self, scores: Float64, alarms: Bool, known: tuple[Bool, Bool], written: int, epoch: int) -> None:
        """Of m readings: scores (NaN where it failed), whether they are above its threshold and not warming, labels."""
        there, anomalous = known
        self.records += len(scores)
        self.errors += int(np.count_nonzero(~np.isfinite(scores)))
        self.alarms += int(np.count_nonzero(alarms))
        self.labelled += int(np.count_nonzero(there))
        self.anomalies += int(np.count_nonzero(anomalous))
        self.hits += int(np.count_nonzero(alarms & anomalous))
        self.first = written if self.first is None else min(self.first, written)
        self.last = written if self.last is None else max(self.last, written)
        self.epochs.add(epoch)
        self._keep(scores[np.isfinite(scores)])

    def _keep(self, scores: Float64) -> None:
        self._scores.append(scores[:: self._every].copy())
        self._kept += len(self._scores[-1])
        while self._kept > KEPT:
            self._scores = [np.concatenate(self._scores)[::2].copy()]
            self._kept, self._every = len(self._scores[0]), 2 * self._every

    def quantiles(self) -> list[float]:
        scores = np.concatenate([np.zeros(0), *self._scores])
        return np.quantile(scores, QUANTILES).tolist() if len(scores) else []

    @property
    def precision(self) -> float | None:
        """Over all readings, where any anomaly is labelled: what nobody labelled counts as normal."""
        return self.hits / self.alarms if self.anomalies and self.alarms else None

    @property
    def recall(self) -> float | None:
        return self.hits / self.anomalies if self.anomalies else None


def scored(name: str, frames: Iterable[tuple[int, ScoresFrame]], labels: Labels) -> dict[Place, Scored]:
    """How versions of a model scored, by place. `frames`: each with when it was written (ms)."""
    found: dict[Place, Scored] = {}
    for written, frame in frames:
        mine = [role for role in frame.roles if is_of(role.model, name)]
        if not mine:
            continue
        where, known = frame.provenance, labels_of(frame, labels)
        warming = np.frombuffer(frame.warming, "?")
        for role in mine:
            place = Place(where.namespace, where.deployment, role.model, role.digest, role.role)
            rows, scores = of_role(role, len(frame))
            there, anomalous = (part[rows] for part in known)
            alarms = (scores > role.threshold) & ~warming[rows]
            found.setdefault(place, Scored()).take(scores, alarms, (there, anomalous), written, where.epoch)
    return found


def of_role(role: RoleColumns, n: int) -> tuple[Any, Float64]:
    """A role's rows in a frame of n, and its scores."""
    return np.frombuffer(role.rows, "<i4") if role.rows else np.arange(n), np.frombuffer(role.scores, "<f8")


def labels_of(frame: ScoresFrame, labels: Labels) -> tuple[Bool, Bool]:
    where = frame.provenance
    return labels.said(where.topic, where.partition, frame.column("offsets"), frame.column("index"), frame.devices,
                       frame.column("device"), frame.column("times"))


def rows(places: Mapping[Place, Deployed], lives: Mapping[Place, Scored]) -> Iterator[dict[str, Any]]:
    """A row for each place, by version, then deployment and role; what is not known is None."""
    for place in sorted({**places, **lives}, key=_order):
        been, life = places.get(place, Deployed()), lives.get(place, Scored())
        known: Sequence[float | None] = life.quantiles() or [None] * 3
        quantiles = dict(zip((f"p{q * 100:g}" for q in QUANTILES), known, strict=True))
        yield {
            "model": place.model, "digest": place.digest, "namespace": place.namespace, "deployment": place.deployment, "role": place.role,
            "epochs": sorted({*been.epochs, *life.epochs}), "from": been.begun if been.begun is not None else life.first,
            "to": been.ended, "records": life.records, "errors": life.errors, "alarms": life.alarms,
            "alarm_rate": life.alarms / life.records if life.records else None, **quantiles, "labelled": life.labelled,
            "anomalies": life.anomalies, "precision": life.precision, "recall": life.recall, "last_score": life.last,
            "who": been.who, "why": been.why,
        }  # fmt: skip


def _order(place: Place) -> tuple[str, int, str, str, str, str]:
    name, _, version = place.model.partition(":")
    return (name, int(version) if version.isdecimal() else 0, place.namespace, place.deployment, place.role, place.digest)
