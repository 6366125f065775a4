"""Which records before a cut nobody has answered, as a read_committed reader sees it: what is missing when an old job is lost for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut
from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.scores import decode_scores
from swapstream.operators.token import is_token
from swapstream.scripts import kafka
from swapstream.scripts.bounds import offsets_at
from swapstream.scripts.environment import Environment

MARGIN_MS = 60_000


def unanswered(environment: Environment, cut: Cut, since: int) -> dict[int, tuple[int, int]]:
    """Partition → the first and the last record before its token that is neither in scores and features nor in dead letters; none
    where nothing is missing. `since` (ms): when the deployment still answered, or earlier. Raises ClusterError."""
    last = answered(environment, cut, since)
    earliest = offsets_at(environment, cut.topic, since - MARGIN_MS)
    behind = {partition: last[partition] + 1 if partition in last else earliest.get(partition, 0) for partition in cut.offsets}
    return missing(cut, behind, kafka.read_to_end(environment, cut.topic, behind))


def answered(environment: Environment, cut: Cut, since: int | None = None) -> dict[int, int]:
    """Partition → the last record before its token that is in scores, features or dead letters; `since` (ms): as far as they are not much
    older. Raises ClusterError."""
    topics = environment.topics
    last: dict[int, int] = {}
    for topic, read in ((topics.scores, of_frame), (topics.features, of_frame), (topics.dead_letters, of_letter)):
        start: kafka.Start = "earliest" if since is None else offsets_at(environment, topic.name, since - MARGIN_MS)
        for record in kafka.read_to_end(environment, topic.name, start):
            place = read(record.value or b"", cut)
            if place and place[1] < cut.offsets.get(place[0], 0):
                last[place[0]] = max(last.get(place[0], -1), place[1])
    return last


def of_frame(value: bytes, cut: Cut) -> tuple[int, int] | None:
    """Partition and last offset of a message of scores or features, if it is this deployment's."""
    try:
        frame = decode_scores(value)
    except InvalidDefinition:
        return None
    whose = frame.provenance
    ours = (whose.namespace, whose.deployment, whose.topic) == (cut.namespace, cut.deployment, cut.topic)
    return (whose.partition, frame.last) if ours else None


def of_letter(value: bytes, cut: Cut) -> tuple[int, int] | None:
    """The same of a dead letter."""
    try:
        letter = decode_dead_letter(value)
    except InvalidDefinition:
        return None
    ours = letter.topic == cut.topic and letter.is_of(cut.namespace, cut.deployment)
    return (letter.partition, letter.offset) if ours else None


def missing(cut: Cut, behind: Mapping[int, int], telemetry: Iterable[kafka.Record]) -> dict[int, tuple[int, int]]:
    """Of readings in telemetry, those from `behind` on and before the tokens."""
    found: dict[int, tuple[int, int]] = {}
    for record in telemetry:
        inside = behind[record.partition] <= record.offset < cut.offsets.get(record.partition, 0)
        if inside and not is_token(record.value):
            first, _ = found.get(record.partition, (record.offset, 0))
            found[record.partition] = (first, record.offset)
    return found


def described(topic: str, found: Mapping[int, tuple[int, int]]) -> str:
    """In words."""
    return ", ".join(f"{topic}-{partition}: {first} to {last}" for partition, (first, last) in sorted(found.items()))
