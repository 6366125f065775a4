"""Barrier swaps, one after the other, by one controller: prepare tokens, every shard's answer, swap tokens, every shard's answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.workload import Workload
from swapstream.models.artifact import Artifact
from swapstream.models.errors import ClusterError
from swapstream.models.store import Store
from swapstream.operators.plan import Plan
from swapstream.scripts.acknowledge import Ledger, Row, activations, one_each, prepares
from swapstream.scripts.console import progress
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import author_of, publish_plan

PATIENCE_S = 120.0


class Target(msgspec.Struct, frozen=True):
    """A plan to change to, and its file."""

    plan: Plan
    file: Path


class Swap(msgspec.Struct, frozen=True):
    """One that took effect. Times are in ms since the epoch, of this machine's clock: of the controller (`asked` to prepare,
    `committed`), and of the broker when the rows of the last shard came to the ledger (`prepared`, `activated`).

    `pause_ms`: how long records waited for the token, in the shard where that was longest. `fresh`: its models were loaded for it.
    """

    epoch: int
    plan: str
    fresh: bool
    offsets: dict[int, int]
    asked: float
    prepared: float
    committed: float
    activated: float
    transaction_ms: float
    pause_ms: float

    @property
    def took_ms(self) -> float:
        """From the commit of the tokens to the last shard's activation."""
        return self.activated - self.committed


def target(environment: Environment, directory: Path, workload: Workload, name: str, models: Sequence[Artifact]) -> Target:
    """A plan of the workload's with other models, the first one as champion; stored, and defined on `parameters`."""
    store, file = Store(environment.store), directory / f"{name}.yaml"
    for model in models:
        store.put(model)
    champion, *challengers = [model.ref for model in models]
    file.write_bytes(msgspec.yaml.encode(workload.plan() | {"champion": champion, "challengers": challengers}))
    plan, _ = publish_plan(environment, environment.job.namespace, str(file), author_of(environment, "benchmark"))
    return Target(plan, file)


def swap_all(environment: Environment, deployment: str, targets: Sequence[Target], every_s: float, loaded: Target) -> list[Swap]:
    """Swap to each in turn, at moments that are drawn, so that they don't keep time with checkpoints. `loaded`: the plan in force.

    Raises ClusterError.
    """
    rests = np.random.default_rng(0).uniform(0.6, 1.4, len(targets)) * every_s
    found: list[Swap] = []
    known = {loaded.plan.digest}
    author = author_of(environment, "benchmark")
    with closing(Ledger(environment)) as ledger, progress("swaps") as bar:
        task = bar.add_task("swapping", total=len(targets))
        with Controller(environment, environment.job.namespace, deployment, author) as controller:
            for one, rest in zip(targets, rests, strict=True):
                began = time.monotonic()
                found.append(swap(controller, ledger, one.plan, one.plan.digest not in known))
                known.add(one.plan.digest)
                bar.update(task, completed=len(found))
                time.sleep(max(0.0, rest - (time.monotonic() - began)))
    return found


def swap(controller: Controller, ledger: Ledger, plan: Plan, fresh: bool) -> Swap:
    """One barrier swap, as `swapstream swap` does it."""
    asked = time.time() * 1000
    cut = controller.prepare(plan.digest).cut
    answers = list(one_each(ledger, set(cut.offsets), lambda row: prepares(row, cut), PATIENCE_S, "were not prepared"))
    must_be("prepared", answers)
    done = controller.swap(plan.digest)
    rows = list(activations(ledger, done.cut, set(done.cut.offsets), PATIENCE_S))
    must_be("activated", rows)
    return Swap(done.cut.epoch, plan.digest, fresh, done.cut.offsets, asked, latest(answers), done.committed, latest(rows),
                done.seconds * 1000, max(row.get("took_ms") or 0.0 for row in rows))


def must_be(event: str, rows: Sequence[Row]) -> None:
    """Raises ClusterError with the reason of the first shard that says something else."""
    for row in rows:
        if row["event"] != event:
            raise ClusterError(f"shard {row['partition']} {row['event']}, not {event}: {row.get('reason')}")


def latest(rows: Sequence[Row]) -> float:
    return max(float(row["written"]) for row in rows)


def settle(what: str, ready: Callable[[], Any], seconds: float) -> None:
    """Return when `ready` says so. Raises ClusterError."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
