"""A second opinion on what a deployment put out, by the wire formats alone: nothing of Swapstream is imported here.

For every telemetry record it asks: has it, for each role of its plan, one row, or one dead letter? Is its plan the one that its
offset implies, by the cut maps, and where a cut is at arrival, by what the shard said on the ledger of where that was? And where a
plan is simple (identity extractor, z-score or PCA): is the score what numpy says?

    python tests/support/wire_check.py --bootstrap localhost:9092 --namespace prod --deployment pumps [--plan D] [--topic telemetry=name …]

Epoch 0 is the plan given at submit, which no cut names: with --plan it must be that one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from fnmatch import fnmatchcase
from math import inf
from typing import Any, NamedTuple

import msgpack
import numpy as np

TOKEN = b"\xc1"
TOPICS = {"telemetry": "telemetry", "parameters": "parameters", "scores": "scores", "features": "features",
          "dead_letters": "dead-letters", "ledger": "ledger"}  # fmt: skip
RELATIVE = 1e-9
SHOWN = 20


class Message(NamedTuple):
    partition: int
    offset: int
    value: bytes | None


class Row(NamedTuple):
    """One model's answer to one reading, or (role "features") its features."""

    epoch: int
    plan: str
    schema: str
    device: str
    role: str
    digest: str
    score: float | None


Place = tuple[int, int, int]
"""Partition, offset, index."""


class Findings:
    """What is wrong, counted by kind, the first of each in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.lines: list[str] = []
        self.checked: Counter[str] = Counter()

    def wrong(self, kind: str, where: object, said: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= SHOWN:
            self.lines.append(f"{kind}: {where}: {said}")


class Parameters:
    """Plans, schemas and models by digest, and the cuts of a deployment; `plan` is the digest of the one given at submit, if known."""

    def __init__(self, messages: Iterable[Message], ledger: Iterable[Message], namespace: str, deployment: str, plan: str | None) -> None:
        self.plan = plan
        self.arrivals = arrivals(ledger, namespace, deployment)
        self.bodies: dict[str, bytes] = {}
        self.cuts: list[dict[str, Any]] = []
        self.aborted: set[int] = set()
        self.updates: list[tuple[int, int, int, str]] = []
        """Partition, offset, epoch and plan of updates, of which only the tokens tell."""
        for message in messages:
            said = statement(message.value)
            if said is None or said["namespace"] != namespace:
                continue
            if said["kind"] in ("plan", "schema", "model") and hashlib.sha256(said["body"]).hexdigest() == said["digest"]:
                self.bodies[said["digest"]] = said["body"]
            elif said["kind"] in ("cut", "abort") and (body := unpacked(said["body"])).get("deployment") == deployment:
                if said["kind"] == "cut":
                    self.cuts.append(body)
                else:
                    self.aborted.add(body["epoch"])

    def implied(self, partition: int, offset: int, without: Container[int] = ()) -> tuple[int, str | None]:
        """Epoch and plan of a record by what began before it, `without` some epochs; epoch 0 is the plan given at submit, which no cut
        names."""
        found = [(cut["epoch"], cut["plan"]) for cut in self.cuts if self.first(cut, partition) <= offset]
        found += [(epoch, plan) for where, at, epoch, plan in self.updates if where == partition and at < offset]
        return max((one for one in found if one[0] not in without), key=lambda one: one[0], default=(0, self.plan))

    def first(self, cut: dict[str, Any], partition: int) -> float:
        """The first offset that is a cut's: behind its token, or where the shard said that it had arrived; infinite if it did not."""
        if cut.get("arrival"):
            return self.arrivals.get((partition, cut["epoch"], cut["plan"]), inf)
        return cut["offsets"].get(partition, -1) + 1

    def allowed(self, partition: int, offset: int, epoch: int, plan: str) -> bool:
        """Whether a record may have been scored under a plan: as implied, or, where a shard still held at a token whose epoch was
        aborted, as implied without it."""
        implied = (self.implied(partition, offset, without) for without in ((), self.aborted))
        return any((epoch, plan) == (one, named or plan) for one, named in implied)

    def decoded(self, digest: str) -> dict[str, Any] | None:
        body = self.bodies.get(digest)
        return msgpack.unpackb(body) if body else None


