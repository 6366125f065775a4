"""Upgrades of a deployment while readings flow, by handover or by savepoint, and what came of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import measure
from benchmarks.cuts import Change
from benchmarks.feeder import Timed
from benchmarks.readings import values
from benchmarks.workload import SCHEMA
from swapstream.models import Store, train
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.console import say
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import ROOT, Environment
from swapstream.scripts.publish import author_of
from swapstream.scripts.steps import Steps
from swapstream.scripts.submission import Submission
from swapstream.scripts.upgrade import BEGIN
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Mode

NAME = "upgrades"
CODE = ROOT / "benchmarks" / "drift"
VERSIONS = {"first": 3.0, "later": 1.0}
"""Of the extractor's code, and how far its feature deviates on these readings: a model that is trained on anything else alarms at most of
them, and alarms are then all that is measured."""
TRAINING = 50_000
PATIENCE_S = 300.0


class Upgrade(msgspec.Struct, frozen=True):
    """One that took effect. Times are in ms since the epoch: `began`, `ended` of the command, `committed` of the tokens (0: there were
    none). `steps`: seconds of each; `shards`: what the command told of each."""

    epoch: int
    plan: str
    generation: int
    began: float
    committed: float
    ended: float
    steps: dict[str, float]
    shards: list[dict[str, Any]]
    downtime_s: float | None = None

    @property
    def seconds(self) -> float:
        return (self.ended - self.began) / 1000

    @property
    def change(self) -> Change:
        """Of a handover."""
        return Change(self.epoch, self.committed, {row["partition"]: row["cut_offset"] for row in self.shards})


class Plans:
    """Two plan files that differ in the version of the extractor's code, each with a model of its own; devices in turn."""

    def __init__(self, environment: Environment, directory: Path, devices: int) -> None:
        self.workload = Timed(devices)
        self.files = [self._write(environment, directory, number, version) for number, version in enumerate(VERSIONS)]

    def _write(self, environment: Environment, directory: Path, number: int, version: str) -> Path:
        folder = directory / version
        folder.mkdir(parents=True)
        (folder / "drift.py").write_text((CODE / version / "drift.py").read_text())
        (folder / SCHEMA).write_bytes(msgspec.yaml.encode(self.workload.schema))
        fields = self.workload.schema["fields"]
        rows = np.hstack([values(number, TRAINING), np.random.default_rng(number).normal(0.0, VERSIONS[version], (TRAINING, len(fields)))])
        model = train("zscore", rows, (*fields, *(f"{field}.drift" for field in fields)), name=NAME, version=number + 1)
        Store(environment.store).put(model)
        file = folder / "plan.yaml"
        file.write_bytes(msgspec.yaml.encode({
            "name": NAME, "schema": SCHEMA, "code": ["drift.py"], "extractor": ["identity", {"drift:Drift": {}}], "champion": model.ref,
            "devices": {"max": max(10_000, len(self.workload.devices))},
        }))  # fmt: skip
        return file


def submitted(environment: Environment, plans: Plans) -> str:
    """Run the first plan, from the beginning of telemetry; returns its digest."""
    defaults = environment.job
    deployment = Deployment(defaults.namespace, NAME, "detect", defaults.parallelism)
    submission = Submission(environment, deployment, None, sorted(load_plan_file(plans.files[0]).digests))
    row = submission.submit(str(plans.files[0]), author_of(environment, "benchmark"), "earliest", defaults.delivery)
    return str(row["plan_digest"])


def upgrade(environment: Environment, mode: Mode, plan: Path) -> Upgrade:
    """As `swapstream upgrade` does it. Raises SwapstreamError."""
    order = UpgradeOrder(environment, NAME, author_of(environment, "benchmark"), str(plan), timeout=PATIENCE_S)
    deployments, steps, began = Deployments(environment), Steps(order.full_name), time.time() * 1000
    with deployments.upgrading(NAME):
        told = BEGIN[mode](order, steps)
    found = Upgrade(told["epoch"], told["plan_digest"], told["generation"], began, told.get("committed_ms", 0.0), time.time() * 1000,
                    {step.step: step.seconds for step in steps.done}, told.get("shards", []), told.get("downtime_s"))  # fmt: skip
    say(f"generation {found.generation} after {found.seconds:.1f} s")
    return found


def complete(environment: Environment, since: measure.Offsets) -> None:
    """Return when all that was fed is scored and committed."""
    measure.wait(environment, environment.topics.scores.name, since, lambda: None, PATIENCE_S)
