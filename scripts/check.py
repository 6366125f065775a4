"""`swapstream check`: the gate's checks of a model, row by row, and how it does next to a plan's champion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import msgspec

from swapstream.models.artifact import MAX_BYTES, Artifact
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.finding import Finding, refusal, refuse
from swapstream.models.gate import FORMAT, Subject
from swapstream.models.store import Store
from swapstream.scripts.candidate import Asked, Candidate
from swapstream.scripts.catalogue import read_plan
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.files import Columns, file_options

COLUMNS = ("check", "value", "limit", "ok")


@click.command("check")
@click.argument("model")
@click.option("--plan", type=click.Path(), help="A plan: its extractor must yield the model's features, its `require` limits must hold.")
@click.option("--route", metavar="PATTERN",
              help="The plan's route with these devices (or type/devices).  [those whose champion is another version, or the only one]")
@click.option("--against", metavar="FILE|last:N",
              help="Compare it with the plan's champion on a telemetry file, or on the last N records of telemetry.")
@click.option("--schema", help="Which of the plan's schemas the file is of, where there are several.")
@file_options
@json_option
@click.pass_obj
def check_command(name: str, model: str, plan: str | None, route: str | None, against: str | None, schema: str | None,
                  columns: Columns, as_json: bool) -> None:  # fmt: skip
    """Put MODEL through the gate: the file of an artifact, or a model in the store (name:version, or name for its newest).

    Shows each check with the value found and its limit, up to the first that refuses, which is an error. Workers run the very same
    checks before they let a model score. With --against the model takes the place of the plan's champion, as after `swap
    --champion`, and both are run over the same records: how often each raises an alarm and, where records are labelled, its average
    precision.
    """
    if plan is None and (route or against or schema):
        raise InvalidSettings("--route, --against and --schema belong to a --plan: its extractor makes the features")
    environment = load_environment(name)
    findings: list[Finding] = []
    try:
        for finding in examined(environment, model, Asked(plan, route, against, columns, schema)):
            findings.append(finding)
    finally:
        if findings:
            show(map(msgspec.structs.asdict, findings), COLUMNS, as_json, model)
    refuse(model, findings)


def examined(environment: Environment, model: str, asked: Asked) -> Iterator[Finding]:
    """Every check's finding, up to the first that is not ok. Raises UnknownName, InvalidSettings, InvalidPlan, ClusterError."""
    read = source(environment, model)
    plan = read_plan(environment, asked.plan) if asked.plan else None
    try:
        artifact = Artifact.decode(read())
    except InvalidArtifact as error:
        yield refusal(model, FORMAT, error)
        return
    yield Finding(FORMAT.name, f"artifact {artifact.ref}", FORMAT.limit)
    candidate = Candidate(environment, *plan, artifact, asked) if plan else None
    passed = False
    for finding in Subject(artifact, candidate.features if candidate else None).findings():
        passed = finding.ok
        yield finding
    if candidate is not None and passed:
        yield from candidate.findings()


def source(environment: Environment, model: str) -> Callable[[], bytes]:
    """What reads the bytes of an artifact's file, or of a model in the store. Raises UnknownName, InvalidSettings."""
    path = Path(model)
    if path.is_file():
        return partial(read_file, path)
    if "/" in model or path.is_dir() or path.suffix:
        raise InvalidSettings(f"model {model!r}: no such file, nor is it the name of a model in the store")
    store = Store(environment.store)
    return partial(read_stored, store, store.resolve(model).digest)


def read_file(path: Path) -> bytes:
    """No more of it than what is too much for an artifact."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_stored(store: Store, digest: str) -> bytes:
    try:
        return store.read(digest)
    except InvalidArtifact as error:
        raise InvalidArtifact(str(error), "digest") from error
