"""What comes out, for programs: scores or features as frames, each reading once and in the input's order.

    from swapstream.scripts.environment import load_environment
    from swapstream.scripts.outputs import read_scores

    for frame in read_scores(load_environment(), follow=True):
        for row in frame.rows():
            …
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.chaining import Chaining, Gap, Taken
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.bounds import is_whole
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment

PATIENCE = 30.0
"""Seconds that a frame waits at least for those before it."""
CHECKPOINTS = 3
"""And so many checkpoints: of two jobs that hand over, one's output may become visible so much later than the other's."""


def tell(gap: Gap) -> None:
    say(str(gap))


def read_scores(
    environment: Environment,
    topic: Literal["scores", "features"] = "scores",
    *,
    deployment: str | None = None,
    start: kafka.Start = "earliest",
    follow: bool = False,
    patience: float | None = None,
    on_gap: Callable[[Gap], object] = tell,
) -> Iterator[ScoresFrame]:
    """Committed frames of a deployment in the environment's namespace, or of all there are: until now, or with `follow` without end.

    Of each shard and schema readings come in the log's order, across restarts, upgrades and handovers, and each once, also from an
    at-least-once job: what was there before is cut out of a frame. A frame that others must precede is held for `patience` seconds (by
    default PATIENCE, or some checkpoints); then `on_gap` is told what is missing, and it goes on. Messages that are none are named on
    stderr. Raises ClusterError.
    """
    name, namespace = environment.topics.by_role()[topic].name, environment.job.namespace
    whole = start == "earliest" and is_whole(environment, name)
    records = kafka.follow(environment, name, start) if follow else kafka.read_to_end(environment, name, start)
    found = frames(records, name, (namespace, deployment) if deployment else None)
    usual = max(PATIENCE, CHECKPOINTS * environment.job.checkpoint_ms / 1000)
    for one in in_order(found, Chaining(whole), usual if patience is None else patience):
        if isinstance(one, Gap):
            on_gap(one)
        else:
            yield one


def in_order(
    found: Iterable[ScoresFrame | None], chaining: Chaining, patience: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Taken]:
    """Frames as they come, None now and then while there are none, to frames in order and gaps. At their end nothing is waited for."""
    for frame in found:
        now = clock()
        if frame is not None:
            yield from chaining.take(frame, now)
        if chaining.held:
            yield from chaining.give_up(now - patience)
    yield from chaining.give_up()


def frames(
    records: Iterable[kafka.Record | None], topic: str, whose: tuple[str, str] | None = None
) -> Iterator[ScoresFrame | None]:
    """The frames in a topic's records, of one namespace and deployment or of all; None where there is none."""
    for record in records:
        frame = read(record, topic) if record and record.value is not None else None
        mine = frame is not None and whose in (None, (frame.provenance.namespace, frame.provenance.deployment))
        yield frame if mine else None


def read(record: kafka.Record, topic: str) -> ScoresFrame | None:
    """What is no frame is said on stderr."""
    try:
        return decode_scores(record.value or b"")
    except InvalidDefinition as error:
        say(f"{topic} {record.partition}:{record.offset}: {error}")
        return None