def statement(value: bytes | None) -> dict[str, Any] | None:
    """What a record of `parameters` says; None for what is none."""
    try:
        said = msgpack.unpackb(msgpack.unpackb(value or b"")["signed"])
        return said if {"kind", "namespace", "digest", "body"} <= said.keys() else None
    except Exception:  # anybody may write there
        return None


def arrivals(ledger: Iterable[Message], namespace: str, deployment: str) -> dict[tuple[int, int, str], int]:
    """Partition, epoch and plan → the first offset under a cut at arrival, as the shards of a deployment said."""
    found: dict[tuple[int, int, str], int] = {}
    for message in ledger:
        row = json.loads(message.value or b"{}")
        said = tuple(row.get(key) for key in ("namespace", "deployment", "event", "how"))
        if said == (namespace, deployment, "activated", "arrival"):
            found.setdefault((row["partition"], row["epoch"], row["plan"]), row["offset"])
    return found


def unpacked(body: bytes) -> dict[str, Any]:
    """A map; an empty one for what is none."""
    try:
        found = msgpack.unpackb(body, strict_map_key=False)
    except Exception:  # anybody may write there
        return {}
    return found if isinstance(found, dict) else {}


def rows(message: Message, namespace: str, deployment: str) -> Iterator[tuple[Place, Row]]:
    """The rows of a message of `scores` or `features`."""
    try:
        frame = msgpack.unpackb(message.value or b"", strict_map_key=False)
        about = frame["provenance"]
    except Exception:  # not a frame; verify names it
        return
    if (about["namespace"], about["deployment"]) != (namespace, deployment):
        return
    offsets = np.frombuffer(frame["offsets"], "<i8").tolist()
    index = np.frombuffer(frame["index"], "<i4").tolist() if frame.get("index") else [0] * len(offsets)
    devices = [frame["devices"][i] for i in np.frombuffer(frame["device"], "<i4")]
    shared = (about["epoch"], about["plan_digest"], about["schema"])
    for role in frame["roles"]:
        places = np.frombuffer(role["rows"], "<i4").tolist() if role["rows"] else range(len(offsets))
        for n, (row, score) in enumerate(zip(places, np.frombuffer(role["scores"], "<f8").tolist(), strict=True)):
            said = None if n in role["errors"] else score
            yield (about["partition"], offsets[row], index[row]), Row(*shared, devices[row], role["role"], role["digest"], said)
    if not frame["roles"]:
        for row, offset in enumerate(offsets):
            yield (about["partition"], offset, index[row]), Row(*shared, devices[row], "features", "", None)


def roles_of(plan: dict[str, Any], schema: str, device: str) -> Counter[tuple[str, str]]:
    """Role and digest of each model that must answer for a device; on_error only answers where the champion fails."""
    for route in plan["routes"]:
        tag = route.get("tag")
        tagged = not tag or any(fnmatchcase(device, pattern) for pattern in plan["tags"][tag])
        if route.get("type", "") in ("", schema) and fnmatchcase(device, route["devices"]) and tagged:
            found = [("champion", route["champion"]), ("canary", route["canary"])]
            found += [("challenger", pin) for pin in route["challengers"]]
            return Counter((role, pin["digest"]) for role, pin in found if pin)
    return Counter()


