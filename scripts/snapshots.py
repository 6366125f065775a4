"""The topic of snapshots: which of them a run over the log can start from, and what else they tell of it. Pure: records go in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.recorded import beginnings
from swapstream.operators.snapshots import Assembly, Published, SnapshotPart, decode_part
from swapstream.operators.verification import Span
from swapstream.scripts.kafka import Record
from swapstream.scripts.spans import Section


class Known(msgspec.Struct):
    """What snapshots tell of one partition's span.

    - before: the nearest state before its first record, and when that was written (Kafka's time, ms).
    - lives: where the shard started without state, in the span. first: the first state in the span that can be started from.
    - forks: states from which jobs went on, mute, that may have taken over in it. arrivals: updates at arrival. begun: where plans began,
      before its last record.
    """

    before: Published | None = None
    written: int = 0
    lives: list[Published] = []
    first: Published | None = None
    first_written: int = 0
    forks: list[Published] = []
    arrivals: list[Published] = []
    begun: list[SnapshotPart] = []

    @property
    def begins(self) -> dict[int, int]:
        """The first offset of each epoch."""
        return beginnings(sorted(self.begun, key=lambda about: about.offset))


def known_of(
    records: Iterable[Record], namespace: str, deployment: str, topic: str, sections: Mapping[int, Section]
) -> dict[int, Known]:
    """What a deployment's snapshots tell of each section. Reads no further than behind the last record of all of them.

    Nobody can start from a state whose next record is gone.
    """
    found, assembly = {partition: Known() for partition in sections}, Assembly()
    times: dict[tuple[int, int, str], int] = {}
    behind: set[int] = set()
    for record in records:
        part = _part(record, namespace, deployment, topic)
        if part is None or part.partition not in sections:
            continue
        section = sections[part.partition]
        if part.offset > section.span.last:
            behind.add(part.partition)
            if len(behind) == len(sections):
                break
            continue
        if part.why != "arrival" and part.offset + 1 < section.beginning:
            continue
        written = times.setdefault((part.partition, part.offset, part.digest), record.timestamp)
        if whole := assembly.add(part):
            take(found[part.partition], whole, written, section.span)
            if whole.about.offset < section.span.first and whole.about.why not in ("arrival", "fork"):
                assembly.forget(part.partition, whole.about.offset)
    return found


def take(known: Known, one: Published, written: int, span: Span) -> None:
    """Put a snapshot where it belongs. Of those at one offset the last counts."""
    about = one.about
    known.begun.append(about)
    if about.why == "arrival":
        known.arrivals.append(one)
    elif about.why == "fork":
        known.forks = [fork for fork in known.forks if fork.about.generation != about.generation] + [one]
    elif about.offset < span.first:
        if known.before is None or about.offset >= known.before.about.offset:
            known.before, known.written = one, written
    else:
        if about.why == "start":
            known.lives = [life for life in known.lives if life.about.offset != about.offset] + [one]
        if known.first is None or about.offset < known.first.about.offset:
            known.first, known.first_written = one, written


def _part(record: Record, namespace: str, deployment: str, topic: str) -> SnapshotPart | None:
    """A part of this deployment's; what is none is passed over."""
    if record.value is None:
        return None
    try:
        part = decode_part(record.value)
    except InvalidDefinition:
        return None
    return part if (part.namespace, part.deployment, part.topic) == (namespace, deployment, topic) else None
