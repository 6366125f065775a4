"""What a shard sends: scores, features, anomalies and dead letters as messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from swapstream.operators.anomalies import anomalies
from swapstream.operators.assignment import Assignment
from swapstream.operators.dead_letters import dead_letter, of_reading
from swapstream.operators.frame import Bool, Frame, RawFrame
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.patterns import NONE
from swapstream.operators.readers import Bad
from swapstream.operators.scored import Scored
from swapstream.operators.scores import BEFORE_ALL, Position, Provenance, features_frames, position, scores_frames

Role = Literal["scores", "features", "anomalies", "dead_letters", "ledger", "snapshots"]


class Emission(msgspec.Struct, frozen=True, gc=False):
    """A message for the topic of a role. Without a key it goes by the shard's partition."""

    role: Role
    key: bytes | None
    value: bytes


class Chain(msgspec.Struct, frozen=True, array_like=True):
    """The last readings of a schema that a shard sent to `scores` and to `features`: what the next frame's `prev` is."""

    scores: Position = BEFORE_ALL
    features: Position = BEFORE_ALL


def answers(scored: Scored, part: LoadedInput, provenance: Provenance, chain: Chain) -> tuple[list[Emission], Chain]:
    """Every reading of a frame in scores or features, the anomalies among them, and the chain that goes on behind them."""
    emissions = []
    last, last_features = chain.scores, chain.features
    for frame in scores_frames(scored, provenance, last):
        emissions.append(Emission("scores", None, frame.encode()))
        last = frame.end
    for frame in features_frames(scored, part.archive, provenance, last_features):
        emissions.append(Emission("features", None, frame.encode()))
        last_features = frame.end
    if scored.anomalous.any():
        found = anomalies(scored, part, provenance)
        emissions += [Emission("anomalies", one.device.encode(), one.encode()) for one in found]
    return emissions, Chain(last, last_features)


def chained(frame: Frame, part: LoadedInput, chain: Chain) -> Chain:
    """The chain that goes on behind a frame which `answers` would send, had its models been asked."""
    names, codes = frame.by_device()
    routes = [part.routes[place] if (place := part.route_of(name)) != NONE else None for name in names]
    scored = np.array([route is not None and bool(route.models) for route in routes])[codes]
    archived = np.array([route is None or not route.models or route.decoy for route in routes])[codes]
    return Chain(last_of(frame, scored) or chain.scores, last_of(frame, archived) or chain.features)


def last_of(frame: Frame, rows: Bool) -> Position | None:
    """Of the last of these readings, None where there is none."""
    places = np.flatnonzero(rows)
    return position(frame, int(places[-1])) if len(places) else None


def dead(who: Assignment, raw: RawFrame, bad: Sequence[Bad]) -> Iterator[Emission]:
    """A dead letter for each message or reading that is bad, in order. The bytes of a message are looked at once."""
    before, letter = -1, None
    for place, reading, reason, detail in bad:
        if letter is None or place != before:
            offset, logged = int(raw.offsets[place]), int(raw.timestamps[place])
            letter = dead_letter(who.topic, raw.partition, offset, logged, reason, detail, raw.payloads[place])
            letter = msgspec.structs.replace(letter, index=reading, namespace=who.namespace, deployment=who.deployment)
        else:
            assert reading is not None
            letter = of_reading(letter, reading, reason, detail)
        before = place
        yield Emission("dead_letters", None, letter.encode())