def reading(schema: dict[str, Any], value: bytes) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Device and values of a message of one reading; None where the schema is not a simple one."""
    keys = [schema["device"], schema["values"]]
    if schema["layout"] not in ("positional", "named") or not all(isinstance(key, str) for key in keys):
        return None
    message = json.loads(value) if schema["codec"] == "json" else msgpack.unpackb(value)
    values = message[schema["values"]] if schema["values"] else message
    names = [field["name"] for field in schema["fields"]]
    numbers = [values[name] for name in names] if schema["layout"] == "named" else values
    return message[schema["device"]], np.array(numbers, np.float64)


def score(artifact: dict[str, Any], x: np.ndarray[Any, Any]) -> float | None:
    """What a model says of one row of features; None for kinds that are not looked at here."""
    p = {name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in artifact["payload"]["parameters"].items()}
    if artifact["manifest"]["kind"] == "zscore":
        return float((np.abs(x - p["mean"]) / p["deviation"]).max())
    if artifact["manifest"]["kind"] == "pca":
        z = (x - p["mean"]) / p["scale"] - p["center"]
        return float(np.mean((z - z @ p["components"].T @ p["components"]) ** 2))
    return None


def check(
    telemetry: Iterable[Message], parameters: Iterable[Message], output: Iterable[Message], letters: Iterable[Message],
    ledger: Iterable[Message], namespace: str, deployment: str, repeats: bool = False, ends: dict[int, int] | None = None,
    plan: str | None = None,
) -> Findings:  # fmt: skip
    """Everything there is. `output`: scores and features. `repeats`: rows may be there twice, if they are the same. `ends`: by
    partition, the offset up to which everything must be answered by now. `plan`: the digest of the one given at submit."""
    findings, known = Findings(), Parameters(parameters, ledger, namespace, deployment, plan)
    answers: dict[Place, list[Row]] = defaultdict(list)
    for message in output:
        for place, row in rows(message, namespace, deployment):
            if repeats and row in answers[place]:
                continue
            answers[place].append(row)
    dead: dict[tuple[int, int], Counter[int | None]] = defaultdict(Counter)
    for message in letters:
        letter = msgpack.unpackb(message.value or b"")
        if letter.get("deployment") and (letter["namespace"], letter["deployment"]) != (namespace, deployment):
            continue  # of older versions nobody can tell
        dead[letter["partition"], letter["offset"]][letter["index"]] += 1
    indexes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for partition, offset, index in answers:
        indexes[partition, offset].append(index)
    telemetry = list(telemetry)
    for message in telemetry:
        said = token(message.value)
        if said and (said["namespace"], said["deployment"], said["kind"]) == (namespace, deployment, "update"):
            known.updates.append((message.partition, message.offset, said["epoch"], said["plan"]))
    for message in telemetry:
        if (ends or {}).get(message.partition, message.offset) < message.offset:
            continue
        found = dead.pop((message.partition, message.offset), Counter())
        there = indexes.pop((message.partition, message.offset), [])
        if token(message.value) and not found:
            if there:
                findings.wrong("answered", message[:2], "a token has rows")
            continue
        findings.checked["records"] += 1
        endings(findings, message, there, found, repeats)
        for index in there:
            place = (message.partition, message.offset, index)
            judge(findings, known, place, answers[place], message)
    for (partition, offset), there in indexes.items():
        if (ends or {}).get(partition, offset) >= offset:
            findings.wrong("unexpected", (partition, offset), f"rows {there} of a record that is not in telemetry")
    return findings


def token(value: bytes | None) -> dict[str, Any] | None:
    """What a token says, of this deployment or of another; None for records that are none."""
    if not value or value[:1] != TOKEN:
        return None
    try:
        said = msgpack.unpackb(msgpack.unpackb(value[1:])["signed"])
        return said if "epoch" in said else None
    except Exception:  # it only starts like one
        return None


def endings(findings: Findings, message: Message, there: list[int], dead: Counter[int | None], repeats: bool) -> None:
    """Each record ends once: in rows, or in a dead letter; of messages of many readings each reading does."""
    place = message[:2]
    if not there and not dead:
        findings.wrong("missing", place, "neither a row nor a dead letter")
    if None in dead and (there or len(dead) > 1):
        findings.wrong("twice", place, f"a dead letter of the whole message, and rows {there}, letters {list(dead)}")
    if both := [index for index in there if dead[index]]:
        findings.wrong("twice", place, f"readings {both} have rows and a dead letter")
    if not repeats and max(dead.values(), default=0) > 1:
        findings.wrong("twice", place, "more than one dead letter")
    of_readings = {*there, *(index for index in dead if index is not None)}
    if of_readings and of_readings != set(range(max(of_readings) + 1)):
        findings.wrong("missing", place, f"of its readings only {sorted(of_readings)} are there")


def judge(findings: Findings, known: Parameters, place: Place, found: list[Row], message: Message) -> None:
    """One reading's rows: epoch and plan as the offset implies, one for each role, scores as numpy gives them."""
    epoch, plan = known.implied(*place[:2])
    for row in found:
        findings.checked["rows"] += 1
        if not known.allowed(*place[:2], row.epoch, row.plan):
            findings.wrong("plan", place, f"epoch {row.epoch} of plan {row.plan[:12]}; its offset implies {epoch}, {plan and plan[:12]}")
    if len({(row.epoch, row.plan, row.schema, row.device) for row in found}) > 1:
        findings.wrong("plan", place, "its rows don't agree on plan, schema and device")
    decoded = known.decoded(found[0].plan)
    if decoded is None:
        return
    wanted = roles_of(decoded, found[0].schema, found[0].device) or Counter({("features", ""): 1})
    failed = any(row.role == "champion" and row.score is None for row in found)
    there = Counter((row.role, row.digest) for row in found if row.role != "on_error")
    if there != wanted or (not failed and len(found) != wanted.total()):
        findings.wrong("roles", place, f"{dict(there)}; its plan wants {dict(wanted)}")
        return
    rescore(findings, known, decoded, place, found, message)


