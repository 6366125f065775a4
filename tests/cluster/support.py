"""What the cluster tests share: a stand of its own for each, records that flow, and readers of what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from swapstream.models.build import train
from swapstream.models.schema import Schema, load_schema
from swapstream.models.store import Store
from swapstream.operators.dead_letters import DeadLetter
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.operators.token import is_token
from swapstream.scripts import kafka
from swapstream.scripts.bounds import end_offsets
from swapstream.scripts.environment import Environment, load_environment, recorded
from swapstream.scripts.submitted import submitted_plan
from tests.support import wire_check

from .local import COMMAND

CHECKPOINT_MS = 1000
EPOCH_MS = 1_767_225_600_000
Place = tuple[int, int]
"""Partition and offset of a record of telemetry."""
KILLED = """
import os, sys
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import load_environment
from swapstream.scripts.publish import author_of
environment = load_environment(sys.argv[1])
with Controller(environment, "prod", sys.argv[2], author_of(environment, "killed")) as controller:
    controller._producer.commit_transaction = lambda: os.kill(os.getpid(), 9)
    controller.swap(sys.argv[3])
"""
"""A controller that is killed when its tokens are written and nothing is committed."""


class Stand:
    """A test's own topics, files and deployment, all named after it, on the cluster that the tests share; settings of `topics`, by
    their roles, and of `job`."""

    def __init__(self, cluster: Path, directory: Path, name: str, topics: dict[str, dict[str, Any]] | None = None, **job: Any) -> None:
        self.name, self.directory = name, directory
        self.since: dict[str, dict[int, int]] = {}
        self.path = directory / f"{name}.yaml"
        self.path.write_bytes(msgspec.yaml.encode(_own_topics(cluster, name, topics or {}, job)))
        self.run("topics")
        self.run("keys", "trust")  # the key that `up` made; these topics know none yet

    @property
    def environment(self) -> Environment:
        return load_environment(str(self.path))

    @property
    def socket(self) -> str:
        """supervisord's."""
        return recorded(self.environment).socket

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """`swapstream --env … ARGUMENTS`; returns its stdout. Fails the test when it exits with another code."""
        command = [COMMAND, "--env", str(self.path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == code, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What a command prints with --json."""
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def write(self, name: str, content: dict[str, Any]) -> Path:
        """A YAML file beside the environment."""
        path = self.directory / f"{name}.yaml"
        path.write_bytes(msgspec.yaml.encode(content))
        return path

    def plan(self, name: str, schema: Path, extractor: list[Any], champion: str) -> Path:
        """A plan file, its plan named after the stand, so that all its plans are of one deployment."""
        return self.write(name, {"name": self.name, "schema": str(schema), "extractor": extractor, "champion": champion})

    def train(self, kind: str, version: int, rows: np.ndarray, features: tuple[str, ...], **settings: Any) -> str:
        """Put a model into the store; returns its name:version."""
        artifact = train(kind, rows, features, name=self.name, version=version, settings=settings, alarm_rate=0.01)
        Store(self.environment.store).put(artifact)
        return artifact.ref

    def cancel(self) -> None:
        self.run("cancel", self.name)

    def kill_a_controller(self, plan: str) -> None:
        """Between its writing the tokens of a plan (a digest) and their commit."""
        arguments = [sys.executable, "-c", KILLED, str(self.path), self.name, plan]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == -9, done.stderr

    def second_opinion(self) -> None:
        """Fails the test unless a script that knows only the wire formats finds everything as it must be."""
        topics = self.environment.topics.by_role()
        named = [part for role in wire_check.TOPICS for part in ("--topic", f"{role}={topics[role].name}")]
        plan = submitted_plan(self.environment, "prod", self.name)
        assert plan
        done = subprocess.run([sys.executable, wire_check.__file__, "--bootstrap", self.environment.broker.servers, "--namespace", "prod",
                               "--deployment", self.name, "--plan", plan, *named], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    # -- what came out, as a read_committed reader sees it

    def from_here(self) -> None:
        """From now on what is there by now is left out, of telemetry, scores and dead letters."""
        topics = self.environment.topics
        self.since = {name: self.ends(name) for name in (topics.telemetry.name, topics.scores.name, topics.dead_letters.name)}

    def _read(self, topic: str) -> Iterator[kafka.Record]:
        return kafka.read_to_end(self.environment, topic, self.since.get(topic, "earliest"))

    def telemetry(self) -> dict[Place, kafka.Record]:
        """Everything in telemetry, tokens included."""
        found = self._read(self.environment.topics.telemetry.name)
        return {(record.partition, record.offset): record for record in found}

    def frames(self, start: dict[int, int] | None = None) -> list[ScoresFrame]:
        """Messages of `scores`, in order within a partition."""
        topic = self.environment.topics.scores.name
        found = kafka.read_to_end(self.environment, topic, start) if start else self._read(topic)
        return [decode_scores(record.value or b"") for record in found]

    def dead_letters(self) -> list[DeadLetter]:
        found = self._read(self.environment.topics.dead_letters.name)
        return [msgspec.msgpack.decode(record.value or b"", type=DeadLetter) for record in found]

    def messages(self, topic: str) -> list[dict[str, Any]]:
        """A topic of JSON messages: `anomalies` or `ledger`."""
        name = self.environment.topics.by_role()[topic].name
        return [json.loads(record.value or b"{}") for record in kafka.read_to_end(self.environment, name)]

    def ends(self, topic: str) -> dict[int, int]:
        """partition → the offset behind the last committed record."""
        return end_offsets(self.environment, topic)

    def answers(self) -> Counter[Place]:
        """How often each record is answered in scores and dead-letters together."""
        scored = (place for frame in self.frames() for place in places(frame))
        return Counter(scored) + Counter((letter.partition, letter.offset) for letter in self.dead_letters())

    def goes_on(self, records: int, why: str = "") -> None:
        """Return when so many more are scored."""
        start = self.ends(self.environment.topics.scores.name)
        wait_until(lambda: sum(map(len, self.frames(start))) > records, 240, f"{records} more records are scored {why}".rstrip())

    def settle(self, seconds: float = 60.0) -> Counter[Place]:
        """Wait until every reading is answered, and then for what would come twice; returns `answers`."""
        wanted = set(readings(self.telemetry()))
        wait_until(lambda: wanted <= self.answers().keys(), seconds, "every reading has an answer")
        time.sleep(2 * CHECKPOINT_MS / 1000)
        return self.answers()


def _own_topics(cluster: Path, name: str, topics: dict[str, dict[str, Any]], job: dict[str, Any]) -> dict[str, Any]:
    shared = load_environment(str(cluster))
    settings: dict[str, Any] = msgspec.to_builtins(shared)
    settings["directory"] = str(shared.path)
    settings["job"] |= {"checkpoint_ms": CHECKPOINT_MS, **job}
    for role, topic in settings["topics"].items():
        topic |= {"name": f"{name}-{topic['name']}", **topics.get(role, {})}
    return settings


def places(frame: ScoresFrame) -> Iterator[Place]:
    """The records of a frame."""
    return ((frame.provenance.partition, offset) for offset in frame.column("offsets").tolist())


def readings(telemetry: dict[Place, kafka.Record]) -> dict[Place, kafka.Record]:
    """What is in telemetry, but for what starts as a token does."""
    return {place: record for place, record in telemetry.items() if not is_token(record.value)}


def wait_until(met: Callable[[], bool], seconds: float, what: str, every: float = 0.25) -> None:
    """Ask until it is so, `every` so many seconds."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"after {seconds:g} s it is not so that {what}"
        time.sleep(every)


def demo_schema() -> tuple[Path, Schema]:
    path = Path(__file__).parents[2] / "conf" / "schemas" / "demo.yaml"
    return path, load_schema(path)


@contextmanager
def flowing(stand: Stand, messages: Iterable[tuple[bytes, bytes]], rate: float) -> Iterator[threading.Event]:
    """Send (key, value) messages at `rate` a second on a thread. Leaving waits until all are acknowledged; the event, when
    set, ends it early."""
    enough, failed = threading.Event(), []

    def send() -> None:
        began = time.monotonic()
        try:
            with kafka.Output(stand.environment, stand.environment.topics.telemetry.name) as output:
                for number, (key, value) in enumerate(messages):
                    if enough.is_set():
                        return
                    enough.wait(max(0.0, began + number / rate - time.monotonic()) if number % 50 == 0 else 0)
                    output.send(key, value)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield enough
    except BaseException:
        enough.set()
        raise
    finally:
        thread.join()
    assert not failed, failed


def send(stand: Stand, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Send (key, value) messages as fast as it goes."""
    with kafka.Output(stand.environment, stand.environment.topics.telemetry.name) as output:
        for key, value in messages:
            output.send(key, value)


def send_to(stand: Stand, partition: int, value: bytes) -> Place:
    """Send one message to a partition; returns where it lies."""
    client = kafka.producer(stand.environment)
    try:
        sent = client.send(stand.environment.topics.telemetry.name, value=value, partition=partition).get(timeout=10)
    finally:
        client.close()
    return sent.partition, sent.offset
