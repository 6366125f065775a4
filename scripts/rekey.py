"""`swapstream rekey`: a job that writes a topic keyed by device of one that is not, or that tokens may not be written to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, InvalidSettings, UnknownName
from swapstream.models.schema import Schema
from swapstream.scripts.access import Right, require
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.deployments import Deployment, check_name
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.kafka import partition_count
from swapstream.scripts.offsets import Start
from swapstream.scripts.specification import first_spec
from swapstream.scripts.submission import Submission
from swapstream.scripts.topics import admin, settings_of

JOB = "rekey"
DELIVERY = "exactly_once"
AT_LEAST_THE_SOURCES = ("max.message.bytes", "message.timestamp.after.max.ms", "message.timestamp.before.max.ms")
"""Settings of the written topic below which what the read one took would be refused, which ends the job again and again."""


@click.command("rekey")
@click.argument("source", metavar="TOPIC")
@click.option("--schema", "schemas", required=True, multiple=True,
              help="What its messages look like: a name in conf/schemas/, or a YAML file; may be given several times.")
@click.option("--to", "target", help="The topic to be written.  [default: the environment's telemetry]")
@click.option("--deployment", help="Name of the job.  [default: rekey-TOPIC]")
@click.option("--parallelism", type=click.IntRange(1, 128), help="Subtasks.  [default: the environment's]")
@click.option("--start", type=click.Choice(["earliest", "latest"]),
              help="Where to begin TOPIC anew.  [default: where the last run of this job was, else earliest]")
@click.option("--from", "restore", help="Resume state: a checkpoint's or savepoint's directory (or URI).  [default: the newest, if any]")
@click.option("--force", is_flag=True, help="Resume state that is so old that output was lost.")
@click.option("--bundle", type=click.Path(file_okay=False), help="Send this bundle along (`swapstream bundle`): workers need nothing else.")
@click.option("--dry-run", is_flag=True, help="Print the exact `flink run` line and change nothing.")
@json_option
@click.pass_obj
def rekey_command(name: str, source: str, schemas: tuple[str, ...], target: str | None, deployment: str | None, parallelism: int | None,
                  start: Start | None, restore: str | None, force: bool, bundle: str | None, dry_run: bool,
                  as_json: bool) -> None:  # fmt: skip
    """Write TOPIC's messages, as they are and exactly once, to a topic where they are keyed by device; returns when every task runs.

    What has no device that can be read goes to dead-letters. Tokens are left out. The job goes on until it is cancelled.
    """
    environment = load_environment(name)
    found = Deployment(environment.job.namespace, check_name(deployment or f"{JOB}-{source.replace('.', '-')}"), JOB,
                       parallelism or environment.job.parallelism, bundle=str(Path(bundle).resolve()) if bundle else None)  # fmt: skip
    rekeying = RekeySubmission(environment, found, restore if restore or start else newest(environment, found),
                               [find_schema(schema) for schema in schemas], source, target)  # fmt: skip
    if dry_run:
        click.echo(rekeying.shell_line())
        return
    began = time.monotonic()
    row = rekeying.begin(start or "committed", force)
    say(f"{found.full_name} runs after {time.monotonic() - began:.1f} s")
    show([row], ["deployment", "job", "from", "to", "restored"], as_json)


def newest(environment: Environment, found: Deployment) -> str | None:
    """What the last run of this job left: without it a restart could not be exactly once."""
    try:
        return "latest" if Submission(environment, found, "latest").restore else None
    except UnknownName:
        return None


class RekeySubmission(Submission):
    """A rekey job about to start; a `target` of None is the environment's telemetry. Raises InvalidSettings, UnknownName, ClusterError."""

    def __init__(self, environment: Environment, deployment: Deployment, restore: str | None, schemas: Sequence[Schema], source: str,
                 target: str | None) -> None:  # fmt: skip
        check_schemas(schemas)
        self.schemas, self.source, self.target = tuple(schemas), source, target or environment.topics.telemetry.name
        self.dead_letters = environment.topics.dead_letters.name
        if len({self.source, self.target, self.dead_letters}) < 3:
            raise InvalidSettings(f"rekey from {self.source} to {self.target}: these and {self.dead_letters} must be three topics")
        super().__init__(environment.reading(source), deployment, restore)

    def begin(self, start: Start, force: bool = False) -> dict[str, Any]:
        """Submit, wait. What has been refused or fails is not kept. Raises SwapstreamError."""
        with self.deployments.lock(self.deployment.name):
            offsets = self._begin(start, DELIVERY, force)
            row = self._go(self._told("", 0, offsets, DELIVERY))
        return row | {"from": self.source, "to": self.target}

    def _told(self, plan: str, end: int, offsets: dict[int, int], delivery: Any) -> JobSpec:
        told = first_spec(self.environment, self.deployment, plan, end, offsets, delivery)
        topics = {"telemetry": self.source, "rekeyed": self.target, "dead_letters": self.dead_letters}
        return msgspec.structs.replace(told, topics=topics, schemas=self.schemas, snapshot_every_ms=0,
                                       partitions=partition_count(self.environment, self.target))  # fmt: skip

    def _check_topics(self) -> None:
        space = self.deployment.namespace
        require(self.environment, self.deployment.name, [
            Right("topic", self.source, ("Read",)), Right("topic", self.target, ("Write",)),
            Right("topic", self.dead_letters, ("Write",)), Right("group", f"{space}.", ("Read",), prefixed=True),
            Right("transactional id", f"swapstream.{space}.", ("Write",), prefixed=True)])  # fmt: skip
        with admin(self.environment) as client:
            there = client.list_topics()
            if missing := [topic for topic in (self.source, self.target, self.dead_letters) if topic not in there]:
                raise UnknownName(f"topics {', '.join(missing)} do not exist; `swapstream topics` creates the environment's")
            found = settings_of(client, [self.source, self.target])
        check_takes(self.source, found.get(self.source, {}), self.target, found.get(self.target, {}))


def check_schemas(schemas: Sequence[Schema]) -> None:
    """Schemas of one topic. Raises InvalidSettings."""
    for what in ("codec", "type_key"):
        found = {getattr(schema, what) for schema in schemas} - {""}
        if len(found) > 1:
            raise InvalidSettings(f"schemas of one topic share a {what}; these have {', '.join(sorted(found))}")
    types = [schema.type for schema in schemas]
    twice = next((kind for kind in types if types.count(kind) > 1), None)
    if twice is not None:
        raise InvalidSettings(f"schemas of one topic are told apart by type; {types.count(twice)} of these have "
                              + (f"type {twice!r}" if twice else "none"))  # fmt: skip


def check_takes(source: str, read: Mapping[str, str], target: str, written: Mapping[str, str]) -> None:
    """Whether a topic takes every message of another, and keeps its timestamp, by their settings as far as they may be read.

    Raises ClusterError.
    """
    if written.get("message.timestamp.type", "CreateTime") != "CreateTime":
        raise ClusterError(f"topic {target} has message.timestamp.type={written['message.timestamp.type']}; the timestamps of {source} "
                           "would be lost: set it to CreateTime")  # fmt: skip
    for name in AT_LEAST_THE_SOURCES:
        if name in read and name in written and int(written[name]) < int(read[name]):
            raise ClusterError(f"topic {target} has {name}={written[name]}, less than {source} with {read[name]}: it would not take every "
                               "message; raise it")  # fmt: skip