def rescore(
    findings: Findings, known: Parameters, plan: dict[str, Any], place: Place, found: list[Row], message: Message
) -> None:
    """Scores of plans that look at the values as they are."""
    inputs = plan.get("inputs", [plan])
    part = next(part for part in inputs if part["schema"]["name"] == found[0].schema)
    schema = known.decoded(part["schema"]["digest"])
    if part["extractor"] != ["identity"] or schema is None:
        return
    parsed = reading(schema, message.value or b"")
    if parsed is None:
        return
    device, x = parsed
    if device != found[0].device:
        findings.wrong("device", place, f"{found[0].device!r}; the message says {device!r}")
    for row in found:
        artifact = known.decoded(row.digest)
        computed = score(artifact, x) if artifact else None
        if computed is None:
            continue
        findings.checked["scores"] += 1
        if row.score is None or abs(computed - row.score) > RELATIVE * max(1.0, abs(computed)):
            findings.wrong("score", place, f"{row.role} says {row.score!r}, numpy {computed!r}")


# -- Kafka


def messages(bootstrap: str, topic: str) -> Iterator[Message]:
    """Everything that is committed now."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest",
                             enable_auto_commit=False, group_id=None)  # fmt: skip
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while waiting := [each for each in partitions if consumer.position(each) < ends[each]]:
            consumer.pause(*(set(partitions) - set(waiting)))
            for found in consumer.poll(timeout_ms=1_000).values():
                yield from (Message(one.partition, one.offset, one.value) for one in found)
    finally:
        consumer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--namespace", default="prod")
    parser.add_argument("--deployment", required=True)
    parser.add_argument("--plan", metavar="DIGEST")
    parser.add_argument("--topic", action="append", default=[], metavar="ROLE=NAME")
    parser.add_argument("--at-least-once", action="store_true")
    given = parser.parse_args()
    topics = {**TOPICS, **dict(each.split("=", 1) for each in given.topic)}
    read = {role: list(messages(given.bootstrap, topics[role])) for role in TOPICS}
    found = check(read["telemetry"], read["parameters"], [*read["scores"], *read["features"]], read["dead_letters"],
                  read["ledger"], given.namespace, given.deployment, given.at_least_once, plan=given.plan)  # fmt: skip
    for line in found.lines:
        print(line)
    print(f"checked {dict(found.checked)}, wrong {dict(found.counts)}", file=sys.stderr)
    return 1 if found.counts else 0


if __name__ == "__main__":
    sys.exit(main())
