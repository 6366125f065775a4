"""How good a champion is next to the one in force, on records of before: alarm rate, average precision, a plan's `require` limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.finding import Finding, refuse
from swapstream.models.schema import Schema
from swapstream.operators.frame import Bool
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin, Plan, Require
from swapstream.operators.statement import digest_of
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import in_force
from swapstream.scripts.known import Known, known_of
from swapstream.scripts.metrics import quality
from swapstream.scripts.publish import Part
from swapstream.scripts.samples import Sample, of_telemetry
from swapstream.scripts.trial import RoleTrial, Trial, run_trial

RECORDS = 5_000
"""Of telemetry, that a swap is measured on."""


class Shown(msgspec.Struct, frozen=True):
    """What one champion, or several together, showed on some records; None where that can't be told."""

    model: str
    alarm_rate: float | None
    average_precision: float | None


class Compared(msgspec.Struct, frozen=True):
    """A champion and, on the same `records`, the one in force, None where there is none."""

    records: int
    champion: Shown
    in_force: Shown | None = None

    @property
    def ratio(self) -> float | None:
        """Of the alarm rate to that of the champion in force; two that raise none are alike."""
        now, before = self.champion.alarm_rate, self.in_force.alarm_rate if self.in_force else None
        if now is None or before is None:
            return None
        return now / before if before else (math.inf if now else 1.0)


def require(environment: Environment, namespace: str, deployment: str, plan: Plan, parts: Sequence[Part]) -> list[Finding]:
    """Measure a plan whose `require` asks for it on the last RECORDS records of telemetry, next to the deployment's plan in force.

    `parts`: what is not published yet of what the plan needs. Nothing is measured where the plan requires nothing, or is in force
    already. Raises Rejected for the first limit that does not hold, or that can't be told for want of records or labels;
    ClusterError.
    """
    if plan.require == Require():
        return []
    known = known_of(environment, namespace, deployment)
    now = in_force(known.history)
    if now and now.plan == plan.digest:
        return []
    here = Here(parts, known)
    pipeline = Pipeline(plan, here)
    before = Pipeline(known.plan(now.plan), here) if now else None
    samples = of_telemetry(environment, [one.schema for one in pipeline.inputs.values()], RECORDS)
    findings = [finding for one in compare(pipeline, before, samples) for finding in judged(one, plan.require)]
    refuse(f"plan {plan.name}", findings or [nothing()])
    return findings


class Here:
    """A pipeline's look-up: parts at hand, then those that are known of a deployment."""

    def __init__(self, parts: Iterable[Part], known: Known) -> None:
        self._bodies = {digest_of(part.body): part.body for part in parts}
        self._known = known

    def schema(self, pin: Pin) -> Schema:
        body = self._bodies.get(pin.digest)
        known = self._known
        return Schema.decode(body or known.definitions.require(known.namespace, "schema", pin.digest))

    def model(self, pin: Pin) -> Artifact:
        body = self._bodies.get(pin.digest)
        return Artifact.decode(body) if body else self._known.pinned(pin)


def compare(pipeline: Pipeline, before: Pipeline | None, samples: Iterable[Sample]) -> list[Compared]:
    """Each champion of a plan that some records of the samples are for, next to the champions of the plan before."""
    found = []
    for sample in samples:
        now = run_trial(pipeline.input(sample.schema), sample.frame, sample.labels)
        then = None
        if before is not None and sample.schema in before.inputs:
            then = run_trial(before.input(sample.schema), sample.frame, sample.labels)
        for role in champions(now):
            rows = role.asked
            there = [other for other in champions(then) if (other.asked & rows).any()] if then else []
            found.append(Compared(int(rows.sum()), shown(now, [role], rows), shown(then, there, rows) if then and there else None))
    return found


def champions(trial: Trial) -> list[RoleTrial]:
    return [role for role in trial.roles if role.role == "champion"]


def shown(trial: Trial, roles: Sequence[RoleTrial], rows: Bool) -> Shown:
    """What champions showed on `rows`. Scores of several models have no common order, so that those have no average precision."""
    alarms = sum(int((role.alarms & rows).sum()) for role in roles)
    precision = average_precision(trial, roles[0], rows) if len(roles) == 1 else None
    return Shown(", ".join(role.model for role in roles), alarms / int(rows.sum()), precision)


def average_precision(trial: Trial, role: RoleTrial, rows: Bool) -> float | None:
    if trial.labels is None:
        return None
    devices = [device for device, wanted in zip(trial.frame.devices, rows, strict=True) if wanted]
    ranked = (role.scored & ~trial.warming)[rows]
    return quality(devices, trial.labels[rows], role.alarms[rows], role.scores[rows], ranked).average_precision


# -- limits


def judged(one: Compared, limits: Require) -> list[Finding]:
    """Alarm rate, its ratio and average precision against a plan's limits; what is neither known nor asked for has no row."""
    now, before = one.champion, one.in_force or Shown("", None, None)
    rows = [_row("alarm_rate", one, now.alarm_rate, before.alarm_rate, most=limits.max_alarm_rate)]
    if one.in_force is not None:
        rows.append(_row("alarm_rate_ratio", one, one.ratio, None, most=limits.max_alarm_rate_ratio))
    least = limits.min_average_precision
    rows.append(_row("average_precision", one, now.average_precision, before.average_precision, least=least))
    return [row for row in rows if row is not None]


def _row(check: str, one: Compared, found: float | None, before: float | None, most: float | None = None,
         least: float | None = None) -> Finding | None:  # fmt: skip
    if found is None and most is None and least is None:
        return None
    said = "unknown" if found is None else f"{found:.4g}"
    value = f"{said} of {one.champion.model} on {one.records} records"
    if one.in_force and before is not None:
        value += f", {before:.4g} of {one.in_force.model}"
    limit = f"at most {most:g}" if most is not None else f"at least {least:g}" if least is not None else "none"
    holds = found is not None and (most is None or found <= most) and (least is None or found >= least)
    return Finding(check, value, limit, holds)


def nothing() -> Finding:
    """Limits, and nothing to hold against them."""
    return Finding("require", "no record is for a champion of the plan", "needed: some to measure it on", False)
